"""The gauges of trainings and of what is in flight: true while it lasts, gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from prometheus_client import REGISTRY

from ddstream import metrics
from ddstream.api.job import JobChange, JobRecord, JobStatus
from ddstream.api.protocol import Capacity
from ddstream.engine.gauges import TrainingGauges


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def record(status: JobStatus = JobStatus.RUNNING, **measure: Any) -> JobRecord:
    return JobRecord("gauged", 7, status, measure=measure)


JOB = {"service": "gauged", "job": "7"}
LOSS, ITERATIONS = "ddstream_training_loss", "ddstream_training_iterations"
RATE = "ddstream_training_iterations_per_second"


async def test_a_training_is_told_while_it_runs_and_counted_when_it_ends() -> None:
    gauges = TrainingGauges()
    gauges.note(record(state="loading data"))
    assert value("ddstream_jobs", state="running") == 1
    assert value(LOSS, **JOB) is None
    gauges.note(record(iteration=9.0, train_loss=0.5))
    assert value(ITERATIONS, **JOB) == 10
    assert value(LOSS, **JOB) == 0.5
    assert value(RATE, **JOB) is None
    await asyncio.sleep(0.05)
    gauges.note(record(iteration=19.0, train_loss=0.25))
    rate = value(RATE, **JOB)
    assert rate is not None
    assert 0 < rate <= 10 / 0.05
    gauges.note(record(JobStatus.CANCELLING, iteration=19.0))
    assert value("ddstream_jobs", state="running") == 0
    assert value("ddstream_jobs", state="cancelling") == 1
    gauges.note(record(JobStatus.TERMINATED))
    assert value("ddstream_jobs", state="cancelling") == 0
    assert value("ddstream_jobs_ended_total", service="gauged", state="terminated") == 1
    assert [value(name, **JOB) for name in (LOSS, ITERATIONS, RATE)] == [None, None, None]


async def test_the_series_go_when_nobody_follows_any_more() -> None:
    async def changes() -> AsyncIterator[JobChange]:
        yield JobChange(record(iteration=0.0, train_loss=2.0))
        assert value(LOSS, **JOB) == 2.0

    await TrainingGauges().follow(changes())
    assert value(LOSS, **JOB) is None
    assert value("ddstream_jobs", state="running") == 0


def test_what_is_in_flight_is_read_when_it_is_scraped() -> None:
    now = Capacity(3, 500, 16, 1000)
    with metrics.watching(lambda: now):
        assert value("ddstream_in_flight_calls") == 3
        now = Capacity(4, 700, 16, 1000)
        assert value("ddstream_in_flight_calls") == 4
        assert value("ddstream_in_flight_bytes") == 700
        assert value("ddstream_in_flight_limit_bytes") == 1000
        assert value("ddstream_in_flight_limit_calls") == 16
    assert value("ddstream_in_flight_calls") == 0
