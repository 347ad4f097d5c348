"""Backends: one library holding one model. Synchronous; each model is used from one thread."""

from ddstream.backends.protocol import Backend, BackendType
from ddstream.registry import Registry

BACKENDS: Registry[BackendType] = Registry(
    {"torch": "ddstream.backends.torch.backend:TorchBackend"},
)
RETIRED = frozenset({"caffe", "caffe2", "tf", "tensorflow"})

__all__ = ["BACKENDS", "RETIRED", "Backend", "BackendType"]
