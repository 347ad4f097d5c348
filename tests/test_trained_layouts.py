"""Boxes, masks and texts, from their lists to a report: what only the train call says is enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ddstream import DeepDetect
from examples.scenes import Scenes, write_scenes

# Each starts a process of its own, which is slow where others want the cores.
pytestmark = pytest.mark.timeout(300)
SIDE = 64
EVERYTHING = {
    "mirror": True,
    "rotate": True,
    "cutout": 0.3,
    "geometry": {"prob": 0.5, "pad_mode": "mirrored", "transl_horizontal": True},
    "noise": {"prob": 0.1},
    "distort": {"prob": 0.3},
}


@pytest.fixture(scope="module")
def dd() -> Iterator[DeepDetect]:
    with DeepDetect() as dd:
        yield dd


def taught(
    dd: DeepDetect, repository: Path, data: Sequence[Path], mllib: dict[str, Any], **flags: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train two iterations with flags that the service was not made with; the report, and the
    measures of a predict call on the test set."""
    measure = {"measure": flags.pop("measure")}
    with dd.create_service(
        f"s{repository.name}",
        model={"repository": str(repository), "create_repository": True},
        mllib="torch",
        input_parameters={"connector": "image", "width": SIDE, "height": SIDE, "scale": 0.0039},
        mllib_parameters=mllib,
    ) as service:
        report = service.train(
            [str(each) for each in data],
            input_parameters={"shuffle": True, "seed": 1, **flags},
            mllib_parameters={
                "solver": {"iterations": 2, "solver_type": "ADAM"},
                "net": {"batch_size": 3},
                "dataloader_threads": 2,
                **EVERYTHING,
            },
            output_parameters=measure,
        )
        answer = service.predict([str(data[-1])], input_parameters=flags, output_parameters=measure)
    return report["measure"], answer["measure"]


@pytest.mark.promise(
    "train.input.image.bbox",
    "train.input.image.db_width",
    "train.input.image.db_height",
    "train.torch.geometry",
    "train.torch.noise",
    "train.torch.distort",
)
def test_a_detector_learns_from_boxes(dd: DeepDetect, tmp_path: Path) -> None:
    lists = write_scenes(tmp_path / "scenes", Scenes(train=6, test=2, side=96)).boxes
    small = {"depth": 0.33, "width": 0.125}
    mllib = {"template": "yolox", "nclasses": 3, "template_params": small}
    sizes = {"db": True, "db_width": 80, "db_height": 80}
    told, asked = taught(dd, tmp_path / "m", lists, mllib, bbox=True, measure=["map"], **sizes)
    assert np.isfinite(told["train_loss"])
    assert 0 <= told["map"] <= 1
    assert 0 <= asked["map"] <= 1
    assert (tmp_path / "m" / "train.lmdb").is_file()


@pytest.mark.promise("train.input.image.segmentation", "predict.input.image.segmentation")
def test_a_segmenter_learns_from_masks(dd: DeepDetect, tmp_path: Path) -> None:
    lists = write_scenes(tmp_path / "scenes", Scenes(train=6, test=2, side=96)).masks
    small = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2]}
    mllib = {
        "template": "segformer",
        "nclasses": 4,
        "template_params": small | {"decoder_hidden_size": 16},
    }
    told, asked = taught(dd, tmp_path / "m", lists, mllib, segmentation=True, measure=["acc"])
    assert np.isfinite(told["train_loss"])
    assert asked["meaniou"] == pytest.approx(told["meaniou"], abs=1e-6)


@pytest.mark.promise("train.input.image.align")
def test_a_reader_learns_from_texts(dd: DeepDetect, tmp_path: Path) -> None:
    lines = []
    for number, text in enumerate(["no on", "one", "noon", "eon"]):
        picture = np.full((24, 20 * len(text), 3), 255, np.uint8)
        cv2.putText(picture, text, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0))
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        lines.append(f"{number}.png {text}\n")
    listing = tmp_path / "list.txt"
    listing.write_text("".join(lines))
    mllib = {
        "template": "crnn",
        "template_params": {"hidden_size": 16, "num_layers": 1, "channels": 16},
    }
    aligned = {"align": True, "width": -1, "height": 32}
    told, asked = taught(
        dd, tmp_path / "m", [listing, listing], mllib, ctc=True, measure=["acc"], **aligned
    )
    assert np.isfinite(told["train_loss"])
    assert asked["acc"] == pytest.approx(told["acc"])
    letters = [str(ord(letter)) for letter in "no e"]
    lines = (tmp_path / "m" / "corresp.txt").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["0", *letters]
