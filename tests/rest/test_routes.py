"""The routes over HTTP: methods, queries, bodies and answers of the contract."""

from __future__ import annotations

import pytest

from tests.rest.conftest import SERVICE, Http
from tests.rest.twin import TwinApi

OK = {"status": {"code": 200, "msg": "OK"}}
CREATED = {"status": {"code": 201, "msg": "Created"}}


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_put_and_post_create_a_service_alike(http: Http, method: str) -> None:
    made = await http(method, "/services/Letters", SERVICE)
    assert (made.status, made.json) == (201, CREATED)
    assert made.headers["Content-Type"] == "application/json"
    assert (await http("GET", "/services/letters")).json["body"]["name"] == "letters"


async def test_a_service_tells_what_it_was_created_with(http: Http) -> None:
    await http("PUT", "/services/letters", {**SERVICE, "type": "unsupervised"})
    body = (await http("GET", "/services/letters")).json["body"]
    assert (body["mllib"], body["type"], body["description"]) == (
        "torch",
        "unsupervised",
        "letters",
    )
    assert body["repository"] == "/models/letters"
    assert body["jobs"] == []
    plain = await http("PUT", "/services/plain", {**SERVICE, "description": None, "type": None})
    assert plain.status == 201
    body = (await http("GET", "/services/plain")).json["body"]
    assert (body["type"], body["description"]) == ("supervised", "")


async def test_info_tells_jobs_only_when_asked(http: Http, letters: str) -> None:
    await http("POST", "/train", {"service": letters, "data": ["x"]})
    plain = await http("GET", "/info")
    assert plain.json["status"] == OK["status"]
    assert plain.json["head"]["method"] == "/info"
    (service,) = plain.json["head"]["services"]
    assert "jobs" not in service
    (service,) = (await http("GET", "/info?status=true")).json["head"]["services"]
    assert [job["job"] for job in service["jobs"]] == [1]


async def test_a_service_tells_jobs_by_default_and_labels_when_asked(
    http: Http, letters: str
) -> None:
    body = (await http("GET", "/services/letters")).json["body"]
    assert (body["jobs"], "labels" in body) == ([], False)
    body = (await http("GET", "/services/letters?status=0&labels=True")).json["body"]
    assert ("jobs" in body, body["labels"]) == (False, ["a", "b"])


@pytest.mark.parametrize(
    ("path", "name"),
    [("/info?status=yes", "status"), ("/services/letters?labels=", "labels")],
)
async def test_a_query_that_is_no_boolean_is_refused(
    http: Http, letters: str, path: str, name: str
) -> None:
    refused = await http("GET", path)
    assert refused.status == 400
    assert refused.json == {
        "status": {
            "code": 400,
            "msg": "Bad request",
            "dd_code": 400,
            "dd_msg": f"{name} must be a boolean value",
        }
    }


@pytest.mark.parametrize("name", ["é✍🐱", "42", "a%b", "a b", "a?b#c"])
async def test_names_travel_percent_encoded(http: Http, name: str) -> None:
    from urllib.parse import quote

    path = f"/services/{quote(name, safe='')}"
    assert (await http("PUT", path, SERVICE)).status == 201
    assert (await http("GET", path)).json["body"]["name"] == name
    started = await http("POST", "/train", {"service": name, "data": ["x"]})
    assert started.json["head"]["job"] == 1
    told = await http("GET", "/train", params={"service": name, "job": "1"})
    assert told.json["head"]["status"] == "running"
    assert (await http("DELETE", path)).json == OK


@pytest.mark.promise("errors.http.404", "errors.code.1002")
async def test_an_unknown_service_is_not_found(http: Http) -> None:
    expected = {
        "status": {
            "code": 404,
            "msg": "NotFound",
            "dd_code": 1002,
            "dd_msg": "Service Not Found",
        }
    }
    for method, path, body in (
        ("GET", "/services/nothing", None),
        ("DELETE", "/services/nothing", None),
        ("POST", "/predict", {"service": "nothing", "data": ["a"]}),
        ("POST", "/train", {"service": "nothing", "data": ["a"]}),
        ("GET", "/train?service=nothing&job=1", None),
        ("DELETE", "/train?service=nothing&job=1", None),
    ):
        answer = await http(method, path, body)
        assert (answer.status, answer.json) == (404, expected), (method, path)


@pytest.mark.promise("errors.http.409")
async def test_a_name_that_is_taken_comes_before_a_broken_body(http: Http, letters: str) -> None:
    for body in (SERVICE, b"{no json", b'{"mllib": 3}'):
        taken = await http("PUT", "/services/LETTERS", body)
        assert (taken.status, taken.json["status"]["dd_code"]) == (409, 1014)
        assert taken.json["status"]["dd_msg"] == "Service already exists"
    broken = await http("PUT", "/services/other", b"{no json")
    assert (broken.status, "dd_code" in broken.json["status"]) == (400, False)


