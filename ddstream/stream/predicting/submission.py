"""Submission: how a record becomes a call of the host, once or again, with others or alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ddstream import metrics
from ddstream.api.predict import Call
from ddstream.api.stream import StreamParameters
from ddstream.background import Background
from ddstream.errors import DDError, InternalError, ServiceNotFound, TimedOut, fault
from ddstream.stream import messages
from ddstream.stream.connection import persist, topic_exists
from ddstream.stream.predicting.partition import Partition, Slot
from ddstream.stream.predicting.parts import LoopParts
from ddstream.stream.predicting.publisher import refused_reply, reply_to
from ddstream.stream.traces import about, trace_taken

log = logging.getLogger(__name__)

LONGEST_BACKOFF = 30.0

Alone = Callable[[Partition, Slot, bool], Awaitable[None]]


class Submission:
    """Submits the records of one service.

    `announce` is awaited before and after a record runs alone: it commits that it does, or did.
    """

    def __init__(
        self,
        service: str,
        parts: LoopParts,
        options: StreamParameters,
        announce: Alone,
        background: Background,
    ) -> None:
        self.gone = False
        """The service was deleted: what is left is answered so."""
        self._service = service
        self._parts = parts
        self._options = options
        self._announce = announce
        self._background = background
        self._limit = parts.connection.settings.max_request_bytes
        self._known_replies: set[str] = set()

    def take(self, partition: Partition, records: Sequence[Any]) -> list[Call]:
        """Open slots for records, and return the calls that can be submitted at once."""
        opened = (self._open(partition, record) for record in records)
        return [call for call in opened if call is not None]

    def submit(self, calls: Sequence[Call]) -> None:
        """Give calls to the host; while a record runs alone, they wait."""
        if self._parts.quarantine.active:
            self._background.spawn(self._submit_later(calls))
        elif calls:
            self._parts.host.submit(calls)

    def troubled(self, slot: Slot, error: DDError) -> None:
        """A slot's call failed in a way that another try might mend."""
        if error.severity == "fatal":
            self._parts.abandon(str(error))
            return
        delay = min(LONGEST_BACKOFF, self._options.retry_backoff * 2 ** (slot.attempts - 1))
        call = slot.call
        late = call is None or (call.deadline is not None and time.time() + delay > call.deadline)
        if late or slot.attempts > self._options.retries:
            slot.settle(error)
            return
        log.warning(
            "%s of %s is tried again in %.1f s (attempt %d): %s",
            messages.source(slot.record),
            self._service,
            delay,
            slot.attempts + 1,
            error,
            extra=about(slot, self._service),
        )
        slot.attempts += 1
        metrics.RECORDS_RETRIED.labels(self._service).inc()
        self._background.spawn(self._again(slot, delay))

    async def _again(self, slot: Slot, delay: float) -> None:
        await asyncio.sleep(delay)
        assert slot.call is not None
        if slot.finished is None:
            self.submit([slot.call])
        else:  # it runs alone: the others wait for it
            self._parts.host.submit([slot.call])

    async def _submit_later(self, calls: Sequence[Call]) -> None:
        await self._parts.quarantine.over()
        self.submit(calls)

    # -- one record -----------------------------------------------------------------------

    def _open(self, partition: Partition, record: Any) -> Call | None:
        """The call of a record that can be submitted now; None if it is answered or waits."""
        slot = partition.open(record)
        if self.gone:
            slot(ServiceNotFound())
            return None
        try:
            call = messages.to_call(record, self._service, self._limit, slot)
            version = messages.number(call.headers, messages.VERSION)
            self._check_age(call, record)
            reply = reply_to(record)
        except Exception as error:
            # Whatever a record holds, it is its own affair: the loop goes on.
            slot(fault(error, f"reading {messages.source(record)}"))
            return None
        slot.call = call
        trace_taken(slot)
        if record.offset < partition.alone_until:
            self._queue_alone(partition, slot, reply, version)
            return None
        known = reply is None or reply in self._known_replies
        if known and self._parts.versions.reached(self._service, version):
            return call
        self._background.spawn(self._check(slot, reply, version))
        return None

    def _check_age(self, call: Call, record: Any) -> None:
        """Set the deadline, and raise TimedOut if it has passed: then nothing is decoded."""
        now, reason = time.time(), "deadline"
        if self._options.max_age:
            oldest = record.timestamp / 1000 + self._options.max_age
            if call.deadline is None or oldest < call.deadline:
                call.deadline, reason = oldest, "max_age"
        if call.deadline is not None and now > call.deadline:
            metrics.RECORDS_LATE.labels(self._service, reason).inc()
            raise TimedOut(f"the {reason} has passed {now - call.deadline:.1f} s ago")

    async def _check(self, slot: Slot, reply: str | None, version: int | None) -> None:
        if await self._admitted(slot, reply, version):
            assert slot.call is not None
            self.submit([slot.call])

    async def _admitted(self, slot: Slot, reply: str | None, version: int | None) -> bool:
        """Whether its reply topic exists and its model is loaded; if not, it is answered so."""
        assert slot.call is not None
        try:
            if reply is not None and reply not in self._known_replies:
                await persist(lambda: self._check_reply(slot, reply))
            await self._parts.versions.wait(self._service, version, slot.call.deadline)
        except Exception as error:
            slot(fault(error, f"admitting {messages.source(slot.record)}"))
            return False
        return True

    async def _check_reply(self, slot: Slot, reply: str) -> None:
        client = self._parts.producer.client
        if self._parts.topics.may_answer(reply) and await topic_exists(client, [reply]):
            self._known_replies.add(reply)
            return
        # Its answer has nowhere to go but the results topic.
        slot.record.headers = tuple(
            header for header in slot.record.headers if header[0] != messages.REPLY_TO
        )
        raise refused_reply(reply)

    # -- alone ----------------------------------------------------------------------------

    def _queue_alone(
        self, partition: Partition, slot: Slot, reply: str | None, version: int | None
    ) -> None:
        if slot.record.offset == partition.culprit:
            slot.attempts = partition.attempts
            log.error(
                "%s ended its worker: it is rejected",
                messages.source(slot.record),
                extra=about(slot, self._service),
            )
            slot.settle(
                InternalError(
                    f"the record ended its worker; it was taken {partition.attempts} times"
                )
            )
            return
        slot.finished = asyncio.Event()
        partition.solo.append((slot, reply, version))
        if len(partition.solo) == 1 and not partition.soloing:
            partition.soloing = True
            self._background.spawn(self._run_alone(partition))

    async def _run_alone(self, partition: Partition) -> None:
        try:
            while partition.solo:
                async with self._parts.quarantine.alone():
                    if not partition.solo or partition.revoked:
                        return
                    slot, reply, version = partition.solo.popleft()
                    assert slot.finished is not None
                    assert slot.call is not None
                    if not await self._admitted(slot, reply, version):
                        continue
                    metrics.RECORDS_QUARANTINED.labels(self._service).inc()
                    await self._announce(partition, slot, True)
                    self._parts.host.submit([slot.call])
                    await slot.finished.wait()
                    # Nothing else may run while a commit calls it alone.
                    await self._announce(partition, slot, False)
        finally:
            partition.soloing = False
