"""The sink of `kafka://topic`: pushes an answer to a topic that the operator allows."""

from __future__ import annotations

import asyncio
from typing import Any

from ddstream.api.envelope import JSON, Relay, dumps
from ddstream.errors import ParameterError, SinkError
from ddstream.stream import messages
from ddstream.stream.connection import TRANSIENT, Connection, started, stopped, topic_exists
from ddstream.stream.topics import Topics


class KafkaSink:
    """Writes to topics that `DDSTREAM_REPLY_TOPICS` names; its answer is a 200 status."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._topics = Topics(connection.settings)
        self._producer: Any = None
        self._starting = asyncio.Lock()

    async def push(self, url: str, method: str, content: bytes, content_type: str) -> Relay:
        """See Sink; `method` means nothing here."""
        topic = url.partition("://")[2].strip("/")
        if not self._topics.may_answer(topic):
            raise ParameterError(f"output.network.url: {topic!r} is not in DDSTREAM_REPLY_TOPICS")
        try:
            producer = await self._started()
            if not await topic_exists(producer.client, [topic]):
                raise SinkError(f"topic {topic} does not exist")
            headers = [(messages.CONTENT_TYPE, content_type.encode())]
            await producer.send_and_wait(topic, content, headers=headers)
        except TRANSIENT as error:
            raise SinkError(f"{topic}: {error}").graded("transient") from error
        return Relay(200, dumps({"status": {"code": 200, "msg": "OK"}}), JSON)

    async def close(self) -> None:
        """Stop the producer, if there is one."""
        if self._producer is not None:
            await stopped(self._producer)

    async def _started(self) -> Any:
        async with self._starting:
            if self._producer is None:
                producer = self._connection.producer()
                await started(producer)
                self._producer = producer
        return self._producer
