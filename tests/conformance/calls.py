"""The documented requests, made short for the checks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddstream.api.envelope import Answer, Json
from ddstream.api.parameters import envelope, merged
from ddstream.api.predict import PredictRequest
from ddstream.api.protocol import Api
from ddstream.api.service import ServiceDefinition
from ddstream.api.train import JobQuery, JobStop, TrainRequest


@dataclass(frozen=True)
class Desk:
    """Asks an Api about one service, in the words of the document."""

    api: Api
    folder: Path
    name: str

    @property
    def repository(self) -> Path:
        """The model's folder."""
        return self.folder / "models" / self.name

    @property
    def images(self) -> list[Path]:
        """Held-out digits, 0 to 9."""
        return sorted((self.folder / "test").glob("*/*.png"))

    def definition(self, over: Json | None = None) -> Json:
        """The body of a creation, with `over` on top."""
        body: Json = {
            "mllib": "torch",
            "type": "supervised",
            "description": "digits ✍",
            "model": {"repository": str(self.repository), "create_repository": True},
            "parameters": {
                "input": {"connector": "image", "width": 32, "height": 32, "rgb": True},
                "mllib": {"template": "resnet18", "nclasses": 10},
                "output": {},
            },
        }
        return merged(body, over or {})

    async def create(self, over: Json | None = None) -> Answer:
        """PUT /services/name."""
        definition = envelope(ServiceDefinition, self.definition(over))
        return await self.api.create_service(self.name, definition)

    async def predict(self, data: Sequence[Any], **output: Any) -> Answer:
        """POST /predict."""
        body = {"service": self.name, "data": list(data), "parameters": {"output": output}}
        return await self.api.predict(envelope(PredictRequest, body))

    async def train(
        self, *, blocking: bool = False, iterations: int = 4, resume: bool = False
    ) -> Answer:
        """POST /train with the digits."""
        data = [str(self.folder / "train"), str(self.folder / "test")]
        mllib = {"solver": {"iterations": iterations}, "resume": resume}
        return await self.train_on(data, blocking=blocking, mllib=mllib)

    async def train_on(
        self, data: Sequence[str], *, blocking: bool, mllib: Json | None = None
    ) -> Answer:
        """POST /train with any data."""
        solver = {"iterations": 4, "base_lr": 0.01}
        options = merged({"solver": solver, "net": {"batch_size": 8}}, mllib or {})
        body = {
            "service": self.name,
            "async": not blocking,
            "data": list(data),
            "parameters": {"mllib": options, "output": {"measure": ["acc"]}},
        }
        return await self.api.train(envelope(TrainRequest, body))

    async def job(self, number: int | None = 1, **query: Any) -> Answer:
        """GET /train."""
        body = {"service": self.name, "job": number, **query}
        return await self.api.get_job(envelope(JobQuery, body))

    async def stop(self, number: int = 1, **query: Any) -> Answer:
        """DELETE /train."""
        body = {"service": self.name, "job": number, **query}
        return await self.api.delete_job(envelope(JobStop, body))


def base64_of(path: Path) -> str:
    """A file as `data` holds it."""
    return base64.b64encode(path.read_bytes()).decode()
