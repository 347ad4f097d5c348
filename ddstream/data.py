"""What flows inside: Datum -> Sample -> Batch -> Outputs; and what a training tells."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Outputs: TypeAlias = Mapping[str, Array]
"""What a forward pass gives: name -> array, batch axis first; row i belongs to sample i.

The model's main result is named `OUTPUT`; an extracted layer has its own name."""
OUTPUT = "output"
LOGITS = "logits"
"""Raw scores beside the result, where a call asks for them."""


@dataclass(frozen=True, slots=True)
class Datum:
    """One element of `data` after fetching: where it is from and what it holds.

    `content` is a file or folder (Path), bytes, text (base64, a line), or an array (H x W,
    H x W x 3 RGB or H x W x 4 RGBA, uint8).
    """

    uri: str
    content: bytes | str | Path | Array


@dataclass(frozen=True, slots=True)
class Normalise:
    """What the model's first layer does to integer pixels: `(x * scale - mean) / std`.

    `mean` and `std` hold one value, one a channel, or nothing (contract 3.2.2).
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes that a model is built by; 0 means unknown, or that it follows the sample.

    `outputs` is asked for (`nclasses`, `ntargets`), the others tell what a connector's samples are.
    """

    outputs: int = 0
    """Classes or targets; for a series the numbers of one step; 0 leaves it to the template."""
    channels: int = 0
    height: int = 0
    width: int = 0
    columns: int = 0
    """Numbers of a table's row, or of one input step of a series."""
    steps: int = 0
    """Input steps of a series, or characters or tokens of a text."""
    horizon: int = 0
    """Output steps of a series; equal to `steps` where each step has its target."""
    follows: bool = False
    """The output steps of a series come after the input's, as in a forecast."""
    vocabulary: int = 0
    """Ids that characters, tokens or (with a CTC target) letters can have, special ones too."""


UNSIZED = Dimensions()

Target: TypeAlias = int | Array | Mapping[str, Array]
"""What a sample should give: a class id; a float32 vector (numbers, or 0 and 1 of several labels);
a mask, uint8 H x W of class numbers; int64 ids of letters or of tokens (-1 counts for nothing);
the float32 steps of a series, T x D; or an image's `boxes` (float32 M x 4: xmin, ymin, xmax, ymax
in pixels of the sample) with their `labels` (int64 M, from 1 on)."""


@dataclass(slots=True)
class Sample:
    """One datum ready for a model; in training, or with a measure asked for, with its target.

    `inputs` are in the order of the model's arguments. Images: `image`, uint8 (or uint16/float32
    with `unchanged_data`), H x W x C. Tables, bags of words: `row`, float32 F. Series: `series`,
    float32 T x D. Texts: int64 `ids` L, then `types` and `mask` (bert) or `positions` (gpt2), L.
    `meta` holds what the answer needs: of images `size` (height, width of the original) and `shown`
    (its part in the sample: left, top, right, bottom), row or stream ids.
    """

    uri: str
    inputs: dict[str, Array]
    target: Target | None = None
    normalise: Normalise = Normalise()
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> Hashable:
        """Samples of one group can be stacked into one batch.

        Those that go on from each other (`continues`, a number) are groups of their own: they stay
        in their order, whatever their shapes are.
        """
        shapes = tuple((name, a.shape, a.dtype.char) for name, a in self.inputs.items())
        return (shapes, self.normalise, self.meta.get("continues"))

    @property
    def nbytes(self) -> int:
        """Bytes that the inputs hold."""
        return sum(array.nbytes for array in self.inputs.values())


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one group, stacked: what one forward pass takes."""

    samples: Sequence[Sample]
    inputs: Mapping[str, Array]
    normalise: Normalise

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Batch:
        """Stack samples of one group; each input gets a batch axis in front."""
        first = samples[0]
        stacked = {
            name: np.stack([sample.inputs[name] for sample in samples]) for name in first.inputs
        }
        return cls(samples, stacked, first.normalise)

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, slots=True, eq=False)
class Stack(Sequence[Sample]):
    """Samples of one batch that lie in arrays already; each is made for who asks for it.

    `targets` have a row a sample: int64 class ids N, or float32 vectors N x T.
    """

    uris: Sequence[str]
    inputs: Mapping[str, Array]
    targets: Array | None = None

    def __len__(self) -> int:
        return len(self.uris)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        inputs = {name: each[index] for name, each in self.inputs.items()}
        return Sample(self.uris[index], inputs, self._target(index))

    def _target(self, index: int) -> Target | None:
        if self.targets is None:
            return None
        return int(self.targets[index]) if self.targets.ndim == 1 else self.targets[index]


@runtime_checkable
class Stacked(Protocol):
    """A data set that reads a batch at once, which is faster than sample after sample."""

    def batch(self, indices: Array) -> Stack:
        """The samples of these numbers, as they are."""


class Dataset(Protocol):
    """Labelled samples by number; reading one may read a file, so it is done in loader threads."""

    @property
    def name(self) -> str:
        """The base name of its folder or file, or `split`."""

    def __len__(self) -> int: ...

    def read(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Sample `index`, augmented where `rng` is given (training), else as it is.

        Raises InputError for a file that cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Datasets:
    """What a connector makes of a train request's `data`."""

    train: Dataset
    tests: Sequence[Dataset]
    classes: Sequence[str] = ()
    """Class names in the order of their ids; empty where the data has none."""
    learned: Mapping[str, Any] = field(default_factory=dict)
    """What `body.parameters.input` gives back to the client (bounds, mappings)."""
    warnings: Sequence[str] = ()
    shuffle: bool = False
    """The training set is to be reshuffled at each epoch."""
    seed: int = -1
    """Seed of the shuffle; negative means a random one."""
    dimensions: Dimensions = UNSIZED
    """What the samples are, now that the training set is known; `outputs` is 0 unless the data say
    it (columns of a series, letters of an alphabet, an autoencoder's columns)."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What the connector learned, by file name of the repository; the training writes them."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a training tells after an iteration.

    `live` are the current values (contract 1.8), `points` what joins the history after this
    iteration, `measures` the results of each test set, when a test was just made; `losses` are the
    parts of the iteration's loss, where it has some; `predictions` what a test shows of its sets.
    """

    iteration: int
    live: Mapping[str, Any]
    points: Mapping[str, float]
    measures: Sequence[Mapping[str, Any]] | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    predictions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelStats:
    """Size of a model; zero means unknown."""

    params: int = 0
    frozen_params: int = 0
    gflops: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The `model_stats` object: only what is known."""
        pairs = {"gflops": self.gflops, "params": self.params, "frozen_params": self.frozen_params}
        return {name: value for name, value in pairs.items() if value}
