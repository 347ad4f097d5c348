"""KafkaApi: the eight verbs over topics, for bridges and for Python. It loads no model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ddstream.api.envelope import Answer, Json
from ddstream.api.job import (
    History,
    JobRecord,
    JobStatus,
    blocking_answer,
    job_answer,
    job_line,
    stopped_answer,
)
from ddstream.api.predict import PredictRequest
from ddstream.api.service import ServiceDefinition, clear_mode, described, service_name
from ddstream.api.stream import ControlCommand, JobRow, ServiceRecord, TrainCommand
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.connectors.encode import request_body
from ddstream.connectors.remote.claims import claim_store
from ddstream.errors import (
    JobNotFound,
    NoData,
    ServiceExists,
    ServiceNotFound,
    TooLarge,
    Unavailable,
)
from ddstream.stream import messages
from ddstream.stream.bridge import Bridge
from ddstream.stream.connection import Connection
from ddstream.stream.gate import Gate
from ddstream.stream.predicting.claiming import claimed
from ddstream.stream.stats import summed
from ddstream.stream.trainings.jobrows import history_of, job_key
from ddstream.version import __version__

log = logging.getLogger(__name__)


class KafkaApi:
    """Implements Api for workers behind topics: `async with KafkaApi(connection) as api`."""

    def __init__(self, connection: Connection) -> None:
        self._bridge = Bridge(connection)
        self._gate = Gate(connection.settings)
        self._claims = claim_store(connection.settings)

    async def __aenter__(self) -> Self:
        await self._bridge.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._bridge.__aexit__(kind, error, trace)
        if self._claims is not None:
            await self._claims.close()

    @property
    def id(self) -> str:
        """The id of its bridge."""
        return self._bridge.id

    async def ready(self) -> None:
        """Return when requests can be served."""
        await self._bridge.ready()

    async def health(self) -> Sequence[str]:
        """See Api."""
        return await self._bridge.health()

    def notes(self) -> Sequence[str]:
        """What an operator may want to know, and no reason not to be ready."""
        return self._bridge.notes()

    # -- services -------------------------------------------------------------------------

    async def info(self, *, status: bool = False) -> Answer:
        """See Api."""
        await self._bridge.ready()
        rows = [ServiceRecord.model_validate(row) for row in self._bridge.services.rows.values()]
        services = [self._described(row, jobs=status, labels=False) for row in rows]
        head = {"method": "/info", "version": __version__, "branch": "main", "commit": ""}
        extra = {"build-type": "python", "compile_flags": "", "deps_version": ""}
        return Answer(200, {**head, **extra, "services": services})

    async def create_service(self, name: str, definition: ServiceDefinition) -> Answer:
        """See Api."""
        await self._bridge.ready()
        name = service_name(name)
        if name in self._bridge.services.rows:
            raise ServiceExists
        self._bridge.topics.of_service(name)
        command = ControlCommand(verb="create", service=name, definition=definition)
        answer = await self._bridge.command(self._bridge.topics.control, name, command)
        version = int(answer.head.get("version", 1))
        await self._bridge.see(
            self._bridge.services, lambda rows: _version(rows.get(name)) >= version
        )
        warnings = answer.head.get("warnings")
        return Answer(201, {"warnings": warnings} if warnings else {})

    async def get_service(self, name: str, *, status: bool = True, labels: bool = False) -> Answer:
        """See Api."""
        await self._bridge.ready()
        return Answer(200, {}, self._described(self._record(name), jobs=status, labels=labels))

    async def delete_service(self, name: str, clear: str = "mem") -> Answer:
        """See Api."""
        await self._bridge.ready()
        name = service_name(name)
        if name not in self._bridge.services.rows:
            raise ServiceNotFound
        command = ControlCommand(verb="delete", service=name, clear=clear_mode(clear))
        await self._bridge.command(self._bridge.topics.control, name, command)
        await self._bridge.see(self._bridge.services, lambda rows: name not in rows)
        return Answer()

    # -- predict --------------------------------------------------------------------------

    async def predict(self, request: PredictRequest) -> Answer:
        """See Api."""
        # Those that wait for the broker count too: their bodies are held as well.
        with self._gate.admitted(request):
            return await self._predict(request)

    async def _predict(self, request: PredictRequest) -> Answer:
        await self._bridge.ready()
        record = self._record(request.service)
        if not request.data:
            raise NoData
        if reason := self._bridge.unserved(record.name):
            raise Unavailable(f"service {record.name}: {reason}")
        if all(isinstance(element, str) for element in request.data):
            value = request_body(request)
        else:
            value = await asyncio.to_thread(request_body, request)
        if len(value) > (limit := self._bridge.settings.max_request_bytes):
            raise TooLarge(f"the request has {len(value)} bytes, the limit is {limit}")
        version = ((messages.VERSION, b"%d" % record.version),)
        topic = self._bridge.topics.predict(record.name)
        return await claimed(await self._bridge.ask(topic, None, value, version), self._claims)

    # -- trainings ------------------------------------------------------------------------

    async def train(self, request: TrainRequest) -> Answer:
        """See Api."""
        await self._bridge.ready()
        name = self._record(request.service).name
        request = request.model_copy(update={"service": name})
        command = TrainCommand(verb="train", service=name, request=request)
        answer = await self._bridge.command(self._bridge.topics.train, name, command)
        number = int(answer.head["job"])
        key = job_key(name, number)
        await self._bridge.see(self._bridge.jobs, lambda rows: key in rows)
        if request.asynchronous:
            return Answer(201, answer.head)
        await self._bridge.jobs.until(lambda rows: _ended(rows.get(key)))
        record, history = self._job(name, number)
        await self._take(name, number)
        output: Json = {**self._record(name).definition.parameters.output}
        output |= request.parameters.output
        most = int(output.get("max_hist_points", 10**9)) if output.get("measure_hist") else None
        return blocking_answer(record, history, most)

    async def get_job(self, query: JobQuery) -> Answer:
        """See Api."""
        await self._bridge.ready()
        name = self._record(query.service).name
        number = self._number(name, query.job)
        key = job_key(name, number)
        if query.timeout:
            try:
                async with asyncio.timeout(query.timeout):
                    await self._bridge.jobs.until(lambda rows: _ended(rows.get(key)))
            except TimeoutError:
                log.debug("job %s runs on", key)
        record, history = self._job(name, number)
        if record.status.ended:
            await self._take(name, number)
            # Who sees the end predicts with the new weights: this bridge must know of them.
            await self._bridge.see(
                self._bridge.services,
                lambda rows: name not in rows or _version(rows[name]) >= record.version,
            )
        most, predictions = query.history_points(), query.wants_predictions
        return job_answer(record, history, most, predictions=predictions)

    async def delete_job(self, stop: JobStop) -> Answer:
        """See Api."""
        await self._bridge.ready()
        name = self._record(stop.service).name
        number = self._number(name, stop.job)
        key = job_key(name, number)
        command = TrainCommand(verb="stop", service=name, job=number, force=stop.force)
        answer = await self._bridge.command(self._bridge.topics.train, name, command)
        status = JobStatus(answer.head["status"])
        if not status.ended and not stop.wait:
            return Answer(200, answer.head)
        await self._bridge.see(self._bridge.jobs, lambda rows: _ended(rows.get(key)))
        record, _ = self._job(name, number)
        await self._take(name, number)
        return stopped_answer(record)

    # -- inside ---------------------------------------------------------------------------

    async def _take(self, service: str, number: int) -> None:
        """Have the owner erase the job: its report goes to one caller. Raises JobNotFound."""
        command = TrainCommand(verb="take", service=service, job=number)
        await self._bridge.command(self._bridge.topics.train, service, command)
        key = job_key(service, number)
        await self._bridge.see(self._bridge.jobs, lambda rows: key not in rows)

    def _record(self, name: str) -> ServiceRecord:
        row = self._bridge.services.rows.get(name) or self._bridge.services.rows.get(
            service_name(name)
        )
        if row is None:
            raise ServiceNotFound
        return ServiceRecord.model_validate(row)

    def _number(self, service: str, number: int | None) -> int:
        if number is None:
            raise JobNotFound
        if job_key(service, number) not in self._bridge.jobs.rows:
            raise JobNotFound(head={"method": "/train", "job": number})
        return number

    def _job(self, service: str, number: int) -> tuple[JobRecord, History]:
        key = job_key(service, self._number(service, number))
        row = JobRow.model_validate(self._bridge.jobs.rows[key])
        return JobRecord.from_json(row.record), history_of(self._bridge.jobs.rows, service, row)

    def _described(self, record: ServiceRecord, *, jobs: bool, labels: bool) -> Json:
        prefix = f"{record.name}/"
        rows = [row for key, row in self._bridge.jobs.rows.items() if key.startswith(prefix)]
        records = [JobRecord.from_json(row["record"]) for row in rows if row.get("record")]
        lines = [job_line(job) for job in sorted(records, key=lambda job: job.number)]
        stats = summed(w.services[record.name].stats for w in self._bridge.live(record.name))
        body = described(record.description, lines, stats, labels=labels)
        if not jobs:
            body.pop("jobs")
        return body


def _version(row: Json | None) -> int:
    return int(row["version"]) if row else 0


def _ended(row: Json | None) -> bool:
    # A job that is gone was read by somebody else: it has ended too.
    return row is None or JobStatus(row["record"]["status"]).ended
