"""One training, from its first iteration to its last (contract 5.3)."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from ddstream.api.showing import Showing
from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.network.model import Model
from ddstream.backends.torch.objectives import Objective
from ddstream.backends.torch.training.best import BestModels
from ddstream.backends.torch.training.checkpoints import SolverState, model_config
from ddstream.backends.torch.training.crew import Crew, Duty, crew, packed
from ddstream.backends.torch.training.evaluation import Evaluation
from ddstream.backends.torch.training.keeping import Keeper
from ddstream.backends.torch.training.live import LiveValues, Step
from ddstream.backends.torch.training.loader import Loaded, Loader, Reading
from ddstream.backends.torch.training.randomness import begin, restore, states
from ddstream.backends.torch.training.series import Series
from ddstream.backends.torch.training.shown import Shown
from ddstream.backends.torch.training.stepping import Stepping
from ddstream.data import Datasets, Progress
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from ddstream.tasks import Task

TELL = 0.25
"""Seconds between two words about a test that takes long."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a training is made of."""

    parameters: TorchTraining
    repository: Repository
    data: Datasets
    model: Model
    objective: Objective
    device: torch.device
    task: Task
    measures: Sequence[str]
    showing: Showing | None = None
    duty: Duty | None = None
    """What other ranks would do, where there are several devices."""


