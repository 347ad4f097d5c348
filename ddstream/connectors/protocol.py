"""What a connector is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ddstream.api.parameters import ParameterObject
from ddstream.data import Datasets, Datum, Dimensions, Sample
from ddstream.repository import Repository
from ddstream.roots import ANYWHERE, Roots

NO_TESTS = "empty test dataset: after the training set, data has a test set; or set test_split"
"""What a training is told that has nothing to test on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connector may read: folders, and the largest image in pixels."""

    roots: Roots = ANYWHERE
    max_pixels: int = 100_000_000


class Connector(Protocol):
    """Turns data into Samples with fixed parameters. Its methods run on CPU threads."""

    @property
    def parameters(self) -> ParameterObject:
        """The typed `parameters.input`."""

    def describe(self) -> Mapping[str, Any]:
        """What `GET /services/x` tells: `width` and `height` for images."""

    def read(self, datum: Datum) -> Iterable[Sample]:
        """The samples of one datum; a folder gives one a file. Raises InputError with the uri."""

    def dimensions(self) -> Dimensions:
        """What its samples are, as far as its parameters and what the repository keeps tell."""

    def labelled(self, datum: Datum, mllib: Mapping[str, Any]) -> Iterable[Sample]:
        """As `read`, of labelled data and with targets: a measure is asked for at predict.

        `mllib` is the raw `parameters.mllib`. Raises InputError for data without labels.
        """

    def datasets(self, data: Sequence[Path], augment: Mapping[str, Any]) -> Datasets:
        """Training and test sets of a train request. `augment` is the raw `parameters.mllib`.

        Raises InputError for data that cannot be used, ParameterError without a test set.
        """


@runtime_checkable
class Gathering(Protocol):
    """A connector that reads the data of a call together: the first may be the others' header."""

    def gather(self, data: Sequence[Datum], mllib: Mapping[str, Any] | None) -> Iterable[Sample]:
        """The samples of all data of one call, in their order.

        Without `mllib` as `read` gives them, with it (the raw `parameters.mllib`) as `labelled`.
        """


class ConnectorType(Protocol):
    """Makes a connector from the raw `parameters.input`. Raises InputError for a bad parameter."""

    def __call__(
        self, raw: Mapping[str, Any], repository: Repository, limits: Limits = Limits()
    ) -> Connector: ...
