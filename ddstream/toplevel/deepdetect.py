"""`import deepdetect`: the documented name of the in-process package; it lies beside `ddstream`."""

from __future__ import annotations

from ddstream.deepdetect import (
    CapabilityError,
    DeepDetect,
    DeepDetectError,
    Service,
    TrainingJob,
)

__all__ = ["CapabilityError", "DeepDetect", "DeepDetectError", "Service", "TrainingJob"]
