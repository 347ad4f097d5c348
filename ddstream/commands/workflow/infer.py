"""Predictions from the command line: batch by batch, told, drawn and timed."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddstream.api.envelope import dumps
from ddstream.commands.workflow import said
from ddstream.commands.workflow.events import Event, Events, Format, Listener, Printer
from ddstream.commands.workflow.options import InferOptions
from ddstream.commands.workflow.pictures import draw
from ddstream.commands.workflow.profiles import Profile
from ddstream.commands.workflow.requests import creation, prediction
from ddstream.commands.workflow.run_folder import run_name
from ddstream.face.embedded import DeepDetect
from ddstream.face.face import Service
from ddstream.repository import Repository

PREDICTIONS, PICTURES = "predictions.jsonl", "pictures"


def infer(words: said.Said, images: Sequence[str], form: Format | None) -> int:
    """Predict, and return the exit code. Raises what `outcomes` puts into words."""
    profile, options = said.predicting(words, images)
    printer = Printer(form or "json")
    with ExitStack() as stack:
        stack.callback(printer.close)
        listeners: list[Listener] = [printer]
        if options.output:
            listeners.append(Kept(options.output))
        repository, weights = stack.enter_context(model(options))
        wanted = creation(profile, options, repository, weights)
        dd = stack.enter_context(DeepDetect())
        name = options.service_name or run_name(options.repository or repository)
        service = stack.enter_context(dd.create_service(name, **wanted))
        Inference(profile, options, service, Events(listeners))()
    return 0


class Kept:
    """Keeps the predictions in a file of the output folder, a line of JSON each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / PREDICTIONS
        self._path.write_bytes(b"")

    def __call__(self, event: Event) -> None:
        """See Listener."""
        if event["event"] == "prediction":
            with self._path.open("ab") as file:
                file.write(dumps(event) + b"\n")


@dataclass(slots=True)
class Inference:
    """Predictions of a service for the images of some options."""

    profile: Profile
    options: InferOptions
    service: Service
    events: Events

    def __call__(self) -> None:
        """Predict every batch, and tell of each prediction."""
        options = self.options
        batches = [
            options.images[first : first + options.batch_size]
            for first in range(0, len(options.images), options.batch_size)
        ]
        for number in range(options.warmup):
            self._predict(batches[number % len(batches)])
        times = []
        predicted: list[Mapping[str, Any]] = []
        for batch in batches:
            began = time.perf_counter()
            found = self._predict(batch)
            times.append((time.perf_counter() - began) * 1e3)
            self._tell(batch, found, times[-1])
            if options.visualize:
                predicted += found
        if options.benchmark:
            self.events("benchmark", **self._benchmark(times))
        if options.visualize and options.output is not None:
            draw(predicted, options.output / PICTURES, self.events, "visualization")

    def _predict(self, batch: Sequence[str]) -> list[Mapping[str, Any]]:
        wanted = prediction(self.profile, self.options)
        found: list[Mapping[str, Any]] = self.service.predict(list(batch), **wanted)["predictions"]
        return found

    def _tell(
        self, batch: Sequence[str], found: Sequence[Mapping[str, Any]], milliseconds: float
    ) -> None:
        # A folder, or a file of rows, gives several predictions.
        single = len(found) == len(batch)
        for number, each in enumerate(found):
            image = batch[number] if single else each["uri"]
            time_ms = milliseconds / len(found)
            self.events("prediction", image=image, time_ms=time_ms, prediction=each)

    def _benchmark(self, times: Sequence[float]) -> dict[str, Any]:
        images, total = len(self.options.images), sum(times)
        return {
            "images": images,
            "total_seconds": total / 1e3,
            "avg_ms_per_image": total / images,
            "median_batch_ms": statistics.median(times),
            "min_batch_ms": min(times),
            "max_batch_ms": max(times),
            "throughput_images_per_sec": images / (total / 1e3),
            "batch_size": self.options.batch_size,
            "warmup": self.options.warmup,
        }


@contextmanager
def model(options: InferOptions) -> Iterator[tuple[Path, str]]:
    """The repository to load, and the weights in it that were named.

    Named weights get a repository for the time being: they go before those of the model's own,
    from which it has the files that describe the model.
    """
    repository, weights = options.repository, options.weights
    if repository is not None and weights is None:
        yield repository, ""
        return
    assert weights is not None
    with tempfile.TemporaryDirectory(prefix="ddstream-") as folder:
        copy = Path(folder)
        checkpoints = Repository(repository).checkpoints() if repository else []
        heavy = {path for each in checkpoints for path in (each.weights, each.solver)}
        for file in repository.iterdir() if repository else ():
            if file.is_file() and file not in heavy:
                shutil.copyfile(file, copy / file.name)
        (copy / weights.name).unlink(missing_ok=True)
        try:
            (copy / weights.name).hardlink_to(weights.resolve())
        except OSError:
            # Another file system.
            shutil.copyfile(weights, copy / weights.name)
        yield copy, weights.name
