"""Services of texts in this process: trained, loaded and asked without an engine around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ddstream.api.envelope import Json
from ddstream.api.parameters import merged
from ddstream.api.predict import OutputParameters
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.backend import TorchBackend
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.connectors.texts.connector import TextConnector
from ddstream.data import Batch, Datum, Progress
from ddstream.repository import Repository

TINY: Mapping[str, Any] = {
    "hidden_size": 16,
    "layers": 2,
    "heads": 2,
    "max_positions": 16,
    # Chance of its own would make tests uncertain.
    "dropout": 0.0,
}
TOKENS: Mapping[str, Any] = {
    "connector": "txt",
    "ordered_words": True,
    "wordpiece_tokens": True,
    "punctuation_tokens": True,
    "sequence": 12,
}
TRAINING: Mapping[str, Any] = {
    "solver": {"iterations": 3, "base_lr": 0.01, "solver_type": "ADAM"},
    "net": {"batch_size": 8},
}


@dataclass(frozen=True)
class Texts:
    """A service of texts: its raw parameters and its repository."""

    folder: Path
    mllib: Mapping[str, Any]
    input: Mapping[str, Any] = field(default_factory=lambda: TOKENS)

    @property
    def repository(self) -> Repository:
        """Its repository, which is made where it is missing."""
        return Repository.open(self.folder, create=True)

    def over(self, **mllib: Any) -> Texts:
        """The same with other options of `mllib`."""
        return replace(self, mllib={**self.mllib, **mllib})

    def train(
        self, data: Path, measures: Sequence[str] = ("acc",), **training: Any
    ) -> tuple[Mapping[str, Any], Sequence[str]]:
        """Train on a folder, a quarter of it held out; the last test's measures, and warnings."""
        raw = merged(merged(self.mllib, TRAINING), training)
        used = self._connector({"test_split": 0.25, "seed": 1})
        trainer = TorchTrainer(self._setup(used))
        found: list[Progress] = list(trainer.fit(used.datasets([data], raw), raw, measures))
        assert found[-1].measures is not None
        return found[-1].measures[0], trainer.warnings

    def load(self) -> TorchBackend:
        """The service's model, as it is in the repository now."""
        return TorchBackend(self._setup(self._connector({})))

    def ask(self, text: str, mllib: Mapping[str, Any] | None = None, **output: Any) -> Json:
        """The prediction of a text."""
        backend = self.load()
        wanted = OutputParameters.model_validate(output)
        call = backend.call_parameters(merged(self.mllib, mllib or {}), wanted)
        (sample,) = self._connector({}).read(Datum("0", text))
        task = backend.task(call)
        (row,) = task.activate(backend.forward(Batch.of([sample]), call))
        return task.decode(row, sample, wanted)

    def _connector(self, over: Mapping[str, Any]) -> TextConnector:
        return TextConnector(merged(self.input, over), self.repository)

    def _setup(self, used: TextConnector) -> Setup:
        return Setup(self.mllib, used.parameters, self.repository, used.dimensions())
