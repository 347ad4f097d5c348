"""Every Api: the life of a service, and what is refused at creation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ddstream.errors import (
    BadRequest,
    ConnectorNotFound,
    DDError,
    InputError,
    ParameterError,
    ServiceExists,
    ServiceNotFound,
    UnknownLibrary,
)
from tests.conformance.calls import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.promise(
    "services.description", "services.model.repository", "services.model.create_repository"
)
async def test_a_service_lives_from_its_creation_to_its_deletion(desk: Desk) -> None:
    created = await desk.create()
    assert (created.code, dict(created.body)) == (201, {})
    assert desk.repository.is_dir()
    service = (await desk.api.get_service(desk.name.upper())).body
    assert service["name"] == desk.name
    assert service["description"] == "digits ✍"
    assert (service["mllib"], service["type"]) == ("torch", "supervised")
    assert (service["mltype"], service["repository"]) == ("classification", str(desk.repository))
    assert service["parameters"]["mllib"]["nclasses"] == 10
    assert service["model_stats"]["params"] > 11_000_000
    assert service["jobs"] == []
    assert service["training"] is False
    listed = (await desk.api.info()).head["services"]
    assert [each["name"] for each in listed if each["name"] == desk.name] == [desk.name]
    deleted = await desk.api.delete_service(desk.name)
    assert deleted.json() == {"status": {"code": 200, "msg": "OK"}}
    with pytest.raises(ServiceNotFound):
        await desk.api.get_service(desk.name)
    listed = (await desk.api.info()).head["services"]
    assert desk.name not in [each["name"] for each in listed]


@pytest.mark.promise("errors.http.409")
async def test_a_name_can_be_taken_once(desk: Desk) -> None:
    await desk.create()
    with pytest.raises(ServiceExists):
        await desk.create()
    await desk.api.delete_service(desk.name)
    assert (await desk.create()).code == 201


@pytest.mark.promise("errors.code.1002")
async def test_what_asks_for_an_unknown_service_is_told_so(desk: Desk) -> None:
    for asking in (
        desk.api.get_service(desk.name),
        desk.predict([str(desk.images[0])]),
        desk.train(),
        desk.job(),
        desk.stop(),
        desk.api.delete_service(desk.name),
    ):
        with pytest.raises(DDError) as unknown:
            await asking
        assert unknown.value.code == 404
        assert unknown.value.dd_code == 1002


REFUSED: Mapping[str, tuple[dict[str, Any], type[DDError], str]] = {
    "unknown-library": ({"mllib": "brain"}, UnknownLibrary, "Unknown Library"),
    "retired-library": ({"mllib": "caffe"}, ParameterError, "removed"),
    "no-connector": ({"parameters": {"input": {"connector": None}}}, BadRequest, "connector"),
    "unknown-connector": (
        {"parameters": {"input": {"connector": "smell"}}},
        ConnectorNotFound,
        "Input Connector Not Found",
    ),
    "bad-size": ({"parameters": {"input": {"width": 0}}}, InputError, "width"),
    "wrong-type": ({"parameters": {"mllib": {"nclasses": "ten"}}}, ParameterError, "nclasses"),
    "unknown-template": ({"parameters": {"mllib": {"template": "nets"}}}, ParameterError, "nets"),
    "outside-the-roots": (
        {"model": {"repository": "/tmp", "create_repository": False}},
        ParameterError,
        "DDSTREAM_ROOTS",
    ),
    "missing-repository": (
        {"model": {"create_repository": False}},
        ParameterError,
        "is not writable or does not exist",
    ),
}


@pytest.mark.promise(
    "errors.code.1000",
    "errors.code.1004",
    "errors.code.1005",
    "errors.code.1006",
    "backends.retired",
    "services.mllib",
    "services.input.connector",
)
@pytest.mark.parametrize("why", REFUSED)
async def test_a_creation_is_refused_with_its_reason_and_leaves_nothing(
    desk: Desk, why: str
) -> None:
    over, error, text = REFUSED[why]
    with pytest.raises(error, match=text):
        await desk.create(over)
    with pytest.raises(ServiceNotFound):
        await desk.api.get_service(desk.name)


async def test_unknown_parameters_are_named_in_a_warning(desk: Desk) -> None:
    created = await desk.create({"parameters": {"mllib": {"nclases": 9}}})
    assert any("nclases" in warning for warning in created.head["warnings"])


@pytest.mark.promise("services.delete.clear")
async def test_clearing_removes_the_files_of_a_service(desk: Desk) -> None:
    await desk.create()
    await desk.api.delete_service(desk.name, "mem")
    assert list(desk.repository.iterdir()) != []
    await desk.create()
    await desk.api.delete_service(desk.name, "full")
    assert list(desk.repository.iterdir()) == []
    await desk.create()
    await desk.api.delete_service(desk.name, "dir")
    assert not desk.repository.exists()
