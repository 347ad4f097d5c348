"""Every Prometheus instrument of the process, declared once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram, Info

_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

HTTP_REQUESTS = Counter(
    "ddstream_http_requests", "Requests answered by the HTTP edge.", ("route", "method", "code")
)
HTTP_SECONDS = Histogram(
    "ddstream_http_seconds",
    "Seconds from a request's headers to its answer.",
    ("route", "method"),
    buckets=_LATENCIES,
)
HTTP_REFUSED = Counter(
    "ddstream_http_refused",
    "Requests refused before any work: unauthorized, too_large, too_slow or too_many.",
    ("reason",),
)
INFO = Info("ddstream", "The version that runs.")
READY = Gauge("ddstream_ready", "1 if /readyz says 200, else 0.")

LAG_RECORDS = Gauge(
    "ddstream_lag_records",
    "Records of an assigned partition that are not answered yet.",
    ("topic", "partition"),
)
LAG_SECONDS = Gauge(
    "ddstream_lag_seconds",
    "Age of the oldest record of an assigned partition that is not answered yet.",
    ("topic", "partition"),
)
IN_FLIGHT_CALLS = Gauge("ddstream_in_flight_calls", "Unanswered calls in the engine.")
IN_FLIGHT_BYTES = Gauge("ddstream_in_flight_bytes", "Bytes of unanswered calls in the engine.")
IN_FLIGHT_LIMIT_CALLS = Gauge("ddstream_in_flight_limit_calls", "Most calls that it takes.")
IN_FLIGHT_LIMIT_BYTES = Gauge("ddstream_in_flight_limit_bytes", "Most bytes that it takes.")
WAITING_REQUESTS = Gauge(
    "ddstream_waiting_requests", "Requests of a bridge that wait for their answer."
)

JOBS = Gauge(
    "ddstream_jobs", "Trainings of this process that have not ended, by state.", ("state",)
)
JOBS_ENDED = Counter(
    "ddstream_jobs_ended",
    "Trainings that ended here: finished, terminated or error.",
    ("service", "state"),
)
TRAINING_ITERATIONS = Gauge(
    "ddstream_training_iterations",
    "Iterations that a running training has done.",
    ("service", "job"),
)
TRAINING_LOSS = Gauge(
    "ddstream_training_loss", "Last loss of a running training.", ("service", "job")
)
TRAINING_RATE = Gauge(
    "ddstream_training_iterations_per_second", "Rate of a running training.", ("service", "job")
)

RECORDS_TAKEN = Counter("ddstream_records_taken", "Predict records taken.", ("service",))
RECORDS_ANSWERED = Counter("ddstream_records_answered", "Predict records answered.", ("service",))
RECORDS_REJECTED = Counter(
    "ddstream_records_rejected", "Predict records kept in the rejects topic.", ("service", "code")
)
PAUSES = Counter("ddstream_pauses", "Partitions paused because they were full.", ("service",))
OFFSETS_OUT_OF_RANGE = Counter(
    "ddstream_offsets_out_of_range",
    "Assignments whose committed offset was deleted already: records are lost.",
    ("service",),
)
STAGE_SECONDS = Histogram(
    "ddstream_stage_seconds",
    "Seconds that a batch spends in a stage: fetch, decode, queue, forward, interpret, encode, "
    "publish.",
    ("service", "stage"),
    buckets=_LATENCIES,
)
BATCH_SIZE = Histogram(
    "ddstream_batch_samples",
    "Samples of a forward pass.",
    ("service",),
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
BATCH_LIMIT = Gauge(
    "ddstream_batch_limit_samples",
    "Most samples of one pass: what was asked for, or less where memory ran out.",
    ("service",),
)
RECORDS_FAILED = Counter(
    "ddstream_records_failed", "Predict records answered with an error.", ("service", "code")
)
RECORDS_RETRIED = Counter(
    "ddstream_records_retried",
    "Predict records tried again after a transient failure.",
    ("service",),
)
RECORDS_LATE = Counter(
    "ddstream_records_late",
    "Predict records dropped before their work: their deadline or the service's max_age passed.",
    ("service", "reason"),
)
RECORDS_QUARANTINED = Counter(
    "ddstream_records_quarantined",
    "Predict records run alone, since workers that took them died.",
    ("service",),
)
PAUSED_SECONDS = Counter(
    "ddstream_paused_seconds", "Seconds that partitions were paused.", ("service",)
)
TRANSACTIONS = Counter(
    "ddstream_transactions",
    "Transactions of answers by outcome: committed, aborted, fenced.",
    ("service", "outcome"),
)


class Fullness(Protocol):
    """How full an engine is."""

    @property
    def calls(self) -> int:
        """Unanswered calls."""

    @property
    def nbytes(self) -> int:
        """Their bytes."""

    @property
    def max_calls(self) -> int:
        """Most calls that it takes."""

    @property
    def max_bytes(self) -> int:
        """Most bytes that it takes."""


@contextmanager
def watching(capacity: Callable[[], Fullness]) -> Iterator[None]:
    """Read the gauges of an engine when they are scraped, until the end of `with`."""
    IN_FLIGHT_CALLS.set_function(lambda: capacity().calls)
    IN_FLIGHT_BYTES.set_function(lambda: capacity().nbytes)
    IN_FLIGHT_LIMIT_CALLS.set_function(lambda: capacity().max_calls)
    IN_FLIGHT_LIMIT_BYTES.set_function(lambda: capacity().max_bytes)
    try:
        yield
    finally:
        for gauge in (
            IN_FLIGHT_CALLS,
            IN_FLIGHT_BYTES,
            IN_FLIGHT_LIMIT_CALLS,
            IN_FLIGHT_LIMIT_BYTES,
        ):
            gauge.set_function(lambda: 0)
