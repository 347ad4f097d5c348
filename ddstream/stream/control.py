"""The control plane: commands on `control` and `train`, taken through FastStream.

A handler returns at once and its work runs beside, so that polling never stops for a model that
loads or a week-long training; an offset is committed when all work before it is done.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from aiokafka import TopicPartition
from faststream import AckPolicy, Context
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from ddstream.api.stream import ControlCommand, JobRow, TrainCommand
from ddstream.background import Background
from ddstream.errors import DDError
from ddstream.stream.connection import TRANSIENT, Connection
from ddstream.stream.topics import Topics
from ddstream.telemetry.origin import coming_from, origin_of

log = logging.getLogger(__name__)

POLL_INTERVAL_MS = 300_000
"""A member that has not polled for so long is put out of its group."""

Handle = Callable[[Any], Awaitable[None]]
"""Does the work of one record, and answers it; a DDError that it raises is logged."""


async def raw(message: Any) -> bytes:
    """A decoder that leaves bytes alone: a bad record must reach us, to be answered."""
    body: bytes = message.body
    return body


class Contiguous:
    """How far a partition's offsets may be committed while their work is done in any order."""

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}

    def take(self, offset: int) -> None:
        """Work on an offset begins."""
        self._open[offset] = False

    def done(self, offset: int) -> int | None:
        """Work on an offset has ended: the offset to commit, or None if earlier work runs."""
        self._open[offset] = True
        committable = None
        for taken in list(self._open):
            if not self._open[taken]:
                break
            del self._open[taken]
            committable = taken + 1
        return committable


def declare(broker: KafkaBroker, topics: Topics, options: dict[str, Any]) -> tuple[Any, Any]:
    """Declare the subscribers of `control` and `train` and the publisher of `jobs`.

    Returns the two subscribers; AsyncAPI is generated from this declaration.
    """
    assignor = options.pop("assignor", None)
    calm: dict[str, Any] = {"partition_assignment_strategy": (assignor,)} if assignor else {}
    common = {
        **options,
        "auto_offset_reset": "earliest",
        "ack_policy": AckPolicy.MANUAL,
        "decoder": raw,
        "no_reply": True,
        "max_poll_interval_ms": POLL_INTERVAL_MS,
    }
    listeners = common.pop("listeners", {})
    control = broker.subscriber(
        topics.control,
        group_id=topics.control,
        title="control",
        listener=listeners.get("control"),
        **common,
    )
    train = broker.subscriber(
        topics.train,
        group_id=topics.train,
        title="train",
        listener=listeners.get("train"),
        **common,
        **calm,
    )
    broker.publisher(topics.jobs, title="jobs", schema=JobRow)
    return control, train


class ControlPlane:
    """A member of the groups of `control` and `train`."""

    def __init__(
        self, connection: Connection, topics: Topics, handles: Mapping[str, Handle], listener: Any
    ) -> None:
        settings = connection.settings
        self.broker = KafkaBroker(
            # FastStream takes one string for one address, commas and all.
            settings.bootstrap.split(","),
            security=connection.faststream_security(),
            logger=logging.getLogger(f"{__name__}.faststream"),
            log_level=logging.DEBUG,
        )
        self._handles = handles
        self._background = Background()
        self._open: dict[tuple[str, int], Contiguous] = {}
        limit = settings.max_request_bytes
        control, train = declare(
            self.broker,
            topics,
            {
                "max_partition_fetch_bytes": limit,
                "listeners": {"train": listener},
                "assignor": listener.assignor,
            },
        )
        control(self._on_control)
        train(self._on_train)
        self._subscribers = {topics.control: control, topics.train: train}

    async def start(self) -> None:
        """Begin to take commands."""
        await self.broker.start()

    async def stop(self) -> None:
        """Take no more commands, finish those that were taken, and leave the groups."""
        await self._background.finish()
        await self.broker.stop()

    @property
    def problem(self) -> str:
        """Why commands may not be taken; empty when they are. It waits for nothing."""
        for plane, subscriber in self._subscribers.items():
            if all(task.done() for task in subscriber.tasks):
                return f"the consumer of {plane} has ended"
            if subscriber.consumer is None or subscriber.consumer._coordinator.generation < 0:
                return f"the consumer of {plane} is not in its group"
        return ""

    @property
    def busy(self) -> int:
        """Commands whose work runs."""
        return len(self._background)

    async def _on_control(
        self, command: bytes, message: Annotated[KafkaMessage, Context("message")]
    ) -> None:
        self._take("control", message)

    async def _on_train(
        self, command: bytes, message: Annotated[KafkaMessage, Context("message")]
    ) -> None:
        self._take("train", message)

    def _take(self, plane: str, message: KafkaMessage) -> None:
        record: Any = message.raw_message
        key = (record.topic, record.partition)
        self._open.setdefault(key, Contiguous()).take(record.offset)
        self._background.spawn(self._work(plane, record, message.consumer))

    async def _work(self, plane: str, record: Any, consumer: Any) -> None:
        with coming_from(origin_of(dict(record.headers))):
            try:
                await self._handles[plane](record)
            except DDError as error:
                log.warning("%s command at offset %d: %s", plane, record.offset, error)
        offset = self._open[record.topic, record.partition].done(record.offset)
        if offset is None:
            return
        try:
            await consumer.commit({TopicPartition(record.topic, record.partition): offset})
        except TRANSIENT as error:
            # The command is handled again after a restart; its correlation id tells that it was.
            log.warning("commit of %s: %s", record.topic, error)


def commands() -> dict[str, type[Any]]:
    """The JSON of each plane."""
    return {"control": ControlCommand, "train": TrainCommand}
