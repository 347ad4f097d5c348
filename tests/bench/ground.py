"""What the cases stand on: a folder, processes of their own, a local Kafka, how long to measure."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddstream.api.service import ServiceDefinition
from ddstream.settings import Settings
from examples.digits.processes import Processes
from tests.bench import bare
from tests.bench.photographs import photographs

KAFKA = ("-m", "tests.bench.plugged", "kafka", "up", "--port", "0", "--foreground")


@dataclass(slots=True)
class Ground:
    """Starts processes and ends them; `rounds` of each measurement, shorter ones if `quick`."""

    folder: Path
    processes: Processes
    quick: bool = False
    jpegs: list[bytes] = field(default_factory=photographs)
    _bootstrap: str = ""

    @property
    def rounds(self) -> int:
        """How often each thing is measured; its median counts."""
        return 1 if self.quick else 3

    def scaled(self, count: int) -> int:
        """`count` in a full run, a third of it in a quick one."""
        return count // 3 if self.quick else count

    @property
    def bootstrap(self) -> str:
        """The address of the local Kafka, which the first use starts."""
        if not self._bootstrap:
            self._bootstrap = self.processes.start(
                "kafka",
                (sys.executable, *KAFKA, "--dir", str(self.folder / "kafka")),
                r"^(\S+:\d+)$",
            )
        return self._bootstrap

    @property
    def settings(self) -> Settings:
        """Settings for clients of that Kafka."""
        return Settings(bootstrap=self.bootstrap, roots=(self.folder,))

    @contextmanager
    def running(self, name: str, module: str, *arguments: str, ready: str) -> Iterator[str]:
        """A process of `python -m module` for the length of `with`; gives what it announced."""
        with Processes(self.folder, environment(self.folder)) as own:
            yield own.start(name, (sys.executable, "-m", module, *arguments), ready)

    def definition(self, library: str) -> ServiceDefinition:
        """A service that does to images what the bare loop does."""
        mllib: dict[str, Any] = {"nclasses": 1000, "net": {"test_batch_size": bare.BATCH}}
        if library == "torch":
            mllib["template"] = "resnet18"
        return ServiceDefinition.model_validate(
            {
                "mllib": library,
                "model": {"repository": str(self.folder / library), "create_repository": True},
                "parameters": {
                    "input": {
                        "connector": "image",
                        "width": bare.SIDE,
                        "height": bare.SIDE,
                        "interp": "linear",
                        "scale": bare.SCALE,
                        "mean": [bare.MEAN] * 3,
                        "std": [bare.STD] * 3,
                    },
                    "mllib": mllib,
                },
            }
        )


def environment(folder: Path) -> dict[str, str]:
    """For child processes: our own, with the folder as the only root."""
    return {**os.environ, "DDSTREAM_ROOTS": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
