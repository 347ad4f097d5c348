"""The engine of one process: services, predict calls and trainings, behind the eight verbs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from ddstream.api.envelope import Answer, Json, warned
from ddstream.api.job import JobChange, JobRecord
from ddstream.api.predict import Call, PredictRequest
from ddstream.api.protocol import Capacity
from ddstream.api.service import ServiceDefinition, clear_mode, described, service_name
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.backends import Backend
from ddstream.background import Background
from ddstream.connectors.protocol import Limits
from ddstream.connectors.remote.fetch import Fetcher
from ddstream.engine.loading import load_service
from ddstream.engine.predictor import Predictor
from ddstream.engine.service import Service
from ddstream.engine.trainings import Trainings
from ddstream.engine.watchdog import Watchdog
from ddstream.errors import DDError, ServiceExists, ServiceNotFound, TooManyRequests
from ddstream.outputs.deliver import SinkDown
from ddstream.outputs.sinks import Sinks
from ddstream.roots import Roots
from ddstream.settings import Settings
from ddstream.telemetry.origin import origin
from ddstream.version import __version__


def info_head(services: list[Json]) -> Json:
    """The head of `/info`."""
    return {
        "method": "/info",
        "version": __version__,
        "branch": "main",
        "commit": "",
        "build-type": "python",
        "compile_flags": "",
        "deps_version": "",
        "services": services,
    }


class Engine:
    """Implements Host. `async with Engine(settings) as engine:` starts and drains it."""

    def __init__(
        self, settings: Settings, *, roots: Roots | None = None, sinks: Sinks | None = None
    ) -> None:
        self._settings = settings
        self._limits = Limits(roots or Roots(settings.roots), settings.max_pixels)
        self._sinks = sinks
        self._services: dict[str, Service] = {}
        self._loading: set[str] = set()
        self._background = Background()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            settings = self._settings
            sinks = self._sinks
            if sinks is None:
                sinks = await stack.enter_async_context(Sinks.standard(settings.sink_allow))
            fetcher = Fetcher(
                self._limits.roots,
                timeout=settings.fetch_timeout,
                max_bytes=settings.max_request_bytes,
                allow=settings.fetch_allow,
                stores=settings.claim_schemes,
            )
            await stack.enter_async_context(fetcher)
            self._predictor = await stack.enter_async_context(Predictor(settings, fetcher, sinks))
            self._watchdog = await stack.enter_async_context(Watchdog())
            # A pass that hangs is seen until all lanes have ended.
            stack.push_async_callback(self._stop_services)
            stack.push_async_callback(self._predictor.drained)
            trainings = Trainings(self._service, self._limits, self._retrained)
            self._trainings = await stack.enter_async_context(trainings)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    # -- the verbs of Api -----------------------------------------------------------------

    async def info(self, *, status: bool = False) -> Answer:
        """See Api."""
        services = [self._described(s, jobs=status, labels=False) for s in self._services.values()]
        return Answer(200, info_head(services))

    async def create_service(self, name: str, definition: ServiceDefinition) -> Answer:
        """See Api."""
        name = service_name(name)
        if name in self._services or name in self._loading:
            raise ServiceExists
        await self.load(name, definition, create=True)
        warnings = [*definition.unknown(""), *self._services[name].warnings()]
        return Answer(201, warned({}, [line.removeprefix(".") for line in warnings]))

    async def get_service(self, name: str, *, status: bool = True, labels: bool = False) -> Answer:
        """See Api."""
        return Answer(200, {}, self._described(self._service(name), jobs=status, labels=labels))

    async def delete_service(self, name: str, clear: str = "mem") -> Answer:
        """See Api."""
        await self.unload(name, clear_mode(clear))
        return Answer()

    async def predict(self, request: PredictRequest) -> Answer:
        """See Api."""
        if self.capacity().full:
            raise TooManyRequests
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(result: Answer | DDError) -> None:
            if not answered.done():
                if isinstance(result, SinkDown):
                    # Nobody tries again here: the caller gets what the sink said.
                    answered.set_result(result.answer)
                elif isinstance(result, DDError):
                    answered.set_exception(result)
                else:
                    answered.set_result(result)

        call = Call(request.service, request.data, done, request.parameters)
        call.headers = origin().headers()
        self.submit([call])
        try:
            return await answered
        except asyncio.CancelledError:
            # Nobody waits any more: what is not yet read or forwarded costs nothing.
            call.deadline = 0.0
            raise

    async def train(self, request: TrainRequest) -> Answer:
        """See Api."""
        return await self._trainings.train(request)

    async def get_job(self, query: JobQuery) -> Answer:
        """See Api."""
        return await self._trainings.get_job(query)

    async def delete_job(self, stop: JobStop) -> Answer:
        """See Api."""
        return await self._trainings.delete_job(stop)

    async def health(self) -> Sequence[str]:
        """See Api: the services that lost their lane."""
        return self._watchdog.lost()

    # -- what Host adds -------------------------------------------------------------------

    async def load(self, name: str, definition: ServiceDefinition, *, create: bool) -> Json:
        """See Host."""
        self._loading.add(name)
        try:
            service = await asyncio.to_thread(
                load_service, name, definition, self._limits, create=create
            )
        finally:
            self._loading.discard(name)
        service.start(self._predictor.interpret, self._settings.max_batch)
        self._watchdog.watch(service)
        self._services[name] = service
        return service.describe()

    async def unload(self, name: str, clear: str = "mem") -> None:
        """See Host."""
        service = self._service(name)
        del self._services[service.name]
        await self._trainings.forget(service.name)
        await self._predictor.drain(service)
        await asyncio.to_thread(service.stop)
        self._watchdog.forget(service)
        await asyncio.to_thread(service.repository.clear, clear)

    async def reload(self, name: str) -> Json:
        """See Host."""
        service = self._service(name)
        definition = service.definition
        fresh = await asyncio.to_thread(
            load_service, service.name, definition, self._limits, create=False
        )
        self._background.spawn(self._retire(service, service.replace(fresh.backend)))
        return service.describe()

    def submit(self, calls: Sequence[Call]) -> None:
        """See Host."""
        for call in calls:
            try:
                service = self._service(call.service)
                self._trainings.check_predict(service)
                self._predictor.accept(service, call)
            except DDError as error:
                call.done(error)
        self._predictor.flush()

    def capacity(self) -> Capacity:
        """See Host."""
        return self._predictor.capacity()

    def fatal(self) -> str:
        """See Host."""
        return "; ".join(self._watchdog.lost())

    def describe(self, name: str) -> Json:
        """See Host."""
        return self._service(name).describe()

    def stats(self, name: str) -> Json:
        """See Host."""
        return self._service(name).stats.to_json()

    async def start_job(self, record: JobRecord) -> JobRecord:
        """See Host."""
        return await self._trainings.start(record)

    def stop_job(self, service: str, number: int, *, force: bool = False) -> None:
        """See Host."""
        self._trainings.stop(service, number, force=force)

    def jobs(self) -> AsyncIterator[JobChange]:
        """See Host."""
        return self._trainings.changes()

    # -- inside ---------------------------------------------------------------------------

    def _service(self, name: str) -> Service:
        service = self._services.get(name) or self._services.get(service_name(name))
        if service is None:
            raise ServiceNotFound
        return service

    def _described(self, service: Service, *, jobs: bool, labels: bool) -> Json:
        lines = self._trainings.lines(service.name)
        description = service.describe()
        body = described(description, lines, service.stats.to_json(), labels=labels)
        if not jobs:
            body.pop("jobs")
        return body

    async def _retire(self, service: Service, backend: Backend) -> None:
        """Free a backend when the calls that were planned with it are answered."""
        await self._predictor.released(backend)
        await asyncio.to_thread(service.lane.release, backend)

    async def _stop_services(self) -> None:
        await self._background.finish()
        for service in self._services.values():
            await asyncio.to_thread(service.stop)
        self._services.clear()

    async def _retrained(self, name: str) -> None:
        if name in self._services:
            await self.reload(name)
