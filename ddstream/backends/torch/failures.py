"""What an exception of a forward pass means: too little memory, a lost device, a bad sample."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from contextlib import suppress

import torch

from ddstream.backends.protocol import Failure

# Scripted models raise a RuntimeError whatever the cause is, and libraries below CUDA have
# names of their own for it.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def meaning(error: Exception, devices: Iterable[torch.device]) -> Failure:
    """What became of a pass that used these devices; for memory, what it held is freed."""
    gpus = [device for device in devices if device.type == "cuda"]
    if _no_memory(error):
        _free(error)
        return "memory" if all(_answers(gpu) for gpu in gpus) else "broken"
    return "sample" if all(_answers(gpu) for gpu in gpus) else "broken"


def _no_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)


def _free(error: BaseException | None) -> None:
    # The frames of the traceback still hold the tensors of the failed pass.
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    # A device that is lost is found out next.
    with suppress(RuntimeError):
        torch.cuda.empty_cache()


def _answers(device: torch.device) -> bool:
    """Whether a device still works: after most CUDA errors every later call fails as well, after
    some (a launch that was refused) nothing is wrong. Only asking it tells them apart."""
    try:
        torch.cuda.synchronize(device)
        return bool(torch.ones(1, device=device).item() == 1)
    except Exception as error:
        return _no_memory(error)
