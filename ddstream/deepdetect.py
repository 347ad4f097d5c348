"""The Python package as its users import it: DeepDetect(), its services, jobs and errors."""

from __future__ import annotations

from ddstream.face.embedded import DeepDetect
from ddstream.face.face import Service
from ddstream.face.failures import CapabilityError, DeepDetectError
from ddstream.face.training_job import TrainingJob

__all__ = ["CapabilityError", "DeepDetect", "DeepDetectError", "Service", "TrainingJob"]
