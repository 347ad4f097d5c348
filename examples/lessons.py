"""What the examples share: their flags, and a training that is watched to its end."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ddstream import DeepDetect
from ddstream.client import Client
from ddstream.face.face import Face, Service

console = Console()


@dataclass(frozen=True, slots=True)
class Options:
    """How an example runs: against a server or inside this process, for how long, where to draw."""

    url: str
    iterations: int
    out: Path

    @classmethod
    def read(cls, description: str | None, iterations: int, out: str) -> Options:
        """From the command line."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--url", default="", help="a server; else an engine in this process")
        parser.add_argument("--iterations", type=int, default=iterations)
        parser.add_argument("--out", type=Path, default=Path(out), help="the picture to draw")
        found = parser.parse_args()
        return cls(found.url, found.iterations, found.out)


@contextmanager
def opened(options: Options) -> Iterator[tuple[Face, Path]]:
    """The face of the API, and a folder for data and models that goes at the end."""
    face: Face = Client(options.url) if options.url else DeepDetect()
    with tempfile.TemporaryDirectory(prefix="ddstream-example-") as folder, face:
        yield face, Path(folder)


def watch(service: Service, data: Sequence[Path], mllib: Mapping[str, Any], measure: str) -> float:
    """Train, say how it goes, and give the measure that it ended with."""
    job = service.train(
        list(data),
        input_parameters={"shuffle": True, "seed": 1},
        mllib_parameters=mllib,
        output_parameters={"measure": [measure]},
        asynchronous=True,
    )
    with console.status("training") as status:
        while (report := job.status())["status"] == "running":
            live = report.get("measure", {})
            told = ", ".join(
                f"{name} {live[name]:.3f}"
                for name in ("iteration", "train_loss", measure)
                if live.get(name) is not None
            )
            status.update(f"training: {told}")
            time.sleep(0.25)
    if report["status"] != "finished":
        raise SystemExit(f"the training ended as {report['status']}: {report.get('Error')}")
    found = float(report["measure"][measure])
    console.print(f"{measure} on scenes that it never saw: [bold]{found:.3f}[/]")
    return found
