"""Work: one predict call between its arrival and its answer."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ddstream.api.envelope import Json
from ddstream.api.parameters import ParameterObject
from ddstream.api.predict import Call, OutputParameters
from ddstream.backends import Backend
from ddstream.connectors import Connector
from ddstream.connectors.protocol import Gathering
from ddstream.data import Datum, Sample
from ddstream.engine.meters import Meters
from ddstream.errors import DDError, TimedOut
from ddstream.tasks import Task
from ddstream.tasks.protocol import Tally


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How calls of equal parameters are done: who reads, who runs, who interprets.

    Samples of one plan may share a forward pass.
    """

    connector: Connector
    backend: Backend
    parameters: ParameterObject
    task: Task
    output: OutputParameters
    fetch_timeout: float
    group: Hashable
    """Plans of one group run the same model with the same options."""
    warnings: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    """What is measured on the call's data, which are labelled then; mostly nothing."""
    mllib: Mapping[str, Any] = field(default_factory=dict)
    """The raw `parameters.mllib`, which says what labels are."""
    in_order: bool = False
    """Its calls go on from each other: one after the other, in the order of their arrival."""


@dataclass(slots=True, eq=False)
class Work:
    """A call on its way: data wait to be read, samples wait for their predictions.

    Who writes what: the one thread that reads it, `predictions` (by appending), `read`,
    `exhausted` and `decoded`; the loop, all the rest; an `error` by whoever meets it first.
    """

    call: Call
    plan: Plan
    meters: Meters
    data: list[Datum] = field(default_factory=list)
    predictions: list[Json | None] = field(default_factory=list)
    read: int = 0
    """Samples read so far."""
    exhausted: bool = False
    """Every datum has been read."""
    predicted: int = 0
    """Samples whose prediction has come."""
    error: DDError | None = None
    answered: bool = False
    fetched: int = 0
    """Bytes that were fetched for it."""
    arrived: float = field(default_factory=time.perf_counter)
    decoded: float = 0.0
    """Seconds spent reading."""
    tally: Tally | None = None
    """The measures of a labelled call; the interpreting thread adds to it."""
    _samples: Iterator[Sample] | None = None

    def __post_init__(self) -> None:
        if self.plan.measures:
            self.tally = self.plan.task.tally(self.plan.measures)

    @property
    def late(self) -> bool:
        """Its deadline has passed, so that it costs no more work."""
        return self.call.deadline is not None and time.time() > self.call.deadline

    def samples(self) -> Iterator[Sample]:
        """The samples of all data, read as they are taken."""
        if self._samples is None:
            connector = self.plan.connector
            if isinstance(connector, Gathering):
                mllib = None if self.tally is None else self.plan.mllib
                self._samples = iter(connector.gather(self.data, mllib))
            else:
                self._samples = (sample for datum in self.data for sample in self._read(datum))
        return self._samples

    def _read(self, datum: Datum) -> Iterable[Sample]:
        if self.tally is None:
            return self.plan.connector.read(datum)
        return self.plan.connector.labelled(datum, self.plan.mllib)

    @property
    def complete(self) -> bool:
        """Nothing more will happen to it."""
        return self.error is not None or (self.exhausted and self.predicted == self.read)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A sample on its way through the model, and the place where its prediction goes."""

    work: Work
    index: int
    sample: Sample
    since: float = 0.0
    """When it was ready for the model, by `time.perf_counter`."""
    nbytes: int = 0
    """What the sample holds."""


def too_late() -> DDError:
    """The answer to a call whose deadline passed."""
    return TimedOut("the deadline has passed")
