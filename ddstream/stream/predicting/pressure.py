"""Back-pressure: partitions pause when they or the host are full, and resume with room."""

from __future__ import annotations

import time
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError

from ddstream import metrics
from ddstream.api.protocol import Host
from ddstream.stream.predicting.partition import Partition


class BackPressure:
    """Pauses one service's partitions; `cap` is the most unanswered records of each.

    A pause throws prefetched records away, so that resuming waits until half is free.
    """

    def __init__(self, service: str, topic: str, cap: int, host: Host) -> None:
        self._topic = topic
        self._cap = cap
        self._host = host
        self._pauses = metrics.PAUSES.labels(service)
        self._seconds = metrics.PAUSED_SECONDS.labels(service)

    def apply(self, consumer: AIOKafkaConsumer, partitions: Iterable[Partition]) -> None:
        """Pause what is full and resume what has room again."""
        capacity = self._host.capacity()
        for partition in partitions:
            tp = TopicPartition(self._topic, partition.number)
            since = partition.paused_since
            try:
                if since is None and (capacity.full or len(partition) >= self._cap):
                    consumer.pause(tp)
                    partition.paused_since = time.monotonic()
                    self._pauses.inc()
                elif since is not None and capacity.roomy and len(partition) <= self._cap // 2:
                    consumer.resume(tp)
                    partition.paused_since = None
                    self._seconds.inc(time.monotonic() - since)
            except IllegalStateError:
                continue  # revoked meanwhile
