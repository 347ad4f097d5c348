"""A model whose gradients are averaged over processes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Together(DistributedDataParallel):
    """PyTorch's, with all that the model itself has; parts of it may do without a gradient."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, find_unused_parameters=True)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)
