"""What people see of a run: lines, curves in characters and in pictures, drawn predictions."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest
from rich.console import Console

from ddstream.commands.workflow.curves import draw, grouped
from ddstream.commands.workflow.events import Events, Format, Printer
from ddstream.commands.workflow.live import LiveView
from ddstream.commands.workflow.pictures import chosen
from ddstream.commands.workflow.pictures import draw as draw_all
from ddstream.commands.workflow.plots import curve, sparkline
from ddstream.data import Array
from ddstream.outputs.drawing import captions, drawn

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def lines(form: Format) -> list[str]:
    said: list[str] = []
    printer = Printer(form, said.append)
    events = Events([printer])
    events("run_started", run_id="1", run_name="one", resume=None)
    boxes = [{"cat": "dog", "prob": 0.123456789, "bbox": {"xmin": 1.0}}]
    events("prediction", image="a.png", prediction={"uri": "a.png", "classes": boxes})
    printer.close()
    return said


def test_events_are_lines_or_one_array() -> None:
    (array,) = lines("json")
    each = [orjson.loads(line) for line in lines("jsonl")]
    names = [event["event"] for event in each]
    assert names == [event["event"] for event in orjson.loads(array)]
    assert set(each[0]) == {"event", "timestamp", "run_id", "run_name", "resume"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each[0]["timestamp"])


def test_events_are_readable_as_text() -> None:
    started, prediction = lines("text")
    assert re.fullmatch(r"\d\d:\d\d:\d\d run_started run_name=one", started)
    told = "image=a.png prediction={classes=[{cat=dog prob=0.123457 bbox={xmin=1}}]}"
    assert prediction.endswith(told)


def test_a_curve_has_no_gaps_and_its_extremes_are_its_edges() -> None:
    rows = curve([0.0, 1.0, 0.0], 10, 4)
    assert [len(row) for row in rows] == [10] * 4
    assert all(character != "\N{BRAILLE PATTERN BLANK}" for character in rows[-1][:1])
    filled = [
        "".join(column).strip("\N{BRAILLE PATTERN BLANK}") for column in zip(*rows, strict=True)
    ]
    assert all(filled)
    assert sparkline([5, 5], 10) == "▅▅"
    assert sparkline(range(1000), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([], 8) == ""


@pytest.fixture
def terminal() -> Iterator[tuple[LiveView, io.StringIO]]:
    text = io.StringIO()
    view = LiveView(4, Console(file=text, force_terminal=True, width=100, height=40))
    yield view, text
    view.close()


@pytest.mark.promise("python.cli")
def test_the_live_view_shows_progress_measures_and_the_time_left(
    terminal: tuple[LiveView, io.StringIO],
) -> None:
    view, text = terminal
    events = Events([view])
    events("run_started", run_name="one")
    events("dataset_check", dataset="train", path="[data]", samples=3)
    for iteration, value in enumerate((2.0, 1.5, 1.25)):
        events("metric", name="train_loss", value=value, iteration=iteration)
    for name in ("acc", "acc_test0"):
        events("metric", name=name, value=0.75, iteration=2)
    measure = {"state": "training", "remain_time_str": "0d:0h:0m:7s"}
    events("training_status", status="running", measure=measure)
    view.close()
    shown = ESCAPES.sub("", text.getvalue())
    assert "dataset_check dataset=train path=[data] samples=3" in shown
    assert "3/4" in shown
    assert "left 0d:0h:0m:7s" in shown
    assert re.search(r"train_loss +1\.25 +1\.25 +2 +█▃▁", shown)
    assert re.search(r"acc +0\.75", shown)
    assert "acc_test0" not in shown


def test_curves_are_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    assert not draw({"elapsed_time_ms": [(0, 1.0)]}, "none", path)
    points = {"train_loss": [(n, 1 / (n + 1)) for n in range(9)], "acc": [(4, 0.5), (9, 0.6)]}
    assert draw(points, "a $run$", path)
    assert read(path).std() > 1


def test_a_plot_has_the_test_sets_of_its_measure() -> None:
    series = [(1, 0.5)]
    both = {"acc": series, "acc_test0": series, "acc_test1": series, "loss": series}
    assert grouped(both) == {
        "acc": {"acc": series, "acc_test0": series, "acc_test1": series},
        "loss": {"loss": series},
    }
    assert grouped({"acc": series, "acc_test0": series}) == {"acc": {"acc": series}}


def read(path: Path) -> Array:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None
    return image


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photograph.png"
    assert cv2.imwrite(str(path), np.full((200, 300, 3), 100, np.uint8))
    return path


def differing(photograph: Path, prediction: dict[str, Any]) -> Array:
    """Which pixels of the drawing differ from the image, H x W."""
    picture = cv2.imdecode(np.frombuffer(drawn(photograph, prediction), np.uint8), 1)
    assert picture is not None
    assert picture.shape == (256, 384, 3)
    return np.asarray((picture != 100).any(axis=2))


def test_boxes_are_drawn_where_they_are(photograph: Path) -> None:
    box = {"xmin": 150.0, "ymin": 50.0, "xmax": 250.0, "ymax": 150.0}
    found = differing(photograph, {"classes": [{"cat": "dog", "prob": 0.9, "bbox": box}]})
    # The picture is 1.28 times as large: text needs room.
    assert found[64:192, 192].all()
    assert found[192, 192:320].all()
    assert not found[200:].any()
    assert not found[100:180, 200:310].any()


def test_masks_are_painted_but_for_the_background(photograph: Path) -> None:
    mask = np.zeros((200, 300))
    mask[:100, :150] = 3
    size = {"height": 200, "width": 300}
    found = differing(photograph, {"vals": mask.ravel().tolist(), "imgsize": size})
    assert found[:128, :192].all()
    assert not found[129:].any()


def test_what_has_no_place_is_written(photograph: Path) -> None:
    classes = [{"cat": f"c{n}", "prob": 0.5} for n in range(9)]
    assert captions({"classes": classes}) == [f"c{n} 0.500" for n in range(5)]
    assert captions({"vector": [{"cat": "0", "val": 2.5}]}) == ["0: 2.5"]
    assert differing(photograph, {"classes": classes})[:100].any()


def test_an_image_that_cannot_be_drawn_is_passed_over(photograph: Path, tmp_path: Path) -> None:
    said: list[str] = []
    events = Events([Printer("jsonl", said.append)])
    gone = {"uri": "http://far/away.png", "classes": []}
    draw_all([gone, {"uri": str(photograph), "classes": []}], tmp_path / "out", events, "picture")
    warning, artifact = (orjson.loads(line) for line in said)
    assert (warning["event"], warning["sink"]) == ("sink_warning", "pictures")
    assert artifact["path"] == str(tmp_path / "out" / "0001-photograph.png")
    assert Path(artifact["path"]).exists()


def test_images_are_chosen_by_a_seed(tmp_path: Path, photograph: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{photograph} 1\nmissing.png 2\n" * 20)
    assert chosen([listed], 3, seed=0) == [photograph] * 3
    for name in range(20):
        (tmp_path / "set" / "cat").mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / "cat" / f"{name}.png").touch()
    first, again, other = (chosen([tmp_path / "set"], 5, seed=seed) for seed in (1, 1, 2))
    assert len(first) == 5
    assert first == again != other
