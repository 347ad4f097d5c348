"""Every Api: segmenters and readers of texts are taught, answer, and are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddstream.api.parameters import envelope
from ddstream.api.train import TrainRequest
from ddstream.errors import ParameterError
from examples.scenes import Scenes, write_scenes
from tests.conformance.calls import Desk
from tests.words import Words, write_words

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SIDE = 48
SEGFORMER: dict[str, Any] = {
    "template": "segformer",
    "nclasses": 4,
    "template_params": {
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "heads": [1, 1, 2, 2],
        "decoder_hidden_size": 8,
    },
}
CRNN: dict[str, Any] = {
    "template": "crnn",
    "nclasses": None,
    "template_params": {"channels": 16, "hidden_size": 8, "num_layers": 1},
}


@pytest.fixture(scope="module")
def masks(folder: Path) -> tuple[Path, Path]:
    """Lists of a few digits on photographs, with their masks."""
    where = folder / "pixels"
    if where.exists():
        found = (where / "segmentation" / f"{name}.txt" for name in ("train", "test"))
        return next(found), next(found)
    return write_scenes(where, Scenes(train=4, test=2, side=SIDE)).masks


@pytest.fixture(scope="module")
def words(folder: Path) -> tuple[Path, Path]:
    """Lists of a few printed words."""
    where = folder / "letters"
    if where.exists():
        return where / "train.txt", where / "test.txt"
    return write_words(where, Words(train=6, test=3, letters="aé0ß"))


async def train(desk: Desk, data: tuple[Path, Path], measure: str) -> dict[str, Any]:
    solver = {"iterations": 2, "solver_type": "ADAM"}
    body = {
        "service": desk.name,
        "async": False,
        "data": [str(each) for each in data],
        "parameters": {
            "mllib": {"solver": solver, "net": {"batch_size": 2}},
            "output": {"measure": [measure]},
        },
    }
    return dict((await desk.api.train(envelope(TrainRequest, body))).body)


@pytest.mark.promise("services.torch.segmentation", "predict.output.confidences")
async def test_a_segmenter_gives_every_pixel_a_class(desk: Desk, masks: tuple[Path, Path]) -> None:
    connector = {"connector": "image", "width": SIDE, "height": 40, "segmentation": True}
    await desk.create({"parameters": {"input": connector, "mllib": SEGFORMER}})
    told = await train(desk, masks, "acc")
    assert 0 <= told["measure"]["meaniou"] <= told["measure"]["acc"] <= 1
    assert len(told["measures"][0]["cliou"]) == 4
    assert (await desk.api.get_service(desk.name)).body["mltype"] == "segmentation"
    image = masks[1].read_text().split()[0]
    (found,) = (await desk.predict([image], confidences=["best", "2"])).body["predictions"]
    assert found["imgsize"] == {"height": SIDE, "width": SIDE}
    for values in (found["vals"], *found["confidences"].values()):
        assert len(values) == SIDE * SIDE
    assert set(found["confidences"]) == {"best", "2"}
    assert set(found["vals"]) <= {0, 1, 2, 3}
    assert (found["last"], found["classes"]) == (True, [])
    again = await desk.predict([str(masks[1])], measure=["meaniou"])
    assert again.body["measure"] == {"meaniou": pytest.approx(told["measure"]["meaniou"], abs=1e-5)}
    with pytest.raises(ParameterError, match="neither best, all nor one of the classes 0 to 3"):
        await desk.predict([image], confidences=["4"])
    with pytest.raises(ParameterError, match=r"output\.ctc: the service reads no texts"):
        await desk.predict([image], ctc=True)


@pytest.mark.promise("services.torch.ctc", "predict.output.ctc")
async def test_a_reader_gives_every_image_a_text(desk: Desk, words: tuple[Path, Path]) -> None:
    connector = {"connector": "image", "width": 64, "height": 32, "bw": True, "ctc": True}
    await desk.create({"parameters": {"input": connector, "mllib": CRNN}})
    image = words[1].read_text().split()[0]
    with pytest.raises(ParameterError, match=r"waits for its first training: .* no alphabet"):
        await desk.predict([image], ctc=True)
    told = await train(desk, words, "acc")
    assert 0 <= told["measure"]["acc"] <= 1
    service = (await desk.api.get_service(desk.name, labels=True)).body
    assert service["mltype"] == "ctc"
    assert set(service["labels"]) == {"0", *(str(ord(letter)) for letter in "aé0ß")}
    (found,) = (await desk.predict([image], ctc=True)).body["predictions"]
    (text,) = found["classes"]
    assert set(text["cat"]) <= set("aé0ß")
    assert 0 < text["prob"] <= 1
    (found,) = (await desk.predict([image], ctc=True, best=3)).body["predictions"]
    assert len({each["cat"] for each in found["classes"]}) == 3
    again = await desk.predict([str(words[1])], measure=["acc", "cer"])
    assert again.body["measure"]["acc"] == pytest.approx(told["measure"]["acc"])
    with pytest.raises(ParameterError, match=r"output\.bbox"):
        await desk.predict([image], bbox=True)
