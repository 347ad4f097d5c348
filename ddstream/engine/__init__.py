"""The engine: everything that has a life. It knows no transport."""

from ddstream.engine.engine import Engine

__all__ = ["Engine"]
