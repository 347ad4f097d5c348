"""The synchronous client: services as objects over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import numpy as np
import pytest

from ddstream.client import CapabilityError, Client, DeepDetectError, Service
from ddstream.rest.server import Server
from tests.rest.conftest import Remote
from tests.rest.twin import TwinApi


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def create(client: Client) -> Service:
    return client.create_service(
        "Letters",
        model={"repository": "/models/letters"},
        mllib="torch",
        input_parameters={"connector": "image"},
        description="letters",
    )


async def test_a_service_is_an_object(client: Client, twin: TwinApi) -> None:
    def program() -> None:
        assert client.info()["services"] == []
        service = create(client)
        assert service.info(labels=True)["labels"] == ["a", "b"]
        assert "jobs" not in service.info(status=False)
        body = service.predict("ab", output_parameters={"best": 1})
        assert body["predictions"][0]["classes"][0]["cat"] == "a"
        assert client.service("letters").predict(["a", "b"])["predictions"][1]["uri"] == "b"
        service.delete()
        for refused in (service.info, service.delete, lambda: service.predict("a")):
            with pytest.raises(RuntimeError, match="deleted"):
                refused()
        with pytest.raises(DeepDetectError):
            client.service("letters")

    await asyncio.to_thread(program)
    assert twin.services == {}


async def test_a_service_is_deleted_at_the_end_of_with(client: Client, twin: TwinApi) -> None:
    def program() -> None:
        with create(client):
            assert len(client.info()["services"]) == 1
        with create(client) as service:
            service.delete(clear="full")

    await asyncio.to_thread(program)
    assert twin.services == {}


async def test_data_is_one_element_or_a_list_and_has_a_type(client: Client, twin: TwinApi) -> None:
    def program() -> None:
        service = create(client)
        service.predict(np.zeros((2, 2), np.uint8))
        service.predict(b"bytes")
        for wrong in (
            np.zeros((2, 2), np.float32),
            np.zeros((2, 2, 5), np.uint8),
            np.zeros(4, np.uint8),
            3,
            None,
            ["a", 3],
        ):
            with pytest.raises(TypeError):
                service.predict(wrong)

    await asyncio.to_thread(program)
    assert [len(request.data) for request in twin.seen] == [1, 1]


async def test_templates_and_sinks_answer_in_their_own_shape(
    client: Client, remote: Remote
) -> None:
    def program() -> None:
        service = create(client)
        rendered = service.predict("a", output_parameters={"template": "{{head.service}}"})
        assert rendered == {"text": "letters"}
        relayed = service.predict("a", output_parameters={"network": {"url": remote.url}})
        assert relayed == {"relay": {"code": 202, "content": '{"indexed":true}'}}

    await asyncio.to_thread(program)


async def test_errors_tell_their_codes(client: Client) -> None:
    def program() -> None:
        service = create(client)
        with pytest.raises(DeepDetectError) as taken:
            create(client)
        assert (taken.value.status_code, taken.value.dd_code) == (409, 1014)
        assert taken.value.message == "Service already exists"
        assert taken.value.response["status"]["code"] == 409
        with pytest.raises(DeepDetectError) as broken:
            service.predict("a", output_parameters={"best": "many"})
        assert (broken.value.status_code, broken.value.dd_code) == (400, 1006)
        assert not isinstance(broken.value, CapabilityError)
        with pytest.raises(DeepDetectError) as unclear:
            service.delete("everything")
        assert (unclear.value.status_code, unclear.value.dd_code) == (400, None)

    await asyncio.to_thread(program)


async def test_a_training_is_waited_for_or_an_object(client: Client, twin: TwinApi) -> None:
    def program() -> None:
        service = create(client)
        assert service.train(["x"])["measure"] == {"train_loss": 0.5}
        job = service.train("x", asynchronous=True)
        assert job.status()["status"] == "running"
        with pytest.raises(TimeoutError):
            job.wait(timeout=0.05, poll_interval=0.02)
        number = job.job
        job.cancel(wait=False)
        assert job.status()["status"] == "running"
        job.cancel()
        ended = job.wait()
        assert (ended["status"], ended["job"]) == ("terminated", number)
        assert job.status() == ended
        job.cancel()

    await asyncio.to_thread(program)
    assert twin.jobs == {}


async def test_a_closed_client_says_so(server: Server) -> None:
    def program() -> None:
        client = Client(server.url)
        client.info()
        client.close()
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.info()
        Client(server.url).close()

    await asyncio.to_thread(program)


async def test_a_server_that_is_away_is_an_error(server: Server) -> None:
    def program() -> None:
        with Client("http://127.0.0.1:1") as client, pytest.raises(DeepDetectError) as away:
            client.info()
        assert away.value.status_code == 503

    await asyncio.to_thread(program)


def test_log_levels_are_set_by_name(client: Client) -> None:
    before = logging.getLogger("ddstream").level
    client.set_log_level("warn")
    client.set_service_log_level("Letters", "debug")
    assert logging.getLogger("ddstream").level == logging.WARNING
    assert logging.getLogger("ddstream.service.letters").level == logging.DEBUG
    client.set_log_level(before)
    client.set_service_log_level("letters", logging.NOTSET)
