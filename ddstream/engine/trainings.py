"""The train verbs of an engine: requests become specs, jobs become answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ddstream.api.envelope import Answer, Json
from ddstream.api.job import (
    JobChange,
    JobRecord,
    JobStatus,
    blocking_answer,
    hidden_number,
    job_answer,
    job_line,
    started_answer,
    stopped_answer,
)
from ddstream.api.parameters import envelope, merged
from ddstream.api.predict import OutputParameters
from ddstream.api.service import ModelObject, Parameters, service_name
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.connectors.protocol import Limits
from ddstream.engine.jobs import Jobs
from ddstream.engine.loading import library
from ddstream.engine.service import Service
from ddstream.engine.training import TrainingSpec
from ddstream.errors import (
    InputError,
    NoData,
    ParameterError,
    ServiceNotFound,
    TrainPredictConflict,
)
from ddstream.repository import REQUEST
from ddstream.roots import OutsideRoots


class Trainings:
    """Answers the train verbs; `retrained` is awaited when a service has new weights."""

    def __init__(
        self,
        service: Callable[[str], Service],
        limits: Limits,
        retrained: Callable[[str], Awaitable[None]],
    ) -> None:
        self._service = service
        self._limits = limits
        self._retrained = retrained
        self._jobs = Jobs(self._ended)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._jobs.aclose()

    async def train(self, request: TrainRequest) -> Answer:
        """`POST /train`: start, and wait for the end if the call is blocking."""
        service = self._service(request.service)
        record = await self.start(_asked(request))
        if request.asynchronous:
            return started_answer(record, list(record.warnings))
        try:
            state = await self._jobs.wait(record.service, record.number)
        except asyncio.CancelledError:
            # Who waited is gone: nobody could ask for a job whose number was never told.
            self._jobs.stop(record.service, record.number)
            raise
        state = self._jobs.take(record.service, record.number)
        output = merged(service.definition.parameters.output, request.parameters.output)
        most = int(output.get("max_hist_points", 10**9)) if output.get("measure_hist") else None
        return blocking_answer(state.record, state.history, most)

    async def get_job(self, query: JobQuery) -> Answer:
        """`GET /train`."""
        name = self._service(query.service).name
        if query.timeout:
            await self._jobs.wait(name, query.job, query.timeout)
        state = self._jobs.take(name, query.job)
        most, predictions = query.history_points(), query.wants_predictions
        return job_answer(state.record, state.history, most, predictions=predictions)

    async def delete_job(self, stop: JobStop) -> Answer:
        """`DELETE /train`."""
        name = self._service(stop.service).name
        record = await self._jobs.delete(name, stop.job, wait=stop.wait, force=stop.force)
        return stopped_answer(record)

    async def start(self, record: JobRecord) -> JobRecord:
        """Start a job, or another attempt at one; number 0 is the next that is free."""
        request = envelope(TrainRequest, record.request)
        service = self._service(request.service)
        spec, warnings = await asyncio.to_thread(self._spec, service, request)
        # From here to the start nothing waits: the service is still there, the number still free.
        if self._service(service.name) is not service:
            raise ServiceNotFound
        about = {
            "mltype": service.backend.mltype,
            "sname": service.name,
            "description": service.definition.description,
            "model": {"repository": spec.repository},
        }
        record = record.evolve(
            service=service.name,
            number=record.number or self._jobs.next_number(service.name),
            status=JobStatus.RUNNING,
            about=about,
            warnings=tuple(dict.fromkeys([*record.warnings, *warnings])),
        )
        self._jobs.start(record, replace(spec, number=record.number))
        await asyncio.to_thread(service.repository.keep_request, REQUEST, record.request)
        return record

    def stop(self, service: str, number: int, *, force: bool) -> None:
        """Ask a job to end."""
        self._jobs.stop(service_name(service), number, force=force)

    def lines(self, service: str) -> list[Json]:
        """The `jobs` list of a service."""
        return [job_line(record) for record in self._jobs.of(service)]

    def changes(self) -> AsyncIterator[JobChange]:
        """Every change of every job."""
        return self._jobs.changes()

    async def forget(self, service: str) -> None:
        """End and erase a service's jobs."""
        await self._jobs.forget(service)

    def check_predict(self, service: Service) -> None:
        """Raise TrainPredictConflict if its first weights are being trained."""
        if not service.backend.trained and self._jobs.training(service.name):
            raise TrainPredictConflict

    def _spec(self, service: Service, request: TrainRequest) -> tuple[TrainingSpec, list[str]]:
        """What the training is made of. Raises DDError for what can be refused at once."""
        if not request.data:
            raise NoData
        if not service.repository.path.is_dir():
            raise ParameterError(f"model.repository {service.repository.path} is there no more")
        own, call = service.definition.parameters, request.parameters
        parameters = Parameters(
            input=merged(own.input, call.input),
            mllib=merged(own.mllib, call.mllib),
            output=merged(own.output, call.output),
        )
        warnings = self._check(service, parameters)
        model = ModelObject.parse(service.definition.model, "model", ParameterError)
        root = str(parameters.input.get("root_folder") or "")
        spec = TrainingSpec(
            service=service.name,
            number=0,
            library=service.definition.mllib,
            repository=str(service.repository.path),
            data=[self._path(element, root) for element in request.data],
            parameters=parameters,
            service_type=service.definition.type,
            weights=model.weights,
            limits=self._limits,
        )
        return spec, warnings

    def _check(self, service: Service, parameters: Parameters) -> list[str]:
        mllib = library(service.definition.mllib).training_parameters(parameters.mllib)
        connector = service.connector(parameters.input).parameters
        output = OutputParameters.parse(parameters.output, "parameters.output", ParameterError)
        parts: Mapping[str, Any] = {
            "parameters.input": connector,
            "parameters.mllib": mllib,
            "parameters.output": output,
        }
        return [line for where, part in parts.items() for line in part.unknown(where)]

    def _path(self, element: str, root: str) -> str:
        try:
            return str(self._limits.roots.resolve(Path(root, element)))
        except OutsideRoots as error:
            raise InputError(str(error)) from error

    async def _ended(self, record: JobRecord) -> JobRecord:
        if record.status is not JobStatus.ERROR:
            await self._retrained(record.service)
        return record


def _asked(request: TrainRequest) -> JobRecord:
    number = 0 if request.asynchronous else hidden_number()
    return JobRecord(request.service, number, request=request.model_dump(by_alias=True))
