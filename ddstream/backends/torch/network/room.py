"""Room: whether a model fits into this machine's memory, asked before it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from ddstream.errors import ParameterError

GIB = 1 << 30
_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
"""Limits of a container's memory, where the kernel keeps them."""


def check_room(build: Callable[[], nn.Module], name: str) -> None:
    """Raises ParameterError for a model larger than the free memory: a process that took it would
    be killed, with all that it serves. Models that cannot be sized without weights are let pass.
    """
    try:
        with torch.device("meta"):
            module = build()
    except Exception:
        # Whatever is wrong with it, its real building tells.
        return
    needed = sum(each.nbytes for each in chain(module.parameters(), module.buffers()))
    free = min(_free(), default=needed)
    if needed > free:
        raise ParameterError(
            f"a {name} of these sizes cannot be: its weights have {needed / GIB:.1f} GiB, "
            f"this machine has {free / GIB:.1f} GiB left"
        )


def _free() -> Iterator[int]:
    """Bytes that are left to the machine, and to this process's group; nothing where unknown."""
    with suppress(OSError, ValueError, StopIteration):
        lines = _MEMORY.read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        yield int(available.split()[1]) * 1024
    with suppress(OSError, ValueError):
        most, used = ((_GROUP / f"memory.{each}").read_text() for each in ("max", "current"))
        yield int(most) - int(used)
