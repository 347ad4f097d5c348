"""Backends: one library holding one model. Synchronous; each model is used from one thread."""

from ddstream.backends.protocol import Backend, BackendType
from ddstream.registry import Registry

BACKENDS: Registry[BackendType] = Registry(
    {"torch": "ddstream.backends.torch.backend:TorchBackend"},
)
RETIRED = frozenset({"caffe", "caffe2", "tf", "tensorflow"})
WORKER = "pytorch"
"""The reference's worker of Python modules, which a build of it may lack (contract 1.3)."""

__all__ = ["BACKENDS", "RETIRED", "WORKER", "Backend", "BackendType"]
