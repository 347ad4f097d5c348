"""What a repository keeps of its training's tables: `csv.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ddstream.api.csv import CsvInput
from ddstream.api.parameters import present
from ddstream.connectors.tables.schema import Schema
from ddstream.errors import InputError
from ddstream.repository import Repository

KEPT: Final = "csv.json"
SHAPING: Final = ("label", "label_offset", "ignore", "id", "separator", "quote", "autoencoder")
"""Parameters of the training that are the defaults of what follows."""
SCALING: Final = ("scale", "scale_type")


@dataclass(frozen=True, slots=True)
class Kept:
    """The last training's schema and parameters, and the seed of its split; or nothing."""

    schema: Schema | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    split_seed: int | None = None

    @classmethod
    def of(cls, repository: Repository) -> Kept:
        """What lies in a repository. Raises InputError for a damaged file."""
        try:
            content = (repository.path / KEPT).read_bytes()
        except OSError:
            return cls()
        return cls.read(content)

    @classmethod
    def read(cls, content: bytes) -> Kept:
        """The content of a `csv.json`. Raises InputError for a damaged one."""
        try:
            raw = orjson.loads(content)
            schema = Schema.from_json(raw["schema"])
            return cls(schema, dict(raw["parameters"]), int(raw["split_seed"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{KEPT} of the repository is damaged: {error}") from error

    def file(self) -> bytes:
        """The content of `csv.json`."""
        assert self.schema is not None
        content = {
            "schema": self.schema.to_json(),
            "parameters": self.parameters,
            "split_seed": self.split_seed,
        }
        return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"

    def under(self, raw: Mapping[str, Any], asked: CsvInput) -> CsvInput:
        """The parameters of a request, with the training's where it names none.

        Whether and how columns are scaled is the training's, unless the request gives values.
        """
        if self.schema is None:
            return asked
        made, given = dict(self.parameters), present(raw)
        if asked.bounded or (asked.scale and self.schema.scaling is None):
            made = {name: each for name, each in made.items() if name not in SCALING}
        else:
            given = {name: each for name, each in given.items() if name not in SCALING}
        return CsvInput.parse({**made, **given}, "parameters.input", InputError)


def shaping(wanted: CsvInput) -> dict[str, Any]:
    """The parameters that samples depend on."""
    found = {name: getattr(wanted, name) for name in SHAPING}
    words = {"categoricals": wanted.words} if wanted.words else {}
    return {**found, **words, "scale": wanted.scales, "scale_type": wanted.kind}
