"""Jobs as a client of the reference finds them (contract 1.5, 1.8 and appendix A.1)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.rest.dd_client import DDCommunicationError
from tests.scenarios.conftest import ENDLESS, IMAGES, RESNET, Client, Json, refused, solving

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(600)


def status_of(client: Client, name: str) -> Json:
    body: Json = client.dd.get_service(name)["body"]
    return {key: body[key] for key in ("predict", "training")}


@pytest.mark.promise("train.report", "train.async", "python.client")
def test_a_job_is_followed_by_the_words_of_the_reference(
    client: Client, pets: dict[str, Path]
) -> None:
    client.create("followed", IMAGES, RESNET)
    assert status_of(client, "followed") == {"predict": True, "training": False}
    mllib = solving(4, test_interval=2) | {"mirror": True}
    job = client.start("followed", [pets["train"], pets["test"]], mllib)
    assert job == 1
    # No weights were trained yet: a predict call would be refused, and the service says so.
    assert status_of(client, "followed") == {"predict": False, "training": True}
    (info,) = client.dd.get("/info", {"status": "true"})["head"]["services"]
    assert (info["name"], info["training"]) == ("followed", True)
    assert [line["job"] for line in info["jobs"]] == [1]
    (bare,) = client.dd.info()["head"]["services"]
    assert "jobs" not in bare
    assert bare["training"] is True
    with pytest.raises(DDCommunicationError) as early:
        client.predict("followed", [pets["test"]])
    assert refused(early)[:2] == (409, 1008)
    final = client.dd.get("/train", {"service": "FOLLOWED", "job": "1", "timeout": "400"})
    assert set(final["head"]) == {"method", "job", "status", "time"}
    assert (final["head"]["job"], final["head"]["status"]) == (1, "finished")
    assert isinstance(final["head"]["time"], float)
    body = final["body"]
    assert {"measure", "measures", "model", "parameters", "mltype", "sname"} <= set(body)
    assert body["measure"]["iteration"] == 4.0
    assert (body["measures"][0]["test_id"], body["measures"][0]["test_name"]) == (0, "test")
    with pytest.raises(DDCommunicationError) as read:
        client.dd.get_train("followed", job=1)
    assert refused(read) == (404, 1003, "Job Not Found")
    assert status_of(client, "followed") == {"predict": True, "training": False}


@pytest.mark.promise("train.blocking", "python.client")
def test_a_training_that_is_waited_for_takes_no_number(
    client: Client, pets: dict[str, Path]
) -> None:
    client.create("waited", IMAGES, RESNET)
    data = [pets["train"], pets["test"]]
    answer = client.dd.post_train(
        "waited", [str(each) for each in data], {}, solving(1), {"measure": ["acc"]}, jasync=False
    )
    assert set(answer["head"]) == {"method", "time"}
    assert isinstance(answer["head"]["time"], float)
    kept = json.loads((client.repository("waited") / "metrics.json").read_text())
    assert set(kept["head"]) == {"method", "status", "time"}
    assert client.start("waited", data, solving(2) | {"resume": True}) == 1
    # The number that the client asks for by itself.
    assert client.dd.get_train("waited", timeout=400)["head"]["status"] == "finished"


@pytest.mark.promise("train.delete.job")
def test_a_job_that_is_not_waited_for_is_ending_and_its_end_is_read_once(
    client: Client, pets: dict[str, Path]
) -> None:
    client.create("queued", IMAGES, RESNET)
    data = [pets["train"], pets["test"]]
    first, second = (client.start("queued", data, solving(ENDLESS)) for _ in range(2))
    assert (first, second) == (1, 2)
    for job, force, ending in ((2, "false", "cancelling"), (1, "true", "terminating")):
        query = {"service": "queued", "job": str(job), "wait": "false", "force": force}
        head = client.dd.delete("/train", query)["head"]
        assert head == {"method": "/train", "job": job, "status": ending}
    for job in (1, 2):
        ended = client.dd.get_train("queued", job=job, timeout=60)
        assert ended["head"]["status"] == "terminated"
        with pytest.raises(DDCommunicationError, match="404"):
            client.dd.get_train("queued", job=job)
    client.dd.delete_service("queued")


def test_a_service_is_training_while_its_job_is_ending(
    client: Client, pets: dict[str, Path]
) -> None:
    client.create("ending", IMAGES, RESNET)
    client.start("ending", [pets["train"], pets["test"]], solving(ENDLESS))
    until_iterating(client, "ending")
    client.dd.delete("/train", {"service": "ending", "job": "1", "wait": "false"})
    body = client.dd.get_service("ending")["body"]
    (line,) = body["jobs"]
    held = line["status"] in ("running", "cancelling")
    assert body["training"] is held
    assert client.dd.get_train("ending", timeout=100)["head"]["status"] == "terminated"
    client.dd.delete_service("ending")


def until_iterating(client: Client, name: str) -> None:
    while "train_loss" not in (live := client.dd.get_train(name))["body"]["measure"]:
        assert live["head"]["status"] == "running", live
        time.sleep(0.2)


def test_a_library_that_is_a_worker_of_modules_is_refused_with_its_reason(client: Client) -> None:
    model = {"repository": str(client.root / "worker"), "create_repository": True}
    with pytest.raises(DDCommunicationError) as wrong:
        client.dd.put_service("worker", model, "", "pytorch", IMAGES, RESNET, {})
    code, dd_code, text = refused(wrong)
    assert (code, dd_code) == (400, 1006)
    assert "the managed Python PyTorch worker backend is disabled" in text
