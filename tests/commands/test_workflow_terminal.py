"""A training at a terminal: the live view, and Ctrl-C."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from tests.commands.terminal import CTRL_C, at_terminal

ENDLESS = 1_000_000


@pytest.mark.timeout(300)
@pytest.mark.promise("python.cli")
def test_ctrl_c_ends_a_training_that_keeps_its_checkpoint(tmp_path: Path) -> None:
    rows = "\n".join(f"{n % 7},{n % 3},{n % 2}" for n in range(64))
    table, model = tmp_path / "table.csv", tmp_path / "model"
    table.write_text(f"a,b,kind\n{rows}\n")
    words = (
        *("train", "mlp", "--train-data", table, "--test-data", table, "--repository", model),
        *("--nclasses", 2, "--iterations", ENDLESS, "--test-interval", 50),
        *("--poll-interval", 0.1, "--set", "input_parameters.label=kind"),
    )
    with at_terminal("deepdetect", words) as terminal:
        terminal.shows(r"acc +\d")
        terminal.press(CTRL_C)
        assert terminal.ends() == 130
    assert "dataset_check dataset=train" in terminal.shown
    assert re.search(r"training .*/1000000 .* left 0d:\dh:\d+m:\d+s", terminal.shown)
    assert "run_finished status=terminated" in terminal.shown
    assert "Traceback" not in terminal.shown
    run = orjson.loads((model / "run.json").read_bytes())
    assert run["status"] == "terminated"
    (checkpoint, *_) = sorted(model.glob("checkpoint-*.npt"), reverse=True)
    assert (model / checkpoint.name.replace("checkpoint", "solver")).with_suffix(".pt").exists()
    assert (model / "curves.png").exists()
