"""A training from the command line: check, prepare, train, follow, and leave a run's folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ddstream.api.parameters import merged
from ddstream.commands.workflow import curves, said
from ddstream.commands.workflow.checking import checked
from ddstream.commands.workflow.events import Events, Format, Listener, Printer
from ddstream.commands.workflow.following import HISTORY, Following, failure
from ddstream.commands.workflow.history import NewPoints, Schedule
from ddstream.commands.workflow.live import LiveView
from ddstream.commands.workflow.options import TrainOptions
from ddstream.commands.workflow.outcomes import (
    INTERRUPTED,
    DataSetError,
    TrainingFailed,
    explained,
)
from ddstream.commands.workflow.pictures import chosen, draw
from ddstream.commands.workflow.preparing import emptied, resumed, with_weights
from ddstream.commands.workflow.profiles import Profile
from ddstream.commands.workflow.requests import creation, showing, training
from ddstream.commands.workflow.run_folder import CONFIG, CURVES, Points, RunFolder, run_name
from ddstream.face.embedded import DeepDetect
from ddstream.face.face import Service
from ddstream.repository import Repository

RESULTS = "visdom-results"
"""Folder of the repository that has the drawn test images, as the document names it."""


def train(words: said.Said, form: Format | None) -> int:
    """Run it, and return the exit code. Raises what `outcomes` puts into words."""
    profile, options = said.training(words)
    start = resumed(options.folder, options.resume) if options.resume else 0
    if options.repository_override:
        emptied(options)
    view = _view(options, form)
    run = Run(profile, options, start, view)
    try:
        return run()
    finally:
        view.close()


def _view(options: TrainOptions, form: Format | None) -> Printer | LiveView:
    """Who shows the events: lines in the form asked for, else a live view on a terminal."""
    live = options.terminal == "live" or (form is None and sys.stdout.isatty())
    if live and options.terminal != "verbose":
        return LiveView(options.iterations)
    return Printer(form or ("text" if options.terminal == "verbose" else "jsonl"))


@dataclass(slots=True)
class Run:
    """One training with its folder; it goes on after `start` iterations."""

    profile: Profile
    options: TrainOptions
    start: int
    view: Listener
    folder: RunFolder = field(init=False)
    events: Events = field(init=False)
    known: Points = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        options = self.options
        name = options.run_name or run_name(options.folder)
        about = {
            "run_name": name,
            "command": "train",
            "model": self.profile.name,
            "service_name": options.service_name or name,
            "options": said.told(options),
        }
        path = options.job_dir / name if options.job_dir else options.folder
        self.folder = RunFolder(path, about)
        self.events = Events([self.folder, self.view])

    def __call__(self) -> int:
        """Train; the exit code."""
        run_id, options = self.folder.run_id, self.options
        self.events(
            "run_started",
            run_id=run_id,
            run_name=self.folder.name,
            run_dir=str(self.folder.path),
            resume=options.resume,
        )
        with self._told():
            self._take_up()
            self._check()
            report = self._train()
            status, error = str(report["status"]), failure(report)
            self._conclude(status)
        message = error.get("dd_msg") or error.get("msg")
        measure = report.get("measure")
        self.events("run_finished", run_id=run_id, status=status, measure=measure, message=message)
        if error:
            raise TrainingFailed(error.get("code"), error.get("dd_code"), message)
        return 0 if status == "finished" else INTERRUPTED

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell of an end that comes too early."""
        try:
            yield
        except KeyboardInterrupt:
            self._ended("cancelled", None)
            raise
        except Exception as error:
            self._ended("error", explained(error))
            raise

    def _ended(self, status: str, message: str | None) -> None:
        self.events("run_finished", run_id=self.folder.run_id, status=status, message=message)

    def _take_up(self) -> None:
        """Begin with what earlier runs have measured, or forget it."""
        if not self.options.resume:
            self.folder.emptied()
            return
        run_id = self.folder.run_id
        self.events("history_replay_started", run_id=run_id, iteration=self.start)
        self.known = self.folder.taken_back(self.start)
        if isinstance(self.view, LiveView):
            self.view.known(self.known)
        points = sum(map(len, self.known.values()))
        self.events("history_replayed", run_id=run_id, iteration=self.start, points=points)

    def _check(self) -> None:
        """Look at the data. Raises DataSetError for what no training could use."""
        run_id, faults = self.folder.run_id, []
        if self.options.dataset_check == "none":
            self.events("dataset_check", run_id=run_id, status="skipped")
            return
        for findings in checked(self.profile, self.options):
            self.events("dataset_check", run_id=run_id, **findings.payload())
            if findings.errors:
                first = "; ".join(findings.first_errors)
                faults.append(f"{findings.dataset}: {findings.errors} faults: {first}")
        if faults:
            raise DataSetError(". ".join(faults))

    def _train(self) -> Mapping[str, Any]:
        options, repository = self.options, self.options.folder
        repository.mkdir(parents=True, exist_ok=True)
        weights = with_weights(repository, options.weights)
        Repository(repository).write(CONFIG, said.written(options))
        wanted = creation(self.profile, options, repository, weights)
        name = options.service_name or self.folder.name
        with DeepDetect() as dd, dd.create_service(name, **wanted) as service:
            report = self._trained(service)
            if report["status"] == "finished" and options.visdom_results and self.profile.images:
                self._draw(service)
        return report

    def _trained(self, service: Service) -> Mapping[str, Any]:
        options, run_id, wanted = self.options, self.folder.run_id, training(self.options)
        schedule = Schedule(options.iterations, options.test_interval, self.start)
        points = NewPoints(schedule, self.known)
        if not options.sync:
            job = service.train(**wanted, asynchronous=True)
            return Following(job, options, self.events, points, run_id).report()
        wanted["output_parameters"] = merged(wanted["output_parameters"], HISTORY)
        report = {"status": "finished", **service.train(**wanted)}
        for point in points(report):
            self.events("metric", run_id=run_id, **point._asdict())
        return report

    def _draw(self, service: Service) -> None:
        """Draw what the model predicts of some test images."""
        options = self.options
        root = str(options.input_parameters.get("root_folder") or "")
        sets = options.test_data or options.data
        images = chosen(sets, options.visdom_results_count, options.visdom_results_seed, root)
        if not images:
            return
        results = options.folder / RESULTS
        shutil.rmtree(results, ignore_errors=True)
        found = service.predict(images, **showing(self.profile))["predictions"]
        draw(found, results, self.events, "visual_result")

    def _conclude(self, status: str) -> None:
        """Sum up what was measured, in numbers and as a picture."""
        path = self.folder.path / CURVES
        if curves.draw(self.folder.observe(status), self.folder.name, path):
            self.events("artifact", kind="curves", path=str(path))
