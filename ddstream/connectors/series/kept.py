"""What a repository keeps of its training's series: columns, parameters and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ddstream.api.csvts import SeriesInput
from ddstream.api.parameters import present
from ddstream.connectors.series.bounds import BOUNDS, Bounds
from ddstream.connectors.series.columns import Columns
from ddstream.errors import InputError
from ddstream.repository import Repository

KEPT: Final = "csvts.json"
SHAPING: Final = (
    "label",
    "label_offset",
    "ignore",
    "id",
    "separator",
    "quote",
    "timesteps",
    "backcast_timesteps",
    "forecast_timesteps",
    "offset",
)
"""Parameters that samples depend on, beside how they are scaled."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The last training's columns and parameters, and its bounds; nothing where there was none."""

    header: tuple[str, ...] = ()
    parameters: Mapping[str, Any] | None = None
    bounds: Bounds | None = None

    @classmethod
    def of(cls, repository: Repository) -> Kept:
        """What lies in a repository. Raises InputError for a damaged file."""
        bounds = None
        with suppress(OSError):
            bounds = Bounds.read((repository.path / BOUNDS).read_bytes())
        raw = repository.read_json(KEPT)
        if not isinstance(raw, Mapping):
            return cls(bounds=bounds)
        try:
            return cls(tuple(raw["header"]), dict(raw["parameters"]), bounds)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{KEPT} of the repository is damaged: {error}") from error

    def under(self, raw: Mapping[str, Any], asked: SeriesInput) -> SeriesInput:
        """The parameters of a request, with the training's where it names none.

        Whether and how columns are scaled is the training's, unless the request gives values.
        """
        if self.parameters is None:
            return asked
        made = dict(self.parameters)
        given = present(raw)
        if asked.window > 0 and asked.forecast != (made.get("forecast_timesteps", -1) > 0):
            # Another way than the last training's: its parameters mean nothing here.
            return asked
        if asked.min_vals or asked.mean_vals:
            made = {name: each for name, each in made.items() if name not in _SCALING}
        else:
            given = {name: each for name, each in given.items() if name not in _SCALING}
        return SeriesInput.parse({**made, **given}, "parameters.input", InputError)

    def columns(self, wanted: SeriesInput) -> SeriesInput:
        """The parameters with the training's columns: a model reads and tells no others."""
        made = self.parameters or {}
        if wanted.forecast != (made.get("forecast_timesteps", -1) > 0):
            return wanted
        own = {name: value for name, value in made.items() if name in _COLUMNS}
        return SeriesInput.parse({**wanted.model_dump(exclude_unset=True), **own}, KEPT, InputError)

    def check_label(self, wanted: SeriesInput) -> None:
        """Raises InputError where a training that goes on is asked to tell other columns."""
        had = tuple((self.parameters or {}).get("label", wanted.label))
        if not wanted.forecast and had and wanted.label != had:
            said = ", ".join(had)[:80]
            raise InputError(f"parameters.input.label: the training that goes on has {said}")


_COLUMNS: Final = ("label", "label_offset", "ignore", "id")
_SCALING: Final = ("scale", "scale_type")


def kept_parameters(wanted: SeriesInput) -> dict[str, Any]:
    """The parameters that samples depend on."""
    shaping = {name: getattr(wanted, name) for name in SHAPING}
    return {**shaping, "scale": wanted.scales, "scale_type": wanted.kind}


def kept_files(columns: Columns, wanted: SeriesInput, bounds: Bounds | None) -> dict[str, bytes]:
    """The files of a training for its repository."""
    content = {"header": columns.header, "parameters": kept_parameters(wanted)}
    files = {KEPT: orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"}
    return files if bounds is None else {**files, BOUNDS: bounds.file()}
