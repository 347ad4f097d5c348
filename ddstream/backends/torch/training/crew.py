"""A crew: processes that train one model together, each on a device of its own.

The first rank is the training's own process: it reads the batches of all, tests and keeps. The
others get their batches from it and make the same steps, since gradients are averaged over all
(PyTorch's DistributedDataParallel); statistics of batches are the first rank's (contract 5.3).
"""

from __future__ import annotations

import io
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed, multiprocessing

from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.network.model import Plan, load_model
from ddstream.backends.torch.network.weights import plain
from ddstream.backends.torch.objectives import OBJECTIVES
from ddstream.backends.torch.training.loader import Loaded
from ddstream.backends.torch.training.stepping import Stepping
from ddstream.data import Sample
from ddstream.errors import InternalError

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others in a step."""
LEAVE_WITHIN = 10.0
"""Seconds that a rank has to end."""
GRACE = 20.0
"""Seconds after the death of a rank in which the first one must have noticed it."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What every rank builds its part of: the same model, objective and solver.

    `resumed` are the kept states of the solver and of what goes along with it, if any, as `packed`
    has them. Ranks draw chance of their own from `seed`.
    """

    plan: Plan
    purpose: str
    parameters: TorchTraining
    devices: Sequence[torch.device]
    resumed: bytes = b""
    seed: int = 0


def packed(*states: Mapping[str, Any]) -> bytes:
    """States of a solver for another process, none of whose memory is shared."""
    buffer = io.BytesIO()
    torch.save(states, buffer)
    return buffer.getvalue()


class Place(NamedTuple):
    """Where a rank stands: its number, and the file at which all meet."""

    rank: int
    meeting: str
    threads: int


class Crew:
    """The other ranks, seen from the first one."""

    def __init__(self, pipes: Sequence[Connection], processes: Sequence[Any]) -> None:
        self._pipes = pipes
        self._processes = processes
        self._closing = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def size(self) -> int:
        """All ranks, the first one too."""
        return len(self._pipes) + 1

    @contextmanager
    def step(self, batches: Sequence[Loaded], iteration: int) -> Iterator[Sequence[Loaded]]:
        """Hand out the batches of an iteration; gives those of the first rank, to step by within.

        Raises InternalError where another rank failed.
        """
        share = len(batches) // self.size
        try:
            for rank, pipe in enumerate(self._pipes, 1):
                own = batches[rank * share : (rank + 1) * share]
                pipe.send((iteration, [_bare(each) for each in own]))
            yield batches[:share]
        except (OSError, RuntimeError) as error:
            raise self._reason() or error from error

    def close(self) -> None:
        """End all ranks."""
        self._closing.set()
        for pipe in self._pipes:
            with suppress(OSError):
                pipe.send(None)
        for process in self._processes:
            process.join(LEAVE_WITHIN)
            if process.is_alive():
                process.kill()
                process.join()

    def _reason(self) -> InternalError | None:
        """What another rank died of, if one did."""
        ended = wait([process.sentinel for process in self._processes], 1.0)
        for rank, (pipe, process) in enumerate(zip(self._pipes, self._processes, strict=True), 1):
            if process.sentinel in ended:
                # Its files are closed a moment before it can be asked how it ended.
                process.join(1.0)
                said = f"exit status {process.exitcode}"
                with suppress(OSError, EOFError):
                    said = pipe.recv() if pipe.poll() else said
                return InternalError(f"rank {rank} of the training died: {said}")
        return None

    def _watch(self) -> None:
        """See to it that nobody waits forever for a rank that is dead."""
        wait([process.sentinel for process in self._processes])
        if not self._closing.wait(GRACE):
            log.error("a rank of the training died, and the first one waits for it: it ends too")
            os._exit(1)


@contextmanager
def crew(duty: Duty, stepping: Stepping) -> Iterator[Crew | None]:
    """Start the other ranks and join them with the first one's stepping; None if there are none."""
    size = len(duty.devices)
    if size == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="ddstream-crew-") as folder:
        pipes, processes = [], []
        for rank in range(1, size):
            ours, theirs = context.Pipe()
            place = Place(rank, str(Path(folder, "meeting")), torch.get_num_threads())
            process = context.Process(target=work, args=(duty, place, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        others = Crew(pipes, processes)
        try:
            with _joined(duty, Place(0, str(Path(folder, "meeting")), 0)):
                stepping.join(size)
                yield others
        except RuntimeError as error:
            raise others._reason() or error from error
        finally:
            others.close()


def work(duty: Duty, place: Place, pipe: Connection) -> None:
    """The life of another rank: it steps by what it is given until it is given nothing."""
    # What ends the first rank ends this one, and nothing else does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(place.threads)
    torch.manual_seed(duty.seed + place.rank)
    try:
        model = load_model(duty.plan)
        objective = OBJECTIVES.load(duty.purpose)(duty.parameters)
        stepping = Stepping(model, objective, duty.parameters, duty.devices[place.rank])
        if states := plain(duty.resumed):
            stepping.resume(*states)
        with _joined(duty, place):
            stepping.join(len(duty.devices))
            stepping.train()
            while (given := pipe.recv()) is not None:
                iteration, batches = given
                stepping.step(batches, iteration)
    except EOFError:
        os._exit(1)
    except Exception as error:
        log.exception("rank %d failed", place.rank)
        with suppress(OSError):
            pipe.send(f"{type(error).__name__}: {error}")
        os._exit(1)
    # Nothing is left to save, and taking torch apart costs seconds.
    os._exit(0)


@contextmanager
def _joined(duty: Duty, place: Place) -> Iterator[None]:
    device = duty.devices[place.rank]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{place.meeting}",
        rank=place.rank,
        world_size=len(duty.devices),
        timeout=PATIENCE,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _bare(batch: Loaded) -> Loaded:
    """A batch with nothing but what a step takes."""
    return replace(batch, samples=[Sample("", {}, normalise=batch.normalise)])


def _die_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
