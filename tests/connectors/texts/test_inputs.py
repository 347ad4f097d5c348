"""What a text is given as: strings, bytes, files, folders, lines; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddstream.connectors.protocol import Limits
from ddstream.connectors.texts import corpus
from ddstream.connectors.texts.connector import TextConnector
from ddstream.data import Datum
from ddstream.errors import InputError
from ddstream.repository import Repository
from ddstream.roots import Roots
from tests.connectors.texts.sets import WORDS, connector, made, read, written

RAW: dict[str, Any] = {"characters": True, "alphabet": "abcé", "sequence": 3, "read_forward": True}


@pytest.fixture
def used(tmp_path: Path) -> TextConnector:
    """A connector of three characters, each one-hot among four."""
    return connector(tmp_path / "repository", **RAW)


def spelled(used: TextConnector, content: str | bytes | Path, uri: str = "0") -> dict[str, str]:
    """The characters of each sample, by its uri."""
    found = {}
    for sample in read(used, content, uri):
        rows = sample.inputs["row"].reshape(3, 4)
        found[sample.uri] = "".join("abcé"[r.argmax()] for r in rows if r.any())
    return found


def test_strings_and_bytes_are_texts(used: TextConnector) -> None:
    assert spelled(used, "abc", "7") == {"7": "abc"}
    assert spelled(used, "cé".encode(), "http://host/x") == {"http://host/x": "cé"}
    assert spelled(used, "") == {"0": ""}


def test_a_file_is_one_text(used: TextConnector, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ca\nb")
    assert spelled(used, tmp_path / "a.txt", "a.txt") == {"a.txt": "ca"}


def test_a_folder_is_a_text_a_file_sorted_by_name(used: TextConnector, tmp_path: Path) -> None:
    (tmp_path / "set" / "deep").mkdir(parents=True)
    for name, text in (("b.txt", "b"), ("a.txt", "a"), ("deep/c.txt", "c"), (".hidden", "a")):
        (tmp_path / "set" / name).write_text(text)
    found = spelled(used, tmp_path / "set", "texts")
    assert list(found.items()) == [
        ("texts/a.txt", "a"),
        ("texts/b.txt", "b"),
        ("texts/deep/c.txt", "c"),
    ]
    url = f"file://{tmp_path}/set"
    assert next(iter(spelled(used, tmp_path / "set", url))) == str(tmp_path / "set" / "a.txt")


@pytest.mark.promise("predict.input.txt.sentences", "services.input.txt.sentences")
def test_with_sentences_every_line_is_a_text(tmp_path: Path) -> None:
    used = connector(tmp_path, sentences=True, **RAW)
    assert spelled(used, "ab\n \nc\r\n", "0") == {"0 #1": "ab", "0 #3": "c"}
    assert spelled(used, "abc", "0") == {"0": "abc"}
    (tmp_path / "lines").write_text("a\nb\n")
    assert spelled(used, tmp_path / "lines", "lines") == {"lines #1": "a", "lines #2": "b"}
    assert spelled(used, tmp_path / "lines")
    plain = connector(tmp_path, **{**RAW, "sentences": False})
    assert spelled(plain, "ab\nc", "0") == {"0": "ab"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("é".encode(), "é"),
        ("é".encode("utf-8-sig"), "é"),
        ("é".encode("iso-8859-1"), "é"),
        (b"\xff\xfea", "ÿþa"),
    ],
)
def test_bytes_are_utf_8_or_else_latin(content: bytes, text: str) -> None:
    assert corpus.decoded(content, "x") == text


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_characters="\0\ufeff", codec="utf-8")))
def test_texts_come_back_from_their_bytes(text: str) -> None:
    assert corpus.decoded(text.encode(), "x") == text
    assert corpus.decoded(text.encode("utf-8-sig"), "x") == text


def test_bytes_of_zero_are_no_text(used: TextConnector, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(InputError, match=r"image\.png is no text"):
        read(used, tmp_path / "image.png", "image.png")
    with pytest.raises(InputError, match=r"UTF-16 is not read"):
        read(used, "abc".encode("utf-16"), "x")


def test_what_is_no_text_is_refused(used: TextConnector, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is an array, not a text"):
        list(used.read(Datum("0", np.zeros(3))))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no text could be found: nothing"):
        read(used, tmp_path / "empty", "nothing")
    with pytest.raises(InputError, match="gone does not exist"):
        read(used, tmp_path / "gone", "gone")


def test_a_text_of_gigabytes_is_refused_by_its_size(used: TextConnector, tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate(corpus.LONGEST_TEXT + 1)
    with pytest.raises(InputError, match="long has more than 64 MiB: is it one of `sentences`"):
        read(used, tmp_path / "long", "long")


def test_files_outside_the_roots_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abc")
    (tmp_path / "in" / "set").mkdir(parents=True)
    (tmp_path / "in" / "set" / "link").symlink_to(tmp_path / "secret")
    limits = Limits(Roots((tmp_path / "in",)))
    inside = TextConnector(RAW, Repository(tmp_path), limits)
    for content in (tmp_path / "secret", tmp_path / "in" / "set"):
        with pytest.raises(InputError, match=r"below"):
            list(inside.read(Datum("x", content)))
    with pytest.raises(InputError, match="not below"):
        inside.datasets([tmp_path / "in" / "set", tmp_path / "in" / "set"], {})


def test_a_measure_reads_class_folders_by_the_names_of_the_training(tmp_path: Path) -> None:
    data = written(tmp_path / "set")
    made(tmp_path / "repository", data, data, **WORDS)
    test = written(tmp_path / "test", {"metal": ["copper"], "stone": ["flint"]})
    used = connector(tmp_path / "repository")
    (sample,) = used.labelled(Datum("test", test), {})
    assert sample.target == 1
    assert sample.uri == str(test / "metal" / "0.txt")
    assert sample.inputs["row"].sum() == 1
    for content in ("copper", test / "metal" / "0.txt"):
        with pytest.raises(InputError, match="0 has no labels: a folder of classes"):
            list(used.labelled(Datum("0", content), {}))
    with pytest.raises(InputError, match="has no class folders"):
        list(used.labelled(Datum("0", test / "metal"), {}))
