"""Sharpness-aware minimisation: the gradient of the worst place near (Foret et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

LEAST = 1e-12
"""Added to the norm of gradients, which may be zero."""


@contextmanager
def uphill(module: nn.Module, weights: Sequence[nn.Parameter], rho: float) -> Iterator[None]:
    """Within, the weights are `rho` up their gradients, which are gone, so that a second pass
    gives those of that place; then all is where it was, what the module counts of batches too."""
    moved = [each for each in weights if each.grad is not None]
    before = [each.detach().clone() for each in moved]
    counted = [(each, each.clone()) for each in module.buffers()]
    gradients = [each.grad for each in moved if each.grad is not None]
    scale = rho / (nn.utils.get_total_norm(gradients) + LEAST)
    with torch.no_grad():
        for weight, gradient in zip(moved, gradients, strict=True):
            weight.addcmul_(gradient, scale)
    for weight in weights:
        weight.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, kept in zip(moved, before, strict=True):
                weight.copy_(kept)
            for buffer, held in counted:
                buffer.copy_(held)
