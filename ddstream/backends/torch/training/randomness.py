"""The states of every source of chance that a model may draw from, kept over a break."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def begin(seed: int) -> None:
    """Let everything that a model may draw from follow from a seed."""
    torch.manual_seed(seed)
    np.random.seed(seed % (1 << 32))
    random.seed(seed)


def states(device: torch.device) -> dict[str, Any]:
    """Plain values and tensors: torch on the CPU and on the device, numpy, Python.

    What the loader draws is not among them: it follows from the seed and a batch's number.
    """
    _, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def restore(kept: Mapping[str, Any], device: torch.device) -> None:
    """The inverse of `states`; a device of another kind begins with what chance it has."""
    torch.set_rng_state(kept["torch"])
    if kept["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(kept["cuda"], device)
    keys, *rest = kept["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
    random.setstate(kept["python"])
