"""Small services of tables, trained here, loaded as another process would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddstream.api.envelope import Json
from ddstream.api.parameters import merged
from ddstream.api.predict import OutputParameters
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.backend import TorchBackend
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.connectors import CONNECTORS, Connector
from ddstream.data import Batch, Datasets, Datum, Progress
from ddstream.errors import ParameterError
from ddstream.repository import Repository, class_lines

SOLVER: dict[str, Any] = {
    "solver": {"iterations": 150, "base_lr": 0.01, "solver_type": "ADAM"},
    "net": {"batch_size": 32},
}
MLP: dict[str, Any] = {"template": "mlp", "template_params": {"layers": [16]}}


def points(folder: Path, number: int = 200) -> Path:
    """A table of points of a plane: their side of a line as a word, and two sums of them."""
    rng = np.random.default_rng(0)
    lines = ["name,x,y,side,sum,difference"]
    for place in range(number):
        x, y = rng.uniform(-1, 1, 2).round(4)
        side = "left" if x < y else "right"
        lines.append(f"p{place},{x},{y},{side},{x + y:.4f},{x - y:.4f}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "points.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(frozen=True)
class TableService:
    """A service by its repository and creation parameters; each use of it opens it anew."""

    folder: Path
    mllib: Mapping[str, Any]
    input: Mapping[str, Any]

    @property
    def repository(self) -> Repository:
        """The model's folder."""
        return Repository.open(self.folder / "model", create=True)

    def connector(self, **over: Any) -> Connector:
        """The connector of a call, with its parameters over the service's."""
        raw = merged(self.input, over)
        return CONNECTORS.load(str(raw["connector"]))(raw, self.repository)

    def datasets(self, *data: Path, **over: Any) -> Datasets:
        """The sets of a train call; what was learned is kept."""
        found = self.connector(**over).datasets(data, self.mllib)
        for name, content in found.files.items():
            self.repository.write(name, content)
        if found.classes:
            self.repository.write("corresp.txt", class_lines(found.classes))
        return found

    def train(self, *data: Path, **over: Any) -> list[Progress]:
        """Train in this process; the iterations."""
        raw = merged(SOLVER, self.mllib)
        connector = self.connector(**over)
        sets = connector.datasets(data, raw)
        setup = Setup(raw, connector.parameters, self.repository, sets.dimensions)
        return [each for each in TorchTrainer(setup).fit(sets, raw, []) if each.points]

    def backend(self) -> TorchBackend:
        """The loaded model."""
        connector = self.connector()
        setup = Setup(self.mllib, connector.parameters, self.repository, connector.dimensions())
        return TorchBackend(setup)

    def predict(self, *contents: str | Path, **output: Any) -> list[Json]:
        """The predictions of a call's data."""
        backend, connector = self.backend(), self.connector()
        call = backend.call_parameters(self.mllib)
        task = backend.task(call)
        wanted = OutputParameters.parse(output, "output", ParameterError)
        samples = [
            sample
            for number, each in enumerate(contents)
            for sample in connector.read(Datum(str(number), each))
        ]
        rows = task.activate(backend.forward(Batch.of(samples), call))
        return [task.decode(row, each, wanted) for row, each in zip(rows, samples, strict=True)]

    def measure(self, path: Path, measures: Sequence[str]) -> Mapping[str, Any]:
        """What a labelled table measures."""
        backend, connector = self.backend(), self.connector()
        call = backend.call_parameters(self.mllib)
        task = backend.task(call)
        samples = list(connector.labelled(Datum(str(path), path), self.mllib))
        tally = task.tally(measures)
        tally.add(task.activate(backend.forward(Batch.of(samples), call)), samples)
        return tally.result()
