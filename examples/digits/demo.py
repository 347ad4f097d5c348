"""Train a classifier of handwritten digits through the API, then stream images through Kafka.

`make demo` runs this. It starts ddstream as its users do, in three processes: a local Kafka
(unless DDSTREAM_BOOTSTRAP names one that runs), a worker, and a bridge that speaks REST.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ddstream.client import Client, DeepDetectError, Service
from examples.digits.processes import Processes, ProcessFailedError
from examples.digits.scans import Scan, write_scans
from examples.digits.sheet import Cell, write_sheet
from examples.digits.streaming import Image, Outcome, Topics, best_class, stream

SERVICE = "digits"
DDSTREAM = str(Path(sys.executable).with_name("ddstream"))
WANTED = 0.95
"""The accuracy on held-out scans below which the demo has failed."""

console = Console()


@dataclass(frozen=True, slots=True)
class Length:
    """How long the demo trains and streams."""

    iterations: int = 240
    rounds: int = 10
    """How often each held-out scan is streamed: one round would be over too soon to see."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the stream showed; latencies in seconds, from send to the result's arrival."""

    images: int
    accuracy: float
    rate: float
    p50: float
    p99: float
    lost: int

    @classmethod
    def of(cls, cells: Sequence[Cell], outcome: Outcome) -> Score:
        """The score of a stream whose results are shown in `cells`."""
        latencies = sorted(outcome.latencies.values()) or [0.0]
        return cls(
            images=len(outcome.results),
            accuracy=sum(cell.right for cell in cells) / len(cells),
            rate=len(outcome.results) / outcome.seconds,
            p50=latencies[len(latencies) // 2],
            p99=latencies[len(latencies) * 99 // 100],
            lost=outcome.lost,
        )

    @property
    def good(self) -> bool:
        """The demo did what it promises."""
        return self.accuracy >= WANTED and self.lost == 0


def main() -> int:
    """Run the demo; 0 if enough digits were recognised and no image was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train and stream less")
    parser.add_argument("--sheet", type=Path, default=Path("build/demo-digits.png"))
    options = parser.parse_args()
    length = Length(iterations=160, rounds=2) if options.quick else Length()
    # SIGTERM ends the demo like Ctrl-C: its processes are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console.print("[bold]ddstream demo[/]: learn handwritten digits, then read them from a stream")
    try:
        with tempfile.TemporaryDirectory(prefix="ddstream-demo-") as folder:
            score = demonstrate(Path(folder), length, options.sheet)
    except (ProcessFailedError, DeepDetectError) as error:
        console.print(f"[red]failed[/]: {error}", markup=True, highlight=False)
        return 1
    console.print(table(score))
    if not score.good:
        console.print(f"[red]failed[/]: {WANTED:.0%} accuracy and no lost image were promised")
    return 0 if score.good else 1


def demonstrate(folder: Path, length: Length, sheet: Path) -> Score:
    """Everything, in order; whatever was started has ended when this returns."""
    train, held_out = write_scans(folder / "scans")
    console.print(f"{len(train)} scans to learn from, {len(held_out)} held out")
    environment = {**os.environ, "DDSTREAM_ROOTS": str(folder)}
    with Processes(folder, environment) as processes:
        bootstrap, url = start(processes, folder, environment)
        with Client(url) as client, create(client, folder / "model") as service:
            learn(service, folder / "scans" / "train", length.iterations)
            images = [
                Image(uri(scan, number), scan.path.read_bytes())
                for number in range(length.rounds)
                for scan in held_out
            ]
            outcome = watch_stream(bootstrap, images)
    shown = [cell(scan, outcome) for scan in held_out]
    write_sheet(sheet, shown)
    console.print(f"each held-out scan with its prediction: [bold]{sheet.resolve()}[/]")
    return Score.of(shown, outcome)


def start(processes: Processes, folder: Path, environment: dict[str, str]) -> tuple[str, str]:
    """Start Kafka, worker and bridge; the addresses of Kafka and of the bridge."""
    kafka = (DDSTREAM, "kafka", "up", "--dir", str(folder / "kafka"), "--port", "0", "--foreground")
    with console.status("starting Kafka (the first time its jars are downloaded)"):
        bootstrap = environment.get("DDSTREAM_BOOTSTRAP") or processes.start(
            "kafka", kafka, r"^(\S+:\d+)$"
        )
    console.print(f"Kafka   {bootstrap}")
    flags = ("--bootstrap", bootstrap)
    with console.status("starting worker and bridge"):
        worker = processes.start(
            "worker", (DDSTREAM, "worker", "--http-port", "0", *flags), r"probes at (\S+)"
        )
        bridge = processes.start(
            "bridge", (DDSTREAM, "bridge", "--port", "0", *flags), r"serving (http://[^\s,]+)"
        )
    console.print(f"worker  {worker}/readyz")
    console.print(f"bridge  {bridge}")
    return bootstrap, bridge


def create(client: Client, repository: Path) -> Service:
    """PUT /services/digits: a ResNet-18 for images of 32 x 32."""
    return client.create_service(
        SERVICE,
        mllib="torch",
        model={"repository": str(repository), "create_repository": True},
        input_parameters={
            "connector": "image",
            "width": 32,
            "height": 32,
            "scale": 1 / 255,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        mllib_parameters={"template": "resnet18", "nclasses": 10},
    )


def learn(service: Service, scans: Path, iterations: int) -> None:
    """POST /train, then GET /train until it has ended."""
    job = service.train(
        [scans],
        input_parameters={"shuffle": True, "test_split": 0.1, "seed": 0},
        mllib_parameters={
            "solver": {
                "iterations": iterations,
                "solver_type": "ADAM",
                "base_lr": 0.001,
                "test_interval": 40,
            },
            "net": {"batch_size": 64, "test_batch_size": 64},
        },
        output_parameters={"measure": ["acc"]},
        asynchronous=True,
    )
    with bar("{task.fields[told]}") as progress:
        task = progress.add_task("training", total=iterations, told="")
        while True:
            report = job.status()
            measure = report.get("measure", {})
            told = ", ".join(
                f"{name} {measure[key]:.3f}"
                for name, key in (("loss", "train_loss"), ("accuracy", "acc"))
                if key in measure
            )
            progress.update(task, completed=measure.get("iteration", 0), told=told)
            if report["status"] not in ("running", "cancelling"):
                break
            time.sleep(0.25)
        progress.update(task, completed=iterations)
    if report["status"] != "finished":
        raise SystemExit(f"the training ended as {report['status']}: {report.get('Error')}")


def watch_stream(bootstrap: str, images: Sequence[Image]) -> Outcome:
    """The images through dd.predict.digits, the results from dd.results.digits."""
    topics = Topics.of(SERVICE, os.environ.get("DDSTREAM_PREFIX", "dd"))
    console.print(f"PNG records go to {topics.requests}, results come from {topics.results}")
    with bar() as progress:
        task = progress.add_task("streaming", total=len(images))
        return asyncio.run(stream(bootstrap, topics, images, lambda: progress.advance(task)))


def uri(scan: Scan, number: int) -> str:
    """The name of a scan in one round; the digit itself is not in it."""
    return f"{number}/{scan.path.name}"


def cell(scan: Scan, outcome: Outcome) -> Cell:
    """A scan with what was predicted for it in the first round."""
    result = outcome.results.get(uri(scan, 0))
    label = "lost" if result is None else best_class(result)
    return Cell(scan.path, label, label == scan.digit)


def bar(*columns: str) -> Progress:
    """A progress bar: what, how far, how long, and more."""
    more = [TextColumn(column) for column in columns]
    what = TextColumn("{task.description:9}")
    return Progress(
        what, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), *more, console=console
    )


def table(score: Score) -> Table:
    """The score as a table."""
    shown = Table(title="handwritten digits, streamed through Kafka")
    shown.add_column("measure")
    shown.add_column("value", justify="right")
    for name, value in (
        ("images streamed", f"{score.images}"),
        ("accuracy on held-out scans", f"{score.accuracy:.4f}"),
        ("images a second", f"{score.rate:.0f}"),
        ("latency p50", f"{score.p50 * 1e3:.1f} ms"),
        ("latency p99", f"{score.p99 * 1e3:.1f} ms"),
        ("lost", f"{score.lost}"),
    ):
        shown.add_row(name, value)
    return shown


if __name__ == "__main__":
    sys.exit(main())
