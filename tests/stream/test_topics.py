"""Names and configurations of the topics."""

from pathlib import Path

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ddstream.errors import ParameterError
from ddstream.settings import Settings
from ddstream.stream import asyncapi
from ddstream.stream.topics import NewTopic, Topics, escape, specs

TOPICS = Path(__file__).parents[2] / "topics"


def by_name(topics: list[NewTopic]) -> dict[str, NewTopic]:
    return {topic.name: topic for topic in topics}


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("digits", "dd.predict.digits"),
        ("my-service-2", "dd.predict.my-service-2"),
        ("a.b_c d", "dd.predict.a_2eb_5fc_20d"),
        ("é", "dd.predict._c3_a9"),
        ("😀", "dd.predict._f0_9f_98_80"),
    ],
)
def test_a_service_name_is_escaped_byte_by_byte(service: str, name: str) -> None:
    assert Topics(Settings()).predict(service) == name


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_two_services_never_share_a_topic(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


def test_a_topic_name_that_kafka_refuses_is_a_parameter_error() -> None:
    with pytest.raises(ParameterError, match="249"):
        Topics(Settings()).predict("é" * 100)


def test_the_prefix_is_the_first_part_of_every_name() -> None:
    topics = Topics(Settings(prefix="prod.eu"))
    names = [topic.name for topic in [*topics.fixed(), *topics.of_service("x")]]
    assert names
    assert all(name.startswith("prod.eu.") for name in names)


def test_the_size_limit_sets_every_topic_and_rejects_have_room_for_headers() -> None:
    topics = Topics(Settings(max_request_bytes=1 << 20))
    fixed = by_name(topics.fixed())
    control = int(fixed["dd.control"].config["max.message.bytes"])
    assert control > 1 << 20
    assert int(fixed["dd.rejects"].config["max.message.bytes"]) == control + 65536


def test_tables_are_compacted_and_results_match_requests() -> None:
    topics = Topics(Settings(partitions=3))
    fixed = by_name(topics.fixed())
    for table in ("dd.services", "dd.jobs", "dd.workers"):
        assert fixed[table].config["cleanup.policy"] == "compact"
    predict, results = topics.of_service("x")
    assert predict.partitions == results.partitions == 3


def test_replies_go_to_bridges_and_named_topics_only() -> None:
    topics = Topics(Settings(reply_topics=("mine",)))
    assert topics.may_answer("dd.replies.bridge-1")
    assert topics.may_answer("mine")
    assert not topics.may_answer("dd.services")
    assert not topics.may_answer("other")


def test_asyncapi_and_schemas_in_the_repository_are_what_the_code_declares() -> None:
    assert (TOPICS / "asyncapi.yaml").read_text(encoding="utf-8") == asyncapi.render()
    files = {file.stem: orjson.loads(file.read_bytes()) for file in TOPICS.glob("schemas/*.json")}
    assert files == asyncapi.schemas()


def test_every_topic_of_the_yaml_is_a_channel_and_faststream_declares_the_control_plane() -> None:
    document = yaml.safe_load((TOPICS / "asyncapi.yaml").read_text(encoding="utf-8"))
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {spec.name.replace("{prefix}", "dd") for spec in specs().values()}
    assert set(document["operations"]) == {"control", "train", "jobs"}


def test_every_value_that_the_yaml_names_has_a_schema() -> None:
    assert {spec.value for spec in specs().values() if spec.value} <= set(asyncapi.SCHEMAS)
