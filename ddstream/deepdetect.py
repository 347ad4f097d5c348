"""DeepDetect(): the engine inside a Python process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata

from ddstream.api.envelope import Json
from ddstream.api.protocol import Api
from ddstream.engine.engine import Engine
from ddstream.face.face import Face, Service
from ddstream.face.failures import CapabilityError, DeepDetectError
from ddstream.face.training_job import TrainingJob
from ddstream.outputs.sinks import ANY_HOST, Sinks
from ddstream.roots import ANYWHERE
from ddstream.settings import Settings

__all__ = ["CapabilityError", "DeepDetect", "DeepDetectError", "Service", "TrainingJob"]

_EVERY_NETWORK = ("0.0.0.0/0", "::/0")
_LIBRARIES = ("torch", "torchvision", "opencv-python", "numpy")


class DeepDetect(Face):
    """An engine in this process. Who calls it is the operator: paths and hosts are not limited."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(partial(_engine, settings))

    @property
    def build_info(self) -> Json:
        """What this build is made of."""
        head = self.info()
        versions = {name: metadata.version(name) for name in _LIBRARIES}
        return {
            "version": head["version"],
            "commit": head["commit"],
            "branch": head["branch"],
            "build_type": head["build-type"],
            "compile_flags": head["compile_flags"],
            "dependency_versions": versions,
            "cuda": "+cpu" not in versions["torch"],
        }


@asynccontextmanager
async def _engine(settings: Settings | None) -> AsyncIterator[Api]:
    own = (settings or Settings()).model_copy(update={"fetch_allow": _EVERY_NETWORK})
    async with (
        Sinks.standard(ANY_HOST) as sinks,
        Engine(own, roots=ANYWHERE, sinks=sinks) as engine,
    ):
        yield engine
