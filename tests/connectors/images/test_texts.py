"""Lists of texts: OCR sets, their alphabet, and how images of texts are aligned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddstream.connectors.images.connector import ImageConnector
from ddstream.data import Datum, Sample
from ddstream.errors import InputError
from ddstream.repository import Repository
from tests.connectors.images.pictures import connector, encoded, photo
from tests.connectors.images.sets import kept, listed, targets

ALPHABET = ["0", *(str(ord(letter)) for letter in "no chéi")]


@pytest.fixture
def read(tmp_path: Path) -> tuple[Path, Path]:
    """Lists of a training set and of a test set; the images have a height of 20 or 40 pixels."""
    for name, height, width in (("a", 20, 50), ("b", 40, 60), ("c", 20, 90)):
        (tmp_path / f"{name}.png").write_bytes(encoded(np.full((height, width, 3), 255, np.uint8)))
    train = tmp_path / "train.txt"
    train.write_bytes("\ufeffa.png no  on \r\n\r\nb.png chéni\r\n".encode())
    return train, listed(tmp_path / "test.txt", "c.png on ice", "a.png noz")


def ids(*data: Any) -> list[list[int]]:
    """Targets as lists."""
    return [each.tolist() for each in data]


@pytest.mark.promise("services.input.image.ctc", "train.data")
@pytest.mark.parametrize("where", [{"ctc": True}, {}])
def test_a_list_of_texts_gives_ids_of_letters_in_order_of_appearance(
    read: tuple[Path, Path], where: dict[str, Any]
) -> None:
    mllib = {} if where else {"ctc": True}
    data = connector(width=40, height=20, **where).datasets(read, mllib)
    assert data.classes == ALPHABET
    assert data.dimensions.vocabulary == 8
    assert ids(*targets(data.train)) == [[1, 2, 3, 3, 2, 1], [4, 5, 6, 1, 7]]
    # What the training texts do not have is no letter that a model could read.
    assert ids(*targets(data.tests[0])) == [[2, 1, 3, 7, 4, 0], [1, 2, 0]]
    assert all(target.dtype == np.int64 for target in targets(data.train))


def test_the_alphabet_is_that_of_all_training_texts_before_a_split(tmp_path: Path) -> None:
    listing = listed(tmp_path / "list.txt", "a.png ab", "a.png bc", "a.png d", "a.png e")
    made = connector(ctc=True, test_split=0.5, shuffle=True, seed=3)
    data = made.datasets([listing], {})
    assert data.classes == ["0", *(str(ord(letter)) for letter in "abcde")]


@pytest.mark.parametrize(
    ("line", "text"), [("a.png", "line 2 of .*: a path of an image and its text are expected")]
)
def test_a_line_without_a_text_is_refused(tmp_path: Path, line: str, text: str) -> None:
    listing = listed(tmp_path / "list.txt", "a.png text", line)
    with pytest.raises(InputError, match=text):
        connector(ctc=True).datasets([listing, listing], {})


def test_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="ctc needs a list file"):
        connector(ctc=True).datasets([folder, folder], {})


def test_a_training_that_goes_on_keeps_its_alphabet(
    read: tuple[Path, Path], tmp_path: Path
) -> None:
    repository = Repository(tmp_path)
    repository.write_classes(ALPHABET)
    made = ImageConnector({"ctc": True, "width": 40, "height": 20}, repository)
    listing = listed(tmp_path / "known.txt", "b.png hi", "b.png no")
    data = made.datasets([listing, read[1]], {"resume": True})
    assert data.classes == ALPHABET
    assert ids(*targets(data.train)) == [[5, 7], [1, 2]]
    other = listed(tmp_path / "other.txt", "b.png ice", "b.png exon")
    with pytest.raises(InputError, match="the model that is to go on has no letters 'ex'"):
        made.datasets([other, read[1]], {"resume": True})


def test_texts_are_measured_at_predict_by_the_alphabet_of_the_training(
    read: tuple[Path, Path], tmp_path: Path
) -> None:
    repository = Repository(tmp_path)
    made = ImageConnector({"ctc": True, "width": 40, "height": 20}, repository)
    with pytest.raises(InputError, match="has not learned an alphabet yet"):
        list(made.labelled(Datum("0", read[1]), {}))
    repository.write_classes(ALPHABET)
    samples = made.labelled(Datum("0", read[1]), {})
    assert ids(*(sample.target for sample in samples)) == [[2, 1, 3, 7, 4, 0], [1, 2, 0]]
    repository.write_classes(["cat", "dog"])
    with pytest.raises(InputError, match="holds no alphabet"):
        list(made.labelled(Datum("0", read[1]), {}))


def test_kept_texts_are_those_of_the_files(read: tuple[Path, Path], tmp_path: Path) -> None:
    disk = kept(tmp_path / "kept", *read, db=True, ctc=True)
    assert disk.classes == tuple(ALPHABET)
    assert disk.dimensions.vocabulary == 8
    assert ids(*targets(disk.train)) == [[1, 2, 3, 3, 2, 1], [4, 5, 6, 1, 7]]


def sizes(samples: Any) -> list[tuple[int, int]]:
    """Where the white of each image ends, on the right and at the bottom of the black canvas."""
    found = []
    for sample in samples:
        rows, columns = np.nonzero(sample.inputs["image"][..., 0])
        assert (rows.min(), columns.min()) == (0, 0)
        found.append((int(rows.max()) + 1, int(columns.max()) + 1))
    return found


def every(data: Any) -> list[Sample]:
    """All samples."""
    return [data.read(index, None) for index in range(len(data))]


@pytest.mark.promise("train.input.image.align")
def test_align_gives_all_images_the_width_of_the_widest_training_image(
    read: tuple[Path, Path],
) -> None:
    data = connector(ctc=True, align=True, width=-1, height=30).datasets(read, {})
    assert (data.dimensions.height, data.dimensions.width) == (30, 75)
    assert {s.inputs["image"].shape for s in every(data.train)} == {(30, 75, 3)}
    assert sizes(every(data.train)) == [(30, 75), (30, 45)]
    # A wider one is squeezed.
    assert sizes(every(data.tests[0])) == [(30, 75), (30, 75)]


@pytest.mark.promise("train.input.image.align")
@pytest.mark.parametrize("db", [False, True])
def test_align_with_a_width_fills_up_to_it(
    read: tuple[Path, Path], tmp_path: Path, db: bool
) -> None:
    raw: dict[str, Any] = {"ctc": True, "align": True, "width": 60, "height": 20, "db": db}
    data = kept(tmp_path / "kept", *read, **raw)
    assert sizes(every(data.train)) == [(20, 50), (20, 30)]
    assert sizes(every(data.tests[0])) == [(20, 60), (20, 50)]


@pytest.mark.promise("train.input.image.align")
@pytest.mark.parametrize("db", [False, True])
def test_how_images_were_aligned_is_known_at_predict(
    read: tuple[Path, Path], tmp_path: Path, db: bool
) -> None:
    folder = tmp_path / "model"
    trained = kept(folder, *read, ctc=True, align=True, width=-1, height=30, db=db)
    assert trained.dimensions.width == 75
    for name, content in trained.files.items():
        (folder / name).write_bytes(content)
    image = tmp_path / "b.png"
    for raw in (
        {"height": 30, "width": -1, "align": True},
        {"align": True, "width": 75, "height": 30},
        {},
    ):
        (sample,) = ImageConnector(raw, Repository(folder)).read(Datum("0", image))
        assert sample.inputs["image"].shape == (30, 75, 3)
        assert sizes([sample]) == [(30, 45)]
    # A training of its own starts anew, and leaves nothing of the old one.
    plain = kept(tmp_path / "model", *read, ctc=True, width=20, height=20)
    assert plain.train.read(0, None).inputs["image"].shape == (20, 20, 3)
    assert {name: json.loads(content) for name, content in plain.files.items()} == {
        "alignment.json": {}
    }
    again = kept(folder, read[1], read[0], ctc=True, align=True, width=-1, height=30)
    assert again.dimensions.width == 135


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"bbox": True}, "align is for ctc"),
        ({"height": -1}, "align needs a height"),
        ({"scale_min": 100}, "align needs a height"),
    ],
)
def test_what_align_cannot_go_with_is_refused(raw: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        connector(align=True, **raw)


def test_align_without_readable_images_is_refused(tmp_path: Path) -> None:
    listing = listed(tmp_path / "list.txt", "gone.png text")
    with pytest.raises(InputError, match="no image of the training set can be read"):
        connector(ctc=True, align=True, width=-1, height=8).datasets([listing, listing], {})


def test_a_photograph_of_a_text_is_augmented_as_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(32, 32)))
    listing = listed(tmp_path / "list.txt", "a.png text")
    mllib = {"noise": {"prob": 0.5}, "distort": {"prob": 0.5}, "geometry": {"prob": 0.5}}
    data = connector(ctc=True, width=32, height=32).datasets([listing, listing], mllib)
    rng = np.random.default_rng(0)
    varied = {data.train.read(0, rng).inputs["image"].tobytes() for _ in range(20)}
    assert len(varied) > 15
    assert ids(data.train.read(0, rng).target) == [[1, 2, 3, 1]]
