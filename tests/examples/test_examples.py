"""The programs of `examples/`, run as their users run them, in their shortest form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[2]


def ran(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.promise("examples.object_detection")
def test_a_detector_learns_and_draws_its_boxes(tmp_path: Path) -> None:
    picture = tmp_path / "boxes.png"
    program = (sys.executable, "-m", "examples.detection.detect")
    said = ran(*program, "--iterations", "6", "--out", str(picture))
    assert "map-50 on scenes that it never saw" in said
    assert cv2.imread(str(picture)).shape == (3 * 288, 4 * 288, 3)  # type: ignore[union-attr]


@pytest.mark.timeout(300)
@pytest.mark.promise("examples.segmentation")
def test_a_segmenter_learns_and_paints_its_pixels(tmp_path: Path) -> None:
    picture = tmp_path / "pixels.png"
    program = (sys.executable, "-m", "examples.segmentation.segment")
    said = ran(*program, "--iterations", "6", "--out", str(picture))
    assert "meaniou on scenes that it never saw" in said
    assert cv2.imread(str(picture)).shape == (2 * 192, 8 * 192, 3)  # type: ignore[union-attr]


@pytest.mark.timeout(300)
@pytest.mark.promise("examples.cli")
def test_the_command_line_alone_trains_and_predicts(tmp_path: Path) -> None:
    said = ran("examples/cli/run.sh", str(tmp_path), "6")
    assert said.count('"event":"prediction"') == 5
    assert (tmp_path / "model" / "run.json").is_file()


@pytest.mark.timeout(300)
@pytest.mark.kafka
@pytest.mark.promise("examples.image_classification")
def test_digits_are_learned_over_rest_and_read_from_a_stream(kafka: str, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    program = ("env", f"DDSTREAM_BOOTSTRAP={kafka}", "DDSTREAM_PREFIX=demo", sys.executable)
    said = ran(*program, "examples/digits/demo.py", "--quick", "--sheet", str(sheet))
    assert "accuracy on held-out scans" in said
    assert sheet.is_file()
