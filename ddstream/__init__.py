"""ddstream: an event-driven streaming processor for deep learning, on the DeepDetect API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ddstream.version import __version__

if TYPE_CHECKING:
    from ddstream.deepdetect import DeepDetect

__all__ = ["DeepDetect", "__version__"]


def __getattr__(name: str) -> Any:
    # The face pulls in the engine; importing the package must stay cheap for the edges.
    if name == "DeepDetect":
        from ddstream.deepdetect import DeepDetect

        return DeepDetect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