async def test_an_unknown_way_to_clear_is_refused(http: Http, letters: str) -> None:
    refused = await http("DELETE", "/services/letters?clear=everything")
    assert refused.status == 400
    assert "clear" in refused.json["status"]["dd_msg"]
    assert (await http("DELETE", "/services/letters?clear=full")).json == OK


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_put_and_post_predict_alike(http: Http, letters: str, method: str) -> None:
    body = {"service": "Letters", "data": ["ab", "ab", "c"], "parameters": {"output": {"best": 2}}}
    answer = await http(method, "/predict", body)
    assert answer.status == 200
    head, predictions = answer.json["head"], answer.json["body"]["predictions"]
    assert (head["method"], head["service"]) == ("/predict", "letters")
    assert [each["uri"] for each in predictions] == ["ab", "ab", "c"]
    assert [found["cat"] for found in predictions[0]["classes"]] == ["a", "b"]


@pytest.mark.promise("train.async")
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_training_is_asynchronous_unless_told(
    http: Http, letters: str, method: str
) -> None:
    started = await http(method, "/train", {"service": letters, "data": ["x"]})
    assert (started.status, started.json) == (
        201,
        CREATED | {"head": {"method": "/train", "job": 1, "status": "running"}},
    )
    blocking = await http(method, "/train", {"service": letters, "data": ["x"], "async": False})
    assert blocking.status == 201
    assert "job" not in blocking.json["head"]
    assert blocking.json["body"]["measure"] == {"train_loss": 0.5}


@pytest.mark.promise(
    "train.get.service",
    "train.get.job",
    "train.get.timeout",
    "train.get.parameters.output.measure_hist",
    "train.get.parameters.output.max_hist_points",
    "errors.code.1003",
)
async def test_a_job_is_followed_by_query(http: Http, letters: str) -> None:
    await http("POST", "/train", {"service": letters, "data": ["x"]})
    live = await http("GET", f"/train?service={letters}&job=1")
    assert live.json["head"]["status"] == "running"
    assert "measure_hist" not in live.json["body"]
    history = "parameters.output.measure_hist=true&parameters.output.max_hist_points=2"
    final = await http("GET", f"/train?service={letters}&job=1&timeout=5&{history}")
    assert final.json["head"]["status"] == "finished"
    assert final.json["body"]["measure_hist"] == {"train_loss_hist": [3.0, 1.0]}
    assert final.json["body"]["measure_sampling"] == {"train_loss_sampling": 2}
    gone = await http("GET", f"/train?service={letters}&job=1")
    assert (gone.status, gone.json["status"]["dd_code"]) == (404, 1003)
    assert gone.json["head"] == {"method": "/train", "job": 1}
    unnamed = await http("GET", f"/train?service={letters}")
    assert (unnamed.status, "head" in unnamed.json) == (404, False)


@pytest.mark.promise("train.delete.service", "train.delete.job")
async def test_a_job_is_stopped_by_query(http: Http, letters: str) -> None:
    await http("POST", "/train", {"service": letters, "data": ["x"]})
    soon = await http("DELETE", f"/train?service={letters}&job=1&wait=false")
    assert soon.json["head"]["status"] == "cancelling"
    stopped = await http("DELETE", f"/train?service={letters}&job=1")
    assert stopped.json["head"] | {"time": 0.0} == {
        "method": "/train",
        "job": 1,
        "status": "terminated",
        "time": 0.0,
    }


async def test_what_nothing_reads_is_named_in_a_warning(http: Http, letters: str) -> None:
    await http("POST", "/train", {"service": letters, "data": ["x"]})
    for method, path, body in (
        ("POST", "/predict", {"service": letters, "data": ["a"], "colour": 1}),
        ("POST", "/train", {"service": letters, "data": ["a"], "colour": 1}),
        ("GET", f"/train?service={letters}&job=1&colour=1", None),
        ("GET", "/info?colour=1", None),
        ("GET", f"/services/{letters}?colour=1", None),
        ("DELETE", f"/services/{letters}?colour=1", None),
    ):
        answer = await http(method, path, body)
        assert answer.json["head"]["warnings"] == ["colour is unknown and was ignored"], path


async def test_probes_tell_life_and_readiness(http: Http, twin: TwinApi) -> None:
    assert (await http("GET", "/livez")).json == {"live": True}
    assert (await http("GET", "/readyz")).json == {"ready": True, "reasons": [], "notes": []}
    twin.reasons.append("the broker is away")
    unready = await http("GET", "/readyz")
    assert unready.status == 503
    assert unready.json["reasons"] == ["the broker is away"]
    assert not unready.json["ready"]


async def test_metrics_count_requests_by_route_and_not_by_path(http: Http) -> None:
    await http("GET", "/services/one")
    await http("GET", "/services/two")
    await http("GET", "/nowhere/three")
    text = (await http("GET", "/metrics")).content.decode()
    route = 'ddstream_http_requests_total{code="404",method="GET",route='
    assert f'{route}"/services/{{name}}"}}' in text
    assert f'{route}"other"}}' in text
    assert "three" not in text
    assert "ddstream_http_seconds_bucket" in text


@pytest.mark.parametrize("path", ["/info", "/services/letters", "/livez", "/docs"])
async def test_head_answers_as_get_without_a_body(http: Http, letters: str, path: str) -> None:
    answer = await http("HEAD", path)
    assert (answer.status, answer.content) == (200, b"")
