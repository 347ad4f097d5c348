"""A small Api for tests of the edges: real envelopes, real deliveries, jobs that end when told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ddstream.api.envelope import Answer, Json
from ddstream.api.job import (
    History,
    JobRecord,
    JobStatus,
    blocking_answer,
    job_answer,
    job_line,
    started_answer,
    stopped_answer,
)
from ddstream.api.predict import OutputParameters, PredictRequest
from ddstream.api.service import ServiceDefinition, described, service_name
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.errors import (
    JobNotFound,
    NoData,
    ParameterError,
    ServiceExists,
    ServiceNotFound,
    TooManyRequests,
    UnknownLibrary,
)
from ddstream.outputs.deliver import deliver
from ddstream.outputs.sinks import Sinks


class TwinApi:
    """Remembers services and jobs; predicts the letters of a datum as its classes.

    Some data have meanings: `crash` breaks, `busy` is refused for load, `wait` waits for `release`.
    """

    def __init__(self, sinks: Sinks) -> None:
        self.sinks = sinks
        self.services: dict[str, ServiceDefinition] = {}
        self.jobs: dict[tuple[str, int], JobRecord] = {}
        self.reasons: list[str] = []
        self.release = asyncio.Event()
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.seen: list[PredictRequest] = []
        self.history = History({"train_loss": [3.0, 2.0, 1.0, 0.5]})

    async def info(self, *, status: bool = False) -> Answer:
        services = [self._described(name, jobs=status) for name in self.services]
        head = {"method": "/info", "version": "0", "branch": "twin", "commit": "none"}
        return Answer(200, {**head, "services": services})

    async def create_service(self, name: str, definition: ServiceDefinition) -> Answer:
        name = service_name(name)
        if name in self.services:
            raise ServiceExists
        if definition.mllib != "torch":
            raise UnknownLibrary
        self.services[name] = definition
        return Answer(201)

    async def get_service(self, name: str, *, status: bool = True, labels: bool = False) -> Answer:
        return Answer(200, {}, self._described(self._known(name), jobs=status, labels=labels))

    async def delete_service(self, name: str, clear: str = "mem") -> Answer:
        del self.services[self._known(name)]
        return Answer()

    async def predict(self, request: PredictRequest) -> Answer:
        name = self._known(request.service)
        self.seen.append(request)
        if not request.data:
            raise NoData
        for datum in request.data:
            await self._act(datum)
        raw = request.parameters.output
        output = OutputParameters.parse(raw, "parameters.output", ParameterError)
        head = {"method": "/predict", "time": 1.5, "service": name}
        predictions = [self._prediction(datum, output.best) for datum in request.data]
        return await deliver(Answer(200, head, {"predictions": predictions}), output, self.sinks)

    async def train(self, request: TrainRequest) -> Answer:
        name = self._known(request.service)
        number = 1 + sum(service == name for service, _ in self.jobs)
        about = {"sname": name, "mltype": "classification"}
        record = JobRecord(name, number, measure={"train_loss": 0.5}, about=about)
        if not request.asynchronous:
            return blocking_answer(record.evolve(ended=record.started), self.history, None)
        self.jobs[name, number] = record
        return started_answer(record, [])

    async def get_job(self, query: JobQuery) -> Answer:
        record = self._job(query.service, query.job)
        if query.timeout:
            record = record.evolve(status=JobStatus.FINISHED)
        if record.status.ended:
            del self.jobs[record.service, record.number]
        return job_answer(record, self.history, query.history_points())

    async def delete_job(self, stop: JobStop) -> Answer:
        record = self._job(stop.service, stop.job)
        if not stop.wait:
            return stopped_answer(record.evolve(status=JobStatus.CANCELLING))
        del self.jobs[record.service, record.number]
        return stopped_answer(record.evolve(status=JobStatus.TERMINATED))

    async def health(self) -> Sequence[str]:
        return self.reasons

    async def _act(self, datum: Any) -> None:
        if datum == "crash":
            raise ZeroDivisionError("a fault of our own")
        if datum == "busy":
            raise TooManyRequests
        if datum == "wait":
            self.waiting.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

    def _prediction(self, datum: Any, best: int) -> Json:
        letters = sorted(set(str(datum)))[: best if best > 0 else None]
        classes: list[Json] = [{"prob": 0.5 ** (i + 1), "cat": c} for i, c in enumerate(letters)]
        classes[-1]["last"] = True
        return {"uri": str(datum), "loss": 0.0, "classes": classes}

    def _known(self, name: str) -> str:
        name = service_name(name)
        if name not in self.services:
            raise ServiceNotFound
        return name

    def _job(self, service: str, number: int | None) -> JobRecord:
        name = self._known(service)
        if number is None:
            raise JobNotFound
        if (name, number) not in self.jobs:
            raise JobNotFound(head={"method": "/train", "job": number})
        return self.jobs[name, number]

    def _described(self, name: str, *, jobs: bool, labels: bool = False) -> Json:
        definition = self.services[name]
        description: Json = {
            "name": name,
            "description": definition.description,
            "mllib": definition.mllib,
            "mltype": "classification",
            "type": definition.type,
            "parameters": {"input": definition.parameters.input},
            "repository": str(definition.model.get("repository", "")),
            "model_stats": {"params": 1},
            "stats": {"params": 1},
            "labels": ["a", "b"],
        }
        stats: Json = {
            "inference_count": 0,
            "predict_count": 0,
            "predict_success": 0,
            "predict_failure": 0,
            "avg_batch_size": -1.0,
            "avg_predict_duration_ms": 0.0,
            "avg_transform_duration_ms": 0.0,
        }
        lines = [job_line(record) for (service, _), record in self.jobs.items() if service == name]
        body = described(description, lines, stats, labels=labels)
        return body if jobs else {key: value for key, value in body.items() if key != "jobs"}
