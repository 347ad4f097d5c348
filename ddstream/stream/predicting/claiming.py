"""Answers over the size limit: kept in the claim store, told of by a small record, read back."""

from __future__ import annotations

import asyncio
from typing import Any

from ddstream.api.envelope import Answer
from ddstream.connectors.remote.claims import Claim, ClaimStore, claim_name
from ddstream.errors import DDError, TooLarge, Unavailable
from ddstream.settings import Settings
from ddstream.stream import messages
from ddstream.stream.messages import Outgoing
from ddstream.stream.topics import escape


class Claiming:
    """What becomes of the answers of one service that no record can hold."""

    def __init__(self, service: str, settings: Settings, store: ClaimStore | None) -> None:
        self._service = escape(service)
        self._limit = settings.max_request_bytes
        self._secret = settings.claim_secret
        self._store = store

    def fits(self, out: Outgoing) -> bool:
        """Whether a record can hold it."""
        return len(out.value) <= self._limit

    async def fitted(self, answer: Answer, out: Outgoing, record: Any) -> Answer | DDError:
        """The answer that says where the content of `out` is kept; 413 where it cannot be.

        The same request has the same name in the store, so that a repeated answer replaces the
        first one.
        """
        size = len(out.value)
        why = f"the answer has {size} bytes, DDSTREAM_MAX_REQUEST_BYTES is {self._limit}"
        if self._store is None:
            return TooLarge(f"{why}, and no DDSTREAM_CLAIM_STORE is set")
        kind = dict(out.headers)[messages.CONTENT_TYPE].decode()
        source = f"{messages.source(record)}@{record.timestamp}"
        name = claim_name(self._secret, self._service, source, record.value or b"", kind)
        try:
            claim = await self._store.put(name, out.value, kind)
        except Unavailable as error:
            return TooLarge(f"{why}, and {error.detail}")
        return Answer(answer.code, {**answer.head, "claim": claim.head()})


async def claimed(answer: Answer, store: ClaimStore | None) -> Answer:
    """The answer itself, where `answer` came from a record that only says where it is kept.

    Raises Unavailable if it cannot be read, InternalError if it is not of this store.
    """
    if answer.relay is not None or answer.encoded or "claim" not in answer.head:
        return answer
    claim = Claim.parse(answer.head["claim"])
    if store is None:
        raise Unavailable(f"the answer is kept at {claim.url}; no DDSTREAM_CLAIM_STORE is set here")
    content = await store.get(claim)
    headers = {
        messages.CONTENT_TYPE: claim.content_type.encode(),
        messages.STATUS: b"%d" % answer.code,
    }
    return await asyncio.to_thread(messages.from_reply, content, headers)
