"""The predict calls of an engine: from acceptance over fetching and the pipeline to the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from ddstream.api.envelope import Answer, Json
from ddstream.api.predict import Call
from ddstream.api.protocol import Capacity
from ddstream.backends import Backend
from ddstream.background import Background
from ddstream.connectors.remote.fetch import Fetcher
from ddstream.data import Datum
from ddstream.engine.flight import Flight, sent
from ddstream.engine.pipeline import Errand, Pipeline
from ddstream.engine.service import Service
from ddstream.engine.work import Work, too_late
from ddstream.errors import DDError, InputError, NoData, fault
from ddstream.outputs.deliver import check_delivery, deliver, wants_delivery
from ddstream.outputs.sinks import Sinks
from ddstream.settings import Settings
from ddstream.telemetry.spans import spans

NOTHING = {"image": "no image could be found"}
"""What a call is told that had nothing to predict from, by its connector."""
FETCHES = 64
"""Most elements that are fetched from other hosts at a time."""


class Predictor:
    """Accepts calls, counts what is in flight, answers each call exactly once; on the loop."""

    def __init__(self, settings: Settings, fetcher: Fetcher, sinks: Sinks) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._sinks = sinks
        self._flight = Flight(settings.max_in_flight, settings.max_in_flight_bytes)
        self._fetches = asyncio.Semaphore(FETCHES)
        self._services: dict[Work, Service] = {}
        self._ready: list[Errand] = []
        self._background = Background()

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._pipeline = Pipeline(
            settings.decode_threads, settings.max_in_flight_bytes, self._answered
        )
        self.interpret = self._pipeline.interpret
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._pipeline.close)

    async def drained(self) -> None:
        """Return when no call is in flight."""
        while self._services:
            await self._flight.change()

    async def drain(self, service: Service) -> None:
        """Return when no call of the service is in flight."""
        while any(owner is service for owner in self._services.values()):
            await self._flight.change()

    async def released(self, backend: Backend) -> None:
        """Return when no call in flight was planned with this backend."""
        while any(work.plan.backend is backend for work in self._services):
            await self._flight.change()

    def capacity(self) -> Capacity:
        """Calls and bytes in flight."""
        return self._flight.capacity()

    def accept(self, service: Service, call: Call) -> None:
        """Take a call; `flush` starts what was taken. Raises DDError for a bad call."""
        if not call.data:
            raise NoData
        if service.lane.lost:
            raise service.lane.failure()
        errand = service.errand(call)
        work = errand.work
        if wants_delivery(work.plan.output):
            check_delivery(work.plan.output, self._sinks)
        if work.late:
            raise too_late()
        call.nbytes = call.nbytes or sent(call)
        self._flight.enter(work)
        self._services[work] = service
        if service.one_at_a_time or work.plan.in_order:
            if service.running is not None:
                service.queue.append(errand)
                return
            service.running = work
        self._begin(errand)

    def flush(self) -> None:
        """Start reading what was accepted."""
        if self._ready:
            self._pipeline.add(self._ready)
            self._ready = []

    def _begin(self, errand: Errand) -> None:
        work = errand.work
        if work.data:
            self._ready.append(errand)
            return
        inline: list[Datum] = []
        for index, element in enumerate(work.call.data):
            datum = self._fetcher.inline(element, index)
            if datum is None:
                self._background.spawn(self._fetch(errand))
                return
            inline.append(datum)
        work.data = inline
        self._ready.append(errand)

    async def _fetch(self, errand: Errand) -> None:
        work = errand.work
        began = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                fetching = [
                    group.create_task(self._datum(work, element, index))
                    for index, element in enumerate(work.call.data)
                ]
            work.data = [task.result() for task in fetching]
        except* Exception as errors:
            work.error = fault(errors.exceptions[0], "fetching data")
        finally:
            self._flight.fetched(work)
        work.meters.fetch.observe(time.perf_counter() - began)
        spans.record("fetch", work.call.headers, began, time.perf_counter())
        if work.error is not None:
            self._answered(work)
        else:
            self._ready.append(errand)
            self.flush()

    async def _datum(self, work: Work, element: Any, index: int) -> Datum:
        if not _remote(element):
            return await self._fetcher.fetch(element, index, timeout=work.plan.fetch_timeout)
        async with self._fetches:
            await self._flight.room(work)
            if work.late:
                raise too_late()
            datum = await self._fetcher.fetch(element, index, timeout=work.plan.fetch_timeout)
            if isinstance(datum.content, bytes):
                self._flight.grow(work, len(datum.content))
            return datum

    def _answered(self, work: Work) -> None:
        work.answered = True
        if work.error is None and not work.predictions:
            work.error = InputError(NOTHING.get(self._connector(work), "no data could be found"))
        if work.error is None and (work.tally or wants_delivery(work.plan.output)):
            self._background.spawn(self._finish(work))
        else:
            self._close(work, work.error or self._answer(work))

    async def _finish(self, work: Work) -> None:
        try:
            measure = await asyncio.to_thread(work.tally.result) if work.tally else None
            answer = self._answer(work, measure)
            if wants_delivery(work.plan.output):
                answer = await deliver(answer, work.plan.output, self._sinks)
        except Exception as error:
            work.error = fault(error, "finishing the answer")
            self._close(work, work.error)
        else:
            self._close(work, answer)

    def _answer(self, work: Work, measure: Mapping[str, Any] | None = None) -> Answer:
        head: Json = {
            "method": "/predict",
            "time": (time.perf_counter() - work.arrived) * 1e3,
            "service": self._services[work].name,
        }
        if work.plan.warnings:
            head["warnings"] = list(work.plan.warnings)
        if measure is not None:
            return Answer(200, head, {"predictions": [], "measure": dict(measure)})
        predictions = work.predictions
        if predictions and predictions[-1] and "vals" in predictions[-1]:
            predictions[-1] = {"last": True, **predictions[-1]}
        return Answer(200, head, {"predictions": predictions})

    def _connector(self, work: Work) -> str:
        return str(getattr(work.plan.connector.parameters, "connector", ""))

    def _close(self, work: Work, result: Answer | DDError) -> None:
        service = self._services.pop(work)
        self._flight.leave(work)
        service.stats.count(work, time.perf_counter() - work.arrived)
        if service.running is work:
            service.running = None
            if service.queue:
                following = service.queue.popleft()
                service.running = following.work
                self._begin(following)
                self.flush()
        work.call.done(result)


def _remote(element: Any) -> bool:
    """Whether a fetch of this element has to wait for another host."""
    return isinstance(element, str) and "://" in element[:16] and not element.startswith("file:")
