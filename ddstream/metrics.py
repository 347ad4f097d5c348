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