class Training:
    """Steps, tests and checkpoints. `run` yields after each iteration and within long tests."""

    def __init__(
        self,
        course: Course,
        start: int = 0,
        state: SolverState | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        parameters, data = course.parameters, course.data
        self._course = course
        self._solver = parameters.solver
        self._stepping = Stepping(course.model, course.objective, parameters, course.device)
        seed = state.seed if state else data.seed
        reading = Reading(
            size=parameters.net.batch_size,
            threads=parameters.dataloader_threads,
            shuffle=data.shuffle,
            seed=seed if seed >= 0 else secrets.randbits(32),
            training=True,
            pinned=course.device.type == "cuda" and course.duty is None,
        )
        self._reading = reading
        self._loader = Loader(data.train, reading, course.objective)
        self._evaluation = Evaluation(
            data.tests,
            Reading(parameters.net.test_size, reading.threads, pinned=reading.pinned),
            course.task,
            course.measures,
            course.objective,
            self._stepping.results,
        )
        wish = course.showing
        self._shown = Shown(wish, self._evaluation) if wish and wish.enabled else None
        self._predictions: Mapping[str, Any] = {}
        self._resumed: Sequence[Mapping[str, Any]] = ()
        self._iteration = start
        self._batches = 0
        self._train_loss = 0.0
        self._losses: Mapping[str, float] = {}
        self._sound = self._complete = True
        begin(reading.seed)
        self._take_up(state, fresh=fresh)
        self._saved = (start, self._complete)

    def run(self) -> Generator[Progress, None, None]:
        """Train to the last iteration. However it ends, the last sound weights are kept."""
        try:
            if not self._complete:
                yield from self._conclude({})
            elif self._iteration >= self._solver.iterations:
                yield from self._only_test()
            yield from self._iterate()
        finally:
            if self._sound:
                self._keep()
                self._keeper.clean(self._iteration)

    @property
    def left_out(self) -> list[str]:
        """Words about samples that could not be read up to here."""
        readings = (self._reading, self._evaluation.reading)
        # One and the same file may be both.
        return list(dict.fromkeys(text for each in readings for text in each.left_out.warnings()))

    @property
    def history(self) -> dict[str, list[float]]:
        """All points up to here, those before a break too."""
        return self._series.lists()

    def _take_up(self, state: SolverState | None, *, fresh: bool) -> None:
        """Go on where a checkpoint stood; another attempt at a training is that training."""
        repository, solver = self._course.repository, self._solver
        names = [each.name for each in self._course.data.tests]
        self._again = state is not None and state.run == repository.run != ""
        kept = state.best if state and self._again else ()
        best = BestModels(repository, names, resumed=state is not None, kept=kept)
        written = state.written if state and self._again else best.iterations
        self._best = best
        self._keeper = Keeper(repository, solver, best, written)
        self._series = Series(state.history if state else None)
        elapsed, tested = (state.elapsed_ms, state.tested) if state else (0.0, {})
        self._live = LiveValues(solver, names, elapsed, tested)
        if state is not None:
            self._restore(state, fresh=fresh)
        if self._again:
            self._keeper.clean(self._iteration)

    def _restore(self, state: SolverState, *, fresh: bool) -> None:
        if not fresh:
            self._resumed = (state.optimizer, state.followers)
            self._stepping.resume(state.optimizer, state.followers)
        same = state.per_epoch == self._loader.per_epoch
        epochs = -(-state.batches // state.per_epoch)
        # Other batches than before: go on with a new epoch.
        self._batches = state.batches if same else epochs * self._loader.per_epoch
        self._train_loss = state.train_loss
        self._complete = state.complete
        restore(state.chance, self._course.device)

    def _iterate(self) -> Generator[Progress, None, None]:
        self._stepping.train()
        if self._iteration >= self._solver.iterations:
            return
        with (
            closing(self._loader.batches(self._batches)) as batches,
            self._crew() as others,
        ):
            while self._iteration < self._solver.iterations:
                yield from self._conclude(self._step(batches, others))

    def _crew(self) -> AbstractContextManager[Crew | None]:
        duty = self._course.duty
        if duty is None:
            return nullcontext()
        started = replace(duty, resumed=packed(*self._resumed), seed=self._reading.seed)
        return crew(started, self._stepping)

    def _conclude(self, points: dict[str, float]) -> Generator[Progress, None, None]:
        """What follows an iteration: the test, the checkpoint that is due, and the word of it."""
        results, places = None, []
        self._series.add(points)
        if self._test_due:
            self._complete = False
            results, more = yield from self._test()
            places = self._best.offer(self._iteration, results)
            self._series.add(more)
            points |= more
        self._complete = True
        last = self._iteration >= self._solver.iterations
        if places or last or self._keeper.due(self._iteration):
            # The checkpoint knows of the best already: a kill in between loses nothing.
            self._keep()
            self._best.write(places)
            self._keeper.clean(self._iteration)
        yield self._progress(points, results)

    def _only_test(self) -> Generator[Progress, None, None]:
        results, points = yield from self._test()
        if self._again:
            # These points are in the history: only the report was lost.
            points = {}
        else:
            self._series.add(points)
            self._best.write(self._best.offer(self._iteration, results))
        yield self._progress(points, results)

    def _progress(
        self, points: Mapping[str, float], results: Sequence[Mapping[str, Any]] | None
    ) -> Progress:
        live, shown = self._live.values(), self._predictions if results is not None else {}
        return Progress(self._iteration, live, points, results, self._losses, shown)

    @property
    def _test_due(self) -> bool:
        interval = self._solver.test_interval
        due = interval > 0 and self._iteration % interval == 0
        return due or self._iteration >= self._solver.iterations

    def _step(self, batches: Iterator[Loaded], others: Crew | None) -> dict[str, float]:
        """One iteration: `iter_size` batches a device, one change of the weights."""
        began = time.perf_counter()
        count = self._solver.batches * (others.size if others else 1)
        taken = [next(batches) for _ in range(count)]
        self._batches = taken[-1].number + 1
        self._sound = False
        with others.step(taken, self._iteration) if others else nullcontext(taken) as own:
            stepped = self._stepping.step(own, self._iteration)
        self._train_loss = stepped.loss
        self._losses = stepped.parts
        if not math.isfinite(self._train_loss):
            raise ParameterError(
                f"the loss is {self._train_loss} at iteration {self._iteration + 1}: the training "
                f"has diverged, with solver.base_lr {self._solver.base_lr:g} and the data as "
                "input.scale, mean and std make them; its last checkpoint is kept"
            )
        self._sound = True
        self._iteration += 1
        seconds = time.perf_counter() - began
        return self._live.stepped(Step(self._iteration, stepped, seconds))

    def _test(
        self,
    ) -> Generator[Progress, None, tuple[list[Mapping[str, Any]], dict[str, float]]]:
        began = time.perf_counter()
        counters = {"iteration": float(self._iteration), "train_loss": self._train_loss}
        results: list[Mapping[str, Any]] = []
        self._stepping.evaluate()
        try:
            for index in range(len(self._evaluation.sets)):
                results.append({**counters, **(yield from self._told(index))})
            if self._shown:
                self._predictions = self._shown.after(self._iteration)
        finally:
            self._stepping.train()
        return results, self._live.tested(results, time.perf_counter() - began)

    def _told(self, index: int) -> Generator[Progress, None, dict[str, Any]]:
        """Score a test set, and say now and then how far it is."""
        total, last = len(self._evaluation.sets[index]), 0.0
        scoring = self._evaluation.score(index)
        with closing(scoring):
            while True:
                try:
                    done = next(scoring)
                except StopIteration as end:
                    found: dict[str, Any] = end.value
                    return found
                self._live.testing(index, done, total)
                if time.perf_counter() - last >= TELL:
                    last = time.perf_counter()
                    yield Progress(self._iteration, self._live.values(), {})

    def _keep(self) -> None:
        """Write the checkpoint of this iteration, unless it is there."""
        now = (self._iteration, self._complete)
        if self._saved == now:
            return
        with self._stepping.result():
            self._write()
        self._saved = now

    def _write(self) -> None:
        state = SolverState(
            run=self._course.repository.run,
            solver_type=self._solver.solver_type,
            optimizer=self._stepping.state(),
            followers=self._stepping.followers(),
            model=model_config(self._course.parameters),
            batches=self._batches,
            per_epoch=self._loader.per_epoch,
            seed=self._reading.seed,
            elapsed_ms=self._live.elapsed_ms,
            train_loss=self._train_loss,
            chance=states(self._course.device),
            history=self._series.kept(),
            tested=self._live.last_test,
            complete=self._complete,
            best=self._best.kept(),
            written=self._keeper.written_with(self._iteration),
        )
        self._keeper.write(self._iteration, self._stepping.module, state)
