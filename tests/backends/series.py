"""Small services of series: tables of waves, trained here, loaded as another process would."""

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
from ddstream.connectors.series.connector import SeriesConnector
from ddstream.data import Batch, Datum, Progress
from ddstream.repository import Repository

FORECAST: dict[str, Any] = {"backcast_timesteps": 20, "forecast_timesteps": 10, "offset": 3}
LABELS: dict[str, Any] = {"label": ["out"], "timesteps": 20, "offset": 5}
SOLVER: dict[str, Any] = {
    "solver": {"iterations": 60, "base_lr": 0.01, "solver_type": "ADAM"},
    "net": {"batch_size": 16},
}


def waves(folder: Path, *, files: int, steps: int = 120) -> Path:
    """Tables of a wave between -1 and 1, and of one that lags behind it."""
    folder.mkdir(parents=True)
    for number in range(files):
        time = np.arange(steps) + 5 * number
        pairs = zip(np.sin(time / 5), np.sin(time / 5 - 0.7), strict=True)
        rows = "".join(f"{one:.6f},{other:.6f}\n" for one, other in pairs)
        (folder / f"seq_{number}.csv").write_text("in,out\n" + rows)
    return folder


@dataclass(frozen=True)
class Series:
    """A service by its repository and creation parameters; each use of it opens it anew."""

    folder: Path
    mllib: Mapping[str, Any]
    input: Mapping[str, Any]

    @property
    def repository(self) -> Repository:
        """The model's folder."""
        return Repository.open(self.folder / "model", create=True)

    def connector(self, **over: Any) -> SeriesConnector:
        """The connector of a call."""
        raw = {"connector": "csvts", "scale": True, **self.input, **over}
        return SeriesConnector(raw, self.repository)

    def backend(self) -> TorchBackend:
        """The loaded model."""
        return TorchBackend(self._setup(self.connector()))

    def train(
        self, measures: Sequence[str] = (), over: Mapping[str, Any] | None = None
    ) -> list[Progress]:
        """Train on the folders `train` and `test`; the iterations."""
        raw = merged(merged(self.mllib, SOLVER), over or {})
        connector = self.connector()
        data = connector.datasets([self.folder / "train", self.folder / "test"], raw)
        setup = Setup(raw, connector.parameters, self.repository, data.dimensions)
        return [each for each in TorchTrainer(setup).fit(data, raw, measures) if each.points]

    def predict(self, content: str | Path, **over: Any) -> list[Json]:
        """The predictions of one datum."""
        mllib = merged(self.mllib, over)
        backend, datum = (
            self.backend(),
            Datum("0" if isinstance(content, str) else str(content), content),
        )
        call = backend.call_parameters(mllib)
        task, found = backend.task(call), []
        for sample in self.connector().read(datum):
            (row,) = task.activate(backend.forward(Batch.of([sample]), call))
            found.append(task.decode(row, sample, OutputParameters()))
        return found

    def _setup(self, connector: SeriesConnector) -> Setup:
        return Setup(self.mllib, connector.parameters, self.repository, connector.dimensions())


def service(folder: Path, mllib: Mapping[str, Any], connector: Mapping[str, Any]) -> Series:
    """A service whose data are waves."""
    if not (folder / "train").exists():
        waves(folder / "train", files=3)
        waves(folder / "test", files=1)
    return Series(folder, mllib, connector)
