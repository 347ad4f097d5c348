"""The file that `parameters.mllib.pretrained` names: weights to begin from, below the roots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddstream.connectors.protocol import Limits
from ddstream.errors import ParameterError
from ddstream.roots import OutsideRoots


def pretrained(mllib: Mapping[str, Any], limits: Limits) -> Path | None:
    """Where it really is; None if none is named. Raises ParameterError outside of the roots."""
    named = mllib.get("pretrained")
    if not isinstance(named, str) or not named:
        return None
    try:
        return limits.roots.resolve(named)
    except OutsideRoots as error:
        raise ParameterError(f"parameters.mllib.pretrained: {error}") from error
