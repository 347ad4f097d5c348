"""What the workers of the chaos runs load: a connector of small records, and a model that gives
each record's id back, or does the harm that its `rules.json` allows.

A record is a letter for its kind, its id in eight bytes, and padding. A trained network would
need the better part of an hour for the records of one run; everything around it is the product's.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ddstream.api.parameters import ParameterObject
from ddstream.api.predict import OutputParameters
from ddstream.api.torch import TorchParameters
from ddstream.backends.protocol import Setup, Trainable
from ddstream.connectors.protocol import Limits
from ddstream.data import (
    OUTPUT,
    UNSIZED,
    Batch,
    Datasets,
    Datum,
    Dimensions,
    ModelStats,
    Outputs,
    Sample,
)
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.tasks import TASKS, Task

GOOD, POISON, KILLER, HANGING, BROKEN = b"gpkhu"
"""Kinds of records: answered; fails; kills its process; never returns; cannot be decoded."""
RULES = "rules.json"
_HEAD = struct.Struct(">BQ")
_UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the model does: seconds that each record costs, and the kinds that do their harm."""

    delay: float = 0.0
    harmful: str = "pkh"

    def write(self, repository: Path) -> None:
        """Put them in force, also for models that are loaded."""
        repository.mkdir(parents=True, exist_ok=True)
        fresh = repository / f"{RULES}.new"
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(repository / RULES)


def encode(number: int, kind: int = GOOD, size: int = 0) -> bytes:
    """The record of an id, padded to `size` bytes."""
    return _HEAD.pack(kind, number).ljust(size, b"\0")


def number_of(value: bytes) -> int:
    """The id in a record."""
    return int(_HEAD.unpack_from(value)[1])


class RecordInput(ParameterObject):
    """`parameters.input` of the connector."""

    connector: str = Field(default="record")
    timeout: int = Field(default=60)


class RecordConnector:
    """Reads records; those of kind BROKEN it cannot decode."""

    def __init__(
        self, raw: Mapping[str, Any], repository: Repository, limits: Limits = _UNLIMITED
    ) -> None:
        self._parameters = RecordInput.parse(raw, "parameters.input", InputError)

    @property
    def parameters(self) -> RecordInput:
        return self._parameters

    def describe(self) -> Mapping[str, Any]:
        return {}

    def dimensions(self) -> Dimensions:
        return UNSIZED

    def labelled(self, datum: Datum, mllib: Mapping[str, Any]) -> Iterable[Sample]:
        raise InputError("records have no labels")

    def read(self, datum: Datum) -> Iterable[Sample]:
        content = datum.content
        if isinstance(content, str):
            content = base64.b64decode(content)
        if not isinstance(content, bytes) or len(content) < _HEAD.size or content[0] == BROKEN:
            raise InputError(f"{datum.uri[:100]} is no record")
        return (Sample(datum.uri, {"record": np.frombuffer(content, np.uint8)}),)

    def datasets(self, data: Sequence[Path], augment: Mapping[str, Any]) -> Datasets:
        raise InputError("records cannot be trained on")


class RulesBackend:
    """Gives back ids, following the rules of its repository as they are at each pass."""

    connectors = ("record",)
    service_types = ("supervised",)

    def __init__(self, setup: Setup) -> None:
        self._parameters = self.call_parameters(setup.mllib)
        self._path = setup.repository.path / RULES
        self._read = 0
        self._rules = Rules()
        self.mltype = "features"
        self.trained = True

    @staticmethod
    def trainer(setup: Setup) -> Trainable:
        raise ParameterError("rules cannot be trained")

    @staticmethod
    def training_parameters(raw: Mapping[str, Any]) -> ParameterObject:
        raise ParameterError("rules cannot be trained")

    @property
    def parameters(self) -> ParameterObject:
        return self._parameters

    def call_parameters(
        self, raw: Mapping[str, Any], output: OutputParameters | None = None
    ) -> ParameterObject:
        return TorchParameters.parse(raw, "parameters.mllib", ParameterError)

    def task(self, call: ParameterObject) -> Task:
        return TASKS.load(self.mltype)()

    def forward(self, batch: Batch, call: ParameterObject) -> Outputs:
        rules = self._current()
        heads = np.ascontiguousarray(batch.inputs["record"][:, : _HEAD.size])
        for kind in np.unique(heads[:, 0]):
            if chr(kind) in rules.harmful:
                _harm(int(kind))
        if rules.delay:
            time.sleep(rules.delay * len(batch))
        numbers = np.ascontiguousarray(heads[:, 1:]).view(">u8")
        return {OUTPUT: numbers.astype(np.float64)}

    def failure(self, error: BaseException) -> Literal["sample", "memory", "broken"]:
        return "sample"

    def stats(self) -> ModelStats:
        return ModelStats()

    def close(self) -> None:
        pass

    def _current(self) -> Rules:
        try:
            written = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return self._rules
        if written != self._read:
            self._rules = Rules(**json.loads(self._path.read_text()))
            self._read = written
        return self._rules


def _harm(kind: int) -> None:
    if kind == POISON:
        raise RuntimeError("poison")
    if kind == KILLER:
        os._exit(139)
    if kind == HANGING:
        time.sleep(1e6)
