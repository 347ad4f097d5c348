"""Elements of predictions that several tasks make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddstream.api.envelope import Json
from ddstream.data import Array


def flat(values: Array) -> Array:
    """N x ... as N x C."""
    return values.reshape(len(values), -1)


def ranked(values: Array) -> Array:
    """Indices by value, the highest first, equal ones in their order."""
    order: Array = np.argsort(-values, kind="stable")
    return order


def ended(elements: list[Json]) -> list[Json]:
    """The elements, the last one marked as such (contract 2.1)."""
    if elements:
        elements[-1] = {"last": True, **elements[-1]}
    return elements


def vector(values: Array, names: Sequence[str]) -> list[Json]:
    """A regression's targets, the highest value first, each with its name or index."""
    cats = [names[i] if i < len(names) else str(i) for i in range(len(values))]
    return ended([{"val": float(values[i]), "cat": cats[i]} for i in ranked(values).tolist()])
