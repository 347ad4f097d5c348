"""A training that runs, as an object of the synchronous face."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from ddstream.api.envelope import Answer, Json
from ddstream.api.job import JobStatus
from ddstream.api.protocol import Api
from ddstream.api.service import Parameters
from ddstream.api.train import JobQuery, JobStop

T = TypeVar("T")


class Ask(Protocol):
    """Runs a verb of an Api and waits for its answer."""

    def __call__(self, verb: Callable[[Api], Coroutine[Any, Any, T]]) -> T: ...


class TrainingJob:
    """An asynchronous training; it keeps the final report, which the server gives only once."""

    def __init__(self, ask: Ask, service: str, job: int) -> None:
        self._ask = ask
        self._service = service
        self._report: Json | None = None
        self.job = job
        """Number of the job."""

    def status(self, output_parameters: Mapping[str, Any] | None = None) -> Json:
        """`status`, `job`, `time` and the members of the report so far."""
        if self._report is not None:
            return self._report
        parameters = Parameters(output=dict(output_parameters or {}))
        query = JobQuery(service=self._service, job=self.job, parameters=parameters)
        return self._told(self._ask(lambda api: api.get_job(query)))

    def wait(self, timeout: float | None = None, poll_interval: float = 0.5) -> Json:
        """The report when the training has ended, however it did; times in seconds.

        Raises TimeoutError if it has not after `timeout`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            report = self.status()
            if self._report is not None:
                return report
            left = poll_interval if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {self.job} has not ended after {timeout} s")
            time.sleep(min(poll_interval, left))

    def cancel(self, wait: bool = True, force: bool = False) -> None:
        """Stop the training: see DELETE /train."""
        if self._report is None:
            stop = JobStop(service=self._service, job=self.job, wait=wait, force=force)
            self._told(self._ask(lambda api: api.delete_job(stop)))

    def _told(self, answer: Answer) -> Json:
        head = {name: value for name, value in answer.head.items() if name != "method"}
        report: Json = {**head, **answer.body}
        if JobStatus(report["status"]).ended:
            self._report = report
        return report
