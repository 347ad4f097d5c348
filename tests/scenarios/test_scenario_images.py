"""Trainings on images as the reference's suite asks for them (contract 9.2 and 9.3), but short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rest.dd_client import DDCommunicationError
from tests.scenarios.conftest import IMAGES, RESNET, Client, refused, solving

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(600)

ALTERED: dict[str, Any] = {
    "mirror": True,
    "rotate": True,
    "crop_size": 24,
    "test_crop_samples": 2,
    "cutout": 0.5,
    "geometry": {"prob": 0.1, "persp_horizontal": True, "persp_vertical": True, "zoom_in": True},
    "noise": {"prob": 0.01},
    "distort": {"prob": 0.01},
    "dataloader_threads": 4,
}
FULL = ["f1", "acc", "mcll", "cmdiag", "cmfull"]


def values(client: Client, name: str, image: Path) -> Any:
    (found,) = client.predict(name, [image], {"extract_layer": "last"})
    return np.array(found["vals"])


@pytest.mark.promise("services.delete.clear", "train.input.image.test_split")
def test_images_split(client: Client, pets: dict[str, Path]) -> None:
    client.create("split", IMAGES | {"db": True}, RESNET)
    own = {"test_split": 0.25, "shuffle": True, "seed": 12345}
    body = client.train("split", [pets["train"]], solving(3), FULL, **own)
    told = body["measure"]
    assert (told["iteration"], told["train_loss"] <= 3) == (3.0, True)
    assert {"f1", "precision", "recall", "accp", "acc", "mcll"} <= set(told)
    assert not {"cmdiag", "cmfull", "labels", "test_id"} & set(told)
    (measures,) = body["measures"]
    assert measures["test_name"] == "split"
    assert (len(measures["cmdiag"]), measures["labels"]) == (2, ["cats", "dogs"])
    assert [list(each) for each in measures["cmfull"]] == [["cats"], ["dogs"]]
    files = client.files("split")
    assert {"config.json", "model.json", "metrics.json", "corresp.txt", "train.lmdb"} <= files
    assert {"checkpoint-3.npt", "solver-3.pt", "best_model.txt"} <= files
    kept = json.loads((client.repository("split") / "model.json").read_text())
    assert kept["parameters"]["input"]["seed"] == 12345
    client.dd.delete_service("split", clear="lib")
    left = client.files("split")
    assert not [name for name in left if name.startswith(("checkpoint", "solver"))]
    assert not {"config.json", "model.json", "metrics.json"} & left
    assert {"corresp.txt", "train.lmdb"} <= left


@pytest.mark.promise("services.torch.from_repository", "train.torch.crop_size")
def test_images_altered_and_published(client: Client, pets: dict[str, Path]) -> None:
    client.create("altered", IMAGES | {"db": True}, RESNET)
    data = [pets["train"], pets["test"]]
    body = client.train("altered", data, solving(2) | ALTERED, ["acc", "f1"], shuffle=True)
    assert 0 <= body["measure"]["acc"] <= 1
    assert 0 <= body["measure"]["f1"] <= 1
    image = pets["test"] / "cats" / "0.jpg"
    (found,) = client.predict("altered", [image], best=1)
    assert found["uri"] == str(image)
    (only,) = found["classes"]
    assert set(only) == {"last", "prob", "cat"}
    assert (0 < only["prob"] <= 1, only["last"]) == (True, True)
    source = RESNET | {"from_repository": str(client.repository("altered"))}
    client.create("published", IMAGES | {"width": 24, "height": 24}, source)
    files = client.files("published")
    assert {"checkpoint-2.npt", "best_model.txt", "model.json", "config.json"} <= files
    config = json.loads((client.repository("published") / "config.json").read_text())
    inputs = config["parameters"]["input"]
    assert (inputs["width"], inputs["height"], inputs["db"]) == (24, 24, False)
    assert config["model"]["repository"] == str(client.repository("published"))
    assert len(client.predict("published", [image])) == 1


@pytest.mark.promise("train.torch.resume", "services.torch.resume_from")
def test_resume(client: Client, pets: dict[str, Path]) -> None:
    client.create("resumed", IMAGES, RESNET)
    data, image = [pets["train"], pets["test"]], pets["test"] / "dogs" / "1.jpg"
    steps = {"snapshot": 2, "test_interval": 2}
    client.train("resumed", data, solving(3, **steps), ["acc"])
    with pytest.raises(DDCommunicationError) as again:
        client.train("resumed", data, solving(5, **steps), ["acc"])
    assert "a solverstate (solver-xxx.pt) file is present in repo" in refused(again)[2]
    files = client.files("resumed")
    assert {"best_model.txt", "best_model_test_0.txt", "checkpoint-2.npt"} <= files
    assert "best_model_test_1.txt" not in files
    before = values(client, "resumed", image)
    client.dd.delete_service("resumed")
    client.create("resumed", IMAGES, RESNET)
    assert values(client, "resumed", image) == pytest.approx(before, abs=1e-3)
    for kind in ("checkpoint-3.npt", "solver-3.pt"):
        (client.repository("resumed") / kind).unlink()
    body = client.train("resumed", data, solving(4, **steps) | {"resume": True}, ["acc"])
    assert body["measure"]["iteration"] == 4.0
    assert "checkpoint-4.npt" in client.files("resumed")


@pytest.mark.promise("services.torch.ntargets")
def test_regression_on_two_test_sets(client: Client, pets: dict[str, Path]) -> None:
    lists = []
    for name, folder in pets.items():
        images = sorted(folder.rglob("*.jpg"))
        rows = [f"{path} {1.5 + (path.parent.name == 'dogs')} 3\n" for path in images]
        lists.append(folder.parent / f"{name}.txt")
        lists[-1].write_text("".join(rows))
    client.create("numbers", IMAGES | {"db": True}, {"template": "resnet18", "ntargets": 2})
    body = client.train("numbers", lists, solving(2), ["eucll", "l1", "percent"])
    told = body["measure"]
    wanted = {"eucll", "eucll_0", "eucll_1", "l1", "l1_0", "l1_1", "percent", "percent_1"}
    assert wanted <= set(told)
    assert (told["iteration"], told["eucll"] <= 15, told["l1"] <= 15) == (2.0, True, True)
    names = [(each["test_id"], each["test_name"]) for each in body["measures"]]
    assert names == [(0, "test.txt"), (1, "other.txt")]
    files = client.files("numbers")
    assert {"best_model.txt", "best_model_test_0.txt", "best_model_test_1.txt"} <= files
    assert {"train.lmdb", "test_0.lmdb", "test_1.lmdb"} <= files
    (found,) = client.predict("numbers", [pets["test"] / "cats" / "0.jpg"], regression=True)
    assert found["classes"] == []
    assert {each["cat"] for each in found["vector"]} == {"0", "1"}
    first, last = found["vector"]
    assert (first["val"] >= last["val"], last["last"], "last" in first) == (True, True, False)
    assert client.dd.get_service("numbers")["body"]["mltype"] == "regression"


def test_a_training_has_one_kind_of_test_set(client: Client, pets: dict[str, Path]) -> None:
    client.create("both", IMAGES, RESNET)
    with pytest.raises(DDCommunicationError) as both:
        client.train("both", [pets["train"], pets["test"]], solving(1), ["acc"], test_split=0.2)
    assert refused(both) == (
        *(400, 1005),
        "Service Input Error: User specified both a test split 0.2 and a test set",
    )
    with pytest.raises(DDCommunicationError) as none:
        client.train("both", [pets["train"]], solving(1), ["acc"])
    assert refused(none)[:2] == (400, 1006)
    assert "empty test dataset" in refused(none)[2]
    assert client.dd.get_service("both")["body"]["jobs"] == []
