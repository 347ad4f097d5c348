"""DeepDetect(): the engine inside a Python process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata

from ddstream.api.envelope import Json
from ddstream.api.protocol import Api
from ddstream.engine.engine import Engine
from ddstream.face.face import Face
from ddstream.outputs.sinks import ANY_HOST, Sinks
from ddstream.roots import ANYWHERE
from ddstream.settings import Settings

_EVERY_NETWORK = ("0.0.0.0/0", "::/0")
_LIBRARIES = ("torch", "torchvision", "opencv-python", "numpy")
_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"]", re.MULTILINE)


class DeepDetect(Face):
    """An engine in this process. Who calls it is the operator: paths and hosts are not limited.

    Calls release the interpreter's lock, and may come from any thread; none may come from a fork.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(partial(_engine, settings))

    @property
    def build_info(self) -> Json:
        """What this build is made of; `cuda` says whether its torch was built for CUDA."""
        head = self.info()
        return {
            "version": head["version"],
            "commit": head["commit"],
            "branch": head["branch"],
            "build_type": head["build-type"],
            "compile_flags": head["compile_flags"],
            "dependency_versions": {name: metadata.version(name) for name in _LIBRARIES},
            "cuda": _built_for_cuda(),
        }


def _built_for_cuda() -> bool:
    """What torch's own note of its build says; importing torch takes seconds."""
    notes = [file for file in metadata.files("torch") or () if str(file) == "torch/version.py"]
    return any(_CUDA.search(note.read_text()) for note in notes)


@asynccontextmanager
async def _engine(settings: Settings | None) -> AsyncIterator[Api]:
    own = (settings or Settings()).model_copy(update={"fetch_allow": _EVERY_NETWORK})
    async with (
        Sinks.standard(ANY_HOST) as sinks,
        Engine(own, roots=ANYWHERE, sinks=sinks) as engine,
    ):
        yield engine
