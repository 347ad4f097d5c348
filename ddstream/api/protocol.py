"""Api: the eight verbs, one protocol for the engine, Kafka, HTTP and Python. Host: what a worker
needs beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ddstream.api.envelope import Answer, Json
from ddstream.api.job import JobChange, JobRecord
from ddstream.api.predict import Call, PredictRequest
from ddstream.api.service import ServiceDefinition
from ddstream.api.train import JobQuery, JobStop, TrainRequest


class Api(Protocol):
    """Whoever can be asked. Every verb returns an Answer or raises a DDError; nothing else."""

    async def info(self, *, status: bool = False) -> Answer:
        """`GET /info`: version and services, with their jobs where `status`."""

    async def create_service(self, name: str, definition: ServiceDefinition) -> Answer:
        """`PUT /services/name`: 201, or an error and nothing has changed."""

    async def get_service(self, name: str, *, status: bool = True, labels: bool = False) -> Answer:
        """`GET /services/name`."""

    async def delete_service(self, name: str, clear: str = "mem") -> Answer:
        """`DELETE /services/name`; `clear` says what becomes of the files."""

    async def predict(self, request: PredictRequest) -> Answer:
        """`POST /predict`."""

    async def train(self, request: TrainRequest) -> Answer:
        """`POST /train`: 201 with the job's number, or with the report of a blocking training."""

    async def get_job(self, query: JobQuery) -> Answer:
        """`GET /train`: the live job; the final report once."""

    async def delete_job(self, stop: JobStop) -> Answer:
        """`DELETE /train`: stop the job."""

    async def health(self) -> Sequence[str]:
        """Reasons why requests cannot be served now; empty when all is well."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Calls in flight and the bytes they hold, against their limits."""

    calls: int
    nbytes: int
    max_calls: int
    max_bytes: int

    @property
    def full(self) -> bool:
        """Nothing more should be submitted."""
        return self.calls >= self.max_calls or self.nbytes >= self.max_bytes

    @property
    def roomy(self) -> bool:
        """Low enough to resume what was paused for load."""
        return self.calls <= self.max_calls // 2 and self.nbytes <= self.max_bytes // 2


class Host(Api, Protocol):
    """An Api that a worker can steer: services by fact, predict calls in bulk, jobs by number."""

    async def load(self, name: str, definition: ServiceDefinition, *, create: bool) -> Json:
        """Load a service and describe it; `create` also writes its repository's config.

        With `create=False` a repository that another worker made is only read.
        """

    async def unload(self, name: str, clear: str = "mem") -> None:
        """Forget a service, stop its jobs, free its memory; `clear` as in DELETE."""

    async def reload(self, name: str) -> Json:
        """Take the newest weights of the repository, and describe the service."""

    def submit(self, calls: Sequence[Call]) -> None:
        """Start predict calls; each is answered through its `done`. Never raises, never blocks."""

    def capacity(self) -> Capacity:
        """How full the engine is."""

    def fatal(self) -> str:
        """Why this process can no longer be trusted (a pass hangs, a device is lost) and should
        end without answering what it has; empty while all is well."""

    def describe(self, name: str) -> Json:
        """What this process knows of a loaded service, for whoever answers for it."""

    def stats(self, name: str) -> Json:
        """The `service_stats` of a service, so far."""

    async def start_job(self, record: JobRecord) -> JobRecord:
        """Start the training that a record numbers and requests, and return the record of it.

        An `epoch` above 0 is another attempt: it goes on from the checkpoint that the last one
        left, if that lies in the repository. Raises DDError for what can be refused before."""

    def stop_job(self, service: str, number: int, *, force: bool = False) -> None:
        """Ask a training to end; its record tells when it has."""

    def jobs(self) -> AsyncIterator[JobChange]:
        """Every change of every job started here, newest state last."""
