"""Topics and groups on the cluster: make, compare, delete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as KafkaTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DeleteGroupsRequest

from ddstream.errors import Unavailable
from ddstream.stream.connection import Connection
from ddstream.stream.refusals import denied
from ddstream.stream.topics import NewTopic

APPEAR_SECONDS = 30.0
_DENIED, _EXISTS, _NO_GROUP, _NOT_EMPTY = 29, 36, 69, 68


class _Hidden(Exception):
    """The topic that we may not describe."""


async def ensure_topics(connection: Connection, topics: Sequence[NewTopic]) -> None:
    """Make what is missing, and return when every broker's metadata shows all of them.

    A topic that is still being deleted is made again when it is gone. Raises Refused for what the
    cluster's access rules deny, Unavailable when it takes longer than 30 s, and aiokafka's errors.
    """
    end = time.monotonic() + APPEAR_SECONDS
    async with connection.admin() as admin:
        while True:
            try:
                await _create(admin, topics)
                found = await _partitions(admin, [t.name for t in topics])
            except _Hidden as error:
                raise denied(connection.settings, "see", f"topic {error}") from error
            except TopicAuthorizationFailedError as error:
                raise denied(connection.settings, "create", f"topic {error.args[0]}") from error
            if found:
                return
            if time.monotonic() > end:
                raise Unavailable(f"topics did not appear: {[t.name for t in topics]}")
            await asyncio.sleep(0.1)


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[NewTopic]) -> None:
    there = set(await admin.list_topics())
    missing = [topic for topic in topics if topic.name not in there]
    if not missing:
        return
    response = await admin.create_topics(
        [
            KafkaTopic(t.name, t.partitions, t.replication, topic_configs=dict(t.config))
            for t in missing
        ]
    )
    hidden = sorted(name for name, code, *_ in response.topic_errors if code == _DENIED)
    if hidden:
        raise TopicAuthorizationFailedError(", ".join(hidden))
    for name, code, *text in response.topic_errors:
        if code not in (0, _EXISTS):
            raise for_code(code)(f"{name}: {text[0] if text else ''}")


async def _partitions(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int] | None:
    """Partitions of each topic; None while one has no leader everywhere."""
    found = {}
    for topic in await admin.describe_topics(list(names)):
        partitions = topic["partitions"]
        if topic["error_code"] == _DENIED:
            raise _Hidden(topic["topic"])
        if topic["error_code"] or not partitions or any(p["leader"] < 0 for p in partitions):
            return None
        found[topic["topic"]] = len(partitions)
    return found if set(found) == set(names) else None


async def check_groups(connection: Connection, groups: Iterable[str]) -> None:
    """Raises Refused for a group that we may not join; aiokafka would keep that to itself."""
    async with connection.admin() as admin:
        for group in groups:
            try:
                await admin.find_coordinator(group)
            except GroupAuthorizationFailedError as error:
                raise denied(connection.settings, "join", f"group {group}") from error


async def delete_topic(connection: Connection, name: str) -> None:
    """Delete a topic, if it is there."""
    async with connection.admin() as admin:
        if name in await admin.list_topics():
            await admin.delete_topics([name])


async def delete_group(connection: Connection, group: str, *, seconds: float = 15.0) -> bool:
    """Delete a consumer group once its members have left; False if they did not in time."""
    end = time.monotonic() + seconds
    async with connection.admin() as admin:
        while True:
            coordinator = await admin.find_coordinator(group)
            request = DeleteGroupsRequest([group])
            response = await admin._send_request_to_node(coordinator, request)
            code = next((code for _, code in response.results), 0)
            if code in (0, _NO_GROUP):
                return True
            if code != _NOT_EMPTY:
                raise for_code(code)(group)
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.1)


async def differences(connection: Connection, topics: Iterable[NewTopic]) -> list[str]:
    """One line for each way in which the cluster differs from `topics`; empty when it does not."""
    lines: list[str] = []
    async with connection.admin() as admin:
        there = set(await admin.list_topics())
        for topic in topics:
            if topic.name not in there:
                lines.append(f"{topic.name}: missing")
                continue
            found = await _partitions(admin, [topic.name]) or {}
            if (count := found.get(topic.name)) != topic.partitions:
                lines.append(f"{topic.name}: partitions {count}, wanted {topic.partitions}")
            values = await _config(admin, topic.name)
            lines += [
                f"{topic.name}: {key} {values.get(key)}, wanted {wanted}"
                for key, wanted in topic.config.items()
                if values.get(key) != wanted
            ]
    return lines


async def apply_config(connection: Connection, topics: Iterable[NewTopic]) -> None:
    """Give topics that exist the configuration that they should have."""
    async with connection.admin() as admin:
        resources = [
            ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=dict(topic.config))
            for topic in topics
        ]
        await admin.alter_configs(resources)


async def _config(admin: AIOKafkaAdminClient, name: str) -> Mapping[str, Any]:
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    return {
        entry[0]: entry[1]
        for response in responses
        for resource in response.resources
        for entry in resource[4]
    }


async def record_limit(connection: Connection, topic: str, default: int) -> int:
    """Most bytes of a batch that the topic takes; `default` if it may not be read."""
    try:
        async with connection.admin() as admin:
            return int((await _config(admin, topic)).get("max.message.bytes", default))
    except ClusterAuthorizationFailedError:
        return default


async def delete_before(connection: Connection, topic: str, offsets: Mapping[int, int]) -> None:
    """Delete the records of each partition that lie before an offset."""
    async with connection.admin() as admin:
        await admin.delete_records(
            {TopicPartition(topic, n): RecordsToDelete(offset) for n, offset in offsets.items()}
        )


async def group_lag(connection: Connection, group: str, ends: Mapping[Any, int]) -> int:
    """Records of `ends` (partition -> end offset) that the group has not committed."""
    async with connection.admin() as admin:
        committed = await admin.list_consumer_group_offsets(group)
    return sum(
        max(0, end - (committed[tp].offset if tp in committed else 0)) for tp, end in ends.items()
    )
