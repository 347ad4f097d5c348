"""Every Prometheus instrument of the process, declared once."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

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
