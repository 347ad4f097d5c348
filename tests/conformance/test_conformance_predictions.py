"""Every Api: predictions from paths, folders, base64 and bytes, and how the answer is shaped."""

from __future__ import annotations

import asyncio

import pytest

from ddstream.errors import InputError, NoData, ParameterError
from tests.conformance.calls import Desk, base64_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.promise("predict.service", "predict.data", "predict.output.best")
async def test_paths_are_predicted_in_their_order(desk: Desk) -> None:
    await desk.create()
    uris = [str(path) for path in reversed(desk.images[:5])]
    answer = await desk.predict(uris, best=3)
    assert answer.code == 200
    assert answer.head["method"] == "/predict"
    assert answer.head["service"] == desk.name
    assert answer.head["time"] > 0
    predictions = answer.body["predictions"]
    assert [each["uri"] for each in predictions] == uris
    for each in predictions:
        probabilities = [found["prob"] for found in each["classes"]]
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)
        assert each["loss"] == 0.0
    everything = (await desk.predict(uris[:1], best=-1)).body["predictions"][0]["classes"]
    assert sum(found["prob"] for found in everything) == pytest.approx(1, abs=1e-5)
    assert len((await desk.predict(uris[:1])).body["predictions"][0]["classes"]) == 1


@pytest.mark.promise("predict.base64")
async def test_an_image_is_the_same_as_a_path_as_base64_and_as_bytes(desk: Desk) -> None:
    await desk.create()
    path = desk.images[0]
    by_path = await desk.predict([str(path)], best=-1)
    for content in (base64_of(path), path.read_bytes()):
        answer = await desk.predict([content], best=-1)
        (prediction,) = answer.body["predictions"]
        assert prediction["uri"] == "0"
        assert prediction["classes"] == by_path.body["predictions"][0]["classes"]


async def test_a_folder_gives_a_prediction_for_each_file(desk: Desk) -> None:
    await desk.create()
    answer = await desk.predict([str(desk.folder / "test")])
    uris = [each["uri"] for each in answer.body["predictions"]]
    assert uris == [str(path) for path in desk.images]


@pytest.mark.promise("predict.output.confidence_threshold")
async def test_classes_below_the_threshold_are_left_out(desk: Desk) -> None:
    await desk.create()
    path = str(desk.images[0])
    everything = (await desk.predict([path], best=-1)).body["predictions"][0]["classes"]
    third = everything[2]["prob"]
    (prediction,) = (await desk.predict([path], best=-1, confidence_threshold=third)).body[
        "predictions"
    ]
    assert [found["prob"] for found in prediction["classes"]] == [
        found["prob"] for found in everything if found["prob"] > third
    ]
    (nothing,) = (await desk.predict([path], confidence_threshold=1.0)).body["predictions"]
    assert nothing["classes"] == []


@pytest.mark.promise("output.mustache")
async def test_a_template_renders_the_answer(desk: Desk) -> None:
    await desk.create()
    template = (
        "{{#body}}{{#predictions}}{{uri}}:{{#classes}}{{cat}};{{/classes}}{{/predictions}}{{/body}}"
    )
    path = str(desk.images[0])
    plain = await desk.predict([path], best=2)
    rendered = await desk.predict([path], best=2, template=template)
    cats = "".join(f"{found['cat']};" for found in plain.body["predictions"][0]["classes"])
    assert rendered.for_caller()[1].decode() == f"{path}:{cats}"
    assert rendered.for_caller()[2] == "text/plain; charset=utf-8"
    with pytest.raises(ParameterError):
        await desk.predict([path], template="{{#body}}")


@pytest.mark.promise("errors.code.1001", "errors.code.1005")
async def test_data_that_is_missing_or_no_image_is_refused(desk: Desk) -> None:
    await desk.create()
    with pytest.raises(NoData):
        await desk.predict([])
    broken = desk.folder / "broken.png"
    broken.write_bytes(desk.images[0].read_bytes()[:60])
    for datum in ("/etc/hostname", str(desk.folder / "missing.png"), str(broken), b"no image"):
        with pytest.raises(InputError):
            await desk.predict([datum])
    with pytest.raises(InputError, match=r"broken\.png"):
        await desk.predict([str(desk.images[0]), str(broken)])


@pytest.mark.promise("errors.code.1006")
async def test_a_parameter_that_is_wrong_or_not_supported_is_refused_by_name(desk: Desk) -> None:
    await desk.create()
    path = str(desk.images[0])
    with pytest.raises(ParameterError, match="index_gpu is not supported"):
        await desk.predict([path], index_gpu=True)
    with pytest.raises(ParameterError, match="best"):
        await desk.predict([path], best="all")


async def test_an_option_of_another_task_is_refused_or_named(desk: Desk) -> None:
    await desk.create()
    path = str(desk.images[0])
    with pytest.raises(ParameterError, match="bbox: the service finds no objects"):
        await desk.predict([path], bbox=True)
    answer = await desk.predict([path], best_bbox=3)
    assert answer.head["warnings"] == [
        "parameters.output.best_bbox was ignored: classification has none"
    ]


async def test_calls_side_by_side_get_their_own_answers(desk: Desk) -> None:
    await desk.create()
    alone = [await desk.predict([str(path)], best=-1) for path in desk.images[:8]]
    together = await asyncio.gather(
        *(desk.predict([base64_of(path)], best=-1) for path in desk.images[:8])
    )
    for one, other in zip(alone, together, strict=True):
        expected = one.body["predictions"][0]["classes"]
        found = other.body["predictions"][0]["classes"]
        assert [each["cat"] for each in found] == [each["cat"] for each in expected]
        assert [each["prob"] for each in found] == pytest.approx(
            [each["prob"] for each in expected], abs=1e-3
        )
