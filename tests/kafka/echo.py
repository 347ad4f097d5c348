"""A host without models: it answers at once, or when told, with what it was sent.

It stands for an engine where a test is about the streaming plane alone, and lets a test decide
when which answer comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from ddstream.api.envelope import Answer, Json
from ddstream.api.job import JobChange, JobRecord
from ddstream.api.predict import Call, PredictRequest
from ddstream.api.protocol import Capacity
from ddstream.api.service import ServiceDefinition
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.errors import JobNotFound, ParameterError, ServiceNotFound

Respond = Callable[[Call], None]


def echo(call: Call) -> None:
    """Answer with the sizes and names of the data."""
    uris = call.uris or [str(element) for element in call.data]
    call.done(Answer(200, {"method": "/predict"}, {"predictions": [{"uri": u} for u in uris]}))


class EchoHost:
    """Implements Host without an engine; `respond` is what becomes of each call."""

    def __init__(self, respond: Respond = echo, *, max_calls: int = 1 << 20) -> None:
        self.respond = respond
        self.max_calls = max_calls
        self.calls = 0
        self.most = 0
        self.services: dict[str, ServiceDefinition] = {}
        self.unloaded: list[tuple[str, str]] = []

    async def info(self, *, status: bool = False) -> Answer:
        return Answer(200, {"services": list(self.services)})

    async def create_service(self, name: str, definition: ServiceDefinition) -> Answer:
        if definition.mllib != "echo":
            raise ParameterError("this host only echoes")
        self.services[name] = definition
        return Answer(201)

    async def get_service(self, name: str, *, status: bool = True, labels: bool = False) -> Answer:
        return Answer(200, {}, self.describe(name))

    async def delete_service(self, name: str, clear: str = "mem") -> Answer:
        await self.unload(name, clear)
        return Answer()

    async def predict(self, request: PredictRequest) -> Answer:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(result: object) -> None:
            if isinstance(result, Answer):
                answered.set_result(result)
            else:
                answered.set_exception(ServiceNotFound())

        self.submit([Call(request.service, request.data, done)])
        return await answered

    async def train(self, request: TrainRequest) -> Answer:
        raise ParameterError("this host does not train")

    async def get_job(self, query: JobQuery) -> Answer:
        raise JobNotFound

    async def delete_job(self, stop: JobStop) -> Answer:
        raise JobNotFound

    async def health(self) -> Sequence[str]:
        return ()

    async def load(self, name: str, definition: ServiceDefinition, *, create: bool) -> Json:
        self.services[name] = definition
        return self.describe(name)

    async def unload(self, name: str, clear: str = "mem") -> None:
        del self.services[name]
        self.unloaded.append((name, clear))

    async def reload(self, name: str) -> Json:
        return self.describe(name)

    def submit(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self.calls += 1
            self.most = max(self.most, self.calls)
            self.respond(replace(call, done=self._counted(call.done)))

    def capacity(self) -> Capacity:
        return Capacity(self.calls, 0, self.max_calls, 1 << 40)

    def fatal(self) -> str:
        return ""

    def describe(self, name: str) -> Json:
        return {"name": name, "mllib": "echo", "labels": []}

    def stats(self, name: str) -> Json:
        return {}

    async def start_job(self, record: JobRecord) -> JobRecord:
        raise ParameterError("this host does not train")

    def stop_job(self, service: str, number: int, *, force: bool = False) -> None:
        raise JobNotFound

    async def jobs(self) -> AsyncIterator[JobChange]:
        await asyncio.get_running_loop().create_future()
        yield JobChange(JobRecord("", 0))

    def _counted(self, done: Callable[..., None]) -> Callable[..., None]:
        def count(result: object) -> None:
            self.calls -= 1
            done(result)

        return count
