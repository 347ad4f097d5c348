"""What the engine measures of one service, bound once, so that a pass pays for no look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from prometheus_client import Gauge, Histogram

from ddstream import metrics

STAGES = ("fetch", "decode", "queue", "forward", "interpret")


class Meters:
    """The series of one service. A stage is observed once a batch, in seconds.

    `fetch`: a call whose data had to be fetched. `decode`: the calls that one reading job took.
    `queue`: the longest wait of a batch's samples for their pass. `forward`: a pass.
    `interpret`: the predictions of a batch.
    """

    __slots__ = ("batch", "decode", "fetch", "forward", "interpret", "limit", "queue", "service")

    def __init__(self, service: str) -> None:
        self.service = service
        stages: Mapping[str, Histogram] = {
            stage: metrics.STAGE_SECONDS.labels(service, stage) for stage in STAGES
        }
        self.fetch, self.decode, self.queue = (stages[s] for s in ("fetch", "decode", "queue"))
        self.forward, self.interpret = stages["forward"], stages["interpret"]
        self.batch: Histogram = metrics.BATCH_SIZE.labels(service)
        self.limit: Gauge = metrics.BATCH_LIMIT.labels(service)

    def forget(self) -> None:
        """Remove the series, of a service that is gone."""
        for stage in STAGES:
            with suppress(KeyError):
                metrics.STAGE_SECONDS.remove(self.service, stage)
        for instrument in (metrics.BATCH_SIZE, metrics.BATCH_LIMIT):
            with suppress(KeyError):
                instrument.remove(self.service)
