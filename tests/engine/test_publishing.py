"""Repositories that follow each other: a service made from the best model of another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ddstream import DeepDetect
from ddstream.errors import ParameterError
from ddstream.face.failures import DeepDetectError
from ddstream.repository import Repository
from tests.digits import write_digits

MLLIB = {"template": "resnet18", "nclasses": 10}


@pytest.fixture(scope="module")
def dd() -> Iterator[DeepDetect]:
    with DeepDetect() as dd:
        yield dd


def created(dd: DeepDetect, folder: Path, side: int, **mllib: Any) -> Any:
    return dd.create_service(
        folder.name,
        model={"repository": str(folder), "create_repository": True},
        mllib="torch",
        input_parameters={"connector": "image", "width": side, "height": side, "db": True},
        mllib_parameters={**MLLIB, **mllib},
    )


@pytest.mark.promise("services.torch.from_repository")
def test_a_service_is_made_from_the_best_model_of_another_one(
    dd: DeepDetect, tmp_path: Path
) -> None:
    data = write_digits(tmp_path / "digits", train=2, test=1)
    picture = str(next(data[1].glob("*/*.png")))
    with created(dd, tmp_path / "source", 40) as source:
        source.train(
            [str(folder) for folder in data],
            input_parameters={"db": False},
            mllib_parameters={
                "solver": {"iterations": 2, "test_interval": 1, "snapshot": 1},
                "net": {"batch_size": 8},
                "crop_size": 32,
            },
            output_parameters={"measure": ["acc"]},
        )
    target = tmp_path / "target"
    with created(dd, target, 32, from_repository=str(tmp_path / "source")) as service:
        found = service.predict([picture], output_parameters={"best": 10})["predictions"]
    best = Repository(tmp_path / "source").select("best")
    assert best is not None
    names = {file.name for file in target.iterdir()}
    assert {best.weights.name, "best_model.txt", "config.json", "model.json"} <= names
    assert {"corresp.txt", "architecture.json", "best_model_test_0.txt"} <= names
    assert not any(name.startswith("solver-") for name in names)
    assert len([name for name in names if name.startswith("checkpoint-")]) == 1
    config = orjson.loads((target / "config.json").read_bytes())
    assert config["model"]["repository"] == str(target)
    images = config["parameters"]["input"]
    assert (images["width"], images["height"], images["db"]) == (32, 32, False)
    # What was published answers as its source does.
    with created(dd, tmp_path / "source", 32, resume_from="best") as source:
        again = source.predict([picture], output_parameters={"best": 10})["predictions"]
    assert found[0]["classes"] == again[0]["classes"]


def test_a_repository_without_a_model_is_not_published(dd: DeepDetect, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DeepDetectError, match="no model to copy") as refused:
        created(dd, tmp_path / "target", 32, from_repository=str(tmp_path / "empty"))
    assert isinstance(refused.value.__cause__, ParameterError)


@pytest.mark.parametrize("source", ["/nowhere/at/all", "\0", __file__, 5, True, ["/tmp"]])
def test_what_is_no_repository_is_not_copied(dd: DeepDetect, tmp_path: Path, source: Any) -> None:
    with pytest.raises(DeepDetectError, match=r"from_repository|destination") as refused:
        created(dd, tmp_path / "target", 32, from_repository=source)
    assert refused.value.dd_code == 1006
    assert not (tmp_path / "target").exists()


def test_a_model_that_a_head_completes_is_published_with_it(tmp_path: Path) -> None:
    source, target = (Repository.open(tmp_path / name, create=True) for name in ("a", "b"))
    for name in ("base.pt", "checkpoint-1.pt", "checkpoint-1.ptw", "checkpoint-2.pt", "bounds.dat"):
        source.write(name, name.encode())
    source.write("best_model.txt", b"iteration:1\nacc:0.5\n")
    source.publish(target)
    names = {file.name for file in target.path.iterdir()}
    assert names == {"checkpoint-1.pt", "checkpoint-1.ptw", "best_model.txt", "bounds.dat"}
