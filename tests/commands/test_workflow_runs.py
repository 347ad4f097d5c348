"""A whole run from the command line: trained, resumed, looked at, predicted with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import orjson
import pytest
import yaml
from sklearn.datasets import load_wine

from tests.commands.conftest import Command, Said

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Ground:
    """Files of a run."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def lines(self, name: str) -> list[dict[str, object]]:
        text = (self.model / name).read_text()
        return [orjson.loads(line) for line in text.splitlines()]

    def training(self, iterations: int, *more: object) -> list[object]:
        """The words of a training of these iterations."""
        options = self.folder / "wine.yaml"
        options.write_text(yaml.safe_dump(OPTIONS))
        data = (self.folder / "train.csv", self.folder / "test.csv")
        return [
            *("train", "mlp", "--config", options, "--repository", self.model),
            *("--train-data", data[0], "--test-data", data[1], "--iterations", iterations),
            *("--poll-interval", 0.05, *more),
        ]


OPTIONS = {
    "nclasses": 3,
    "batch_size": 16,
    "test_interval": 10,
    "base_lr": 0.01,
    "input_parameters": {"label": "kind", "scale": True},
    "service_mllib": {"template_params": {"layers": [8]}},
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    ground = Ground(tmp_path_factory.mktemp("wine"))
    wine = load_wine()
    rows = [
        ",".join([*(f"{value:.6g}" for value in values), str(kind)])
        for values, kind in zip(wine.data, wine.target, strict=True)
    ]
    head = ",".join([*(f"c{number}" for number in range(wine.data.shape[1])), "kind"])
    for name, chosen in (("train", rows[::2]), ("test", rows[1::2])):
        (ground.folder / f"{name}.csv").write_text("\n".join([head, *chosen]) + "\n")
    return ground


@pytest.fixture(scope="module")
def trained(deepdetect: Command, ground: Ground) -> Said:
    return deepdetect(*ground.training(25))


@pytest.fixture(scope="module")
def before(trained: Said, ground: Ground) -> dict[str, bytes]:
    """The files of the first run, before any other."""
    assert trained.code == 0, trained
    return {file.name: file.read_bytes() for file in ground.model.iterdir() if file.is_file()}


@pytest.mark.promise("python.cli")
def test_a_run_tells_of_itself_from_start_to_end(
    trained: Said, before: dict[str, bytes], ground: Ground
) -> None:
    assert trained.err == ""
    names = list(dict.fromkeys(event["event"] for event in trained.events))
    assert names[:2] == ["run_started", "dataset_check"]
    assert set(names[2:4]) == {"training_status", "metric"}
    told = {"event", "timestamp", "run_id", "run_name", "run_dir", "resume"}
    assert (set(trained.events[0]), trained.events[0]["resume"]) == (told, None)
    assert names[-2:] == ["artifact", "run_finished"]
    train, test = trained.of("dataset_check")
    assert (train["samples"], train["columns"], test["samples"]) == (89, 14, 89)
    end = trained.events[-1]
    assert end["status"] == "finished"
    assert end["measure"]["acc"] > 0.5
    assert trained.of("training_status")[-1]["measures"][0]["test_name"] == "test.csv"


def test_every_point_of_a_run_is_kept(before: dict[str, bytes], trained: Said) -> None:
    lines = [orjson.loads(line) for line in before["metrics.jsonl"].splitlines()]
    assert lines == trained.of("metric")
    places: dict[str, list[int]] = {}
    for line in lines:
        places.setdefault(line["name"], []).append(line["iteration"])
    assert places["train_loss"] == places["learning_rate"] == list(range(25))
    assert places["acc"] == places["acc_test0"] == [10, 20, 25]


def test_the_folder_of_a_run_has_its_documents(before: dict[str, bytes], trained: Said) -> None:
    run = orjson.loads(before["run.json"])
    assert (run["run_name"], run["command"], run["model"]) == ("model", "train", "mlp")
    assert (run["status"], run["job"]) == ("finished", 1)
    assert run["last_status"] == trained.events[-1]
    assert run["options"]["batch_size"] == 16
    observed = orjson.loads(before["training-observability.json"])
    assert observed["metrics"]["train_loss"]["points"] == 25
    (artifact,) = [orjson.loads(line) for line in before["artifacts.jsonl"].splitlines()]
    assert (artifact["kind"], Path(artifact["path"]).name) == ("curves", "curves.png")
    assert cv2.imread(artifact["path"]) is not None
    assert yaml.safe_load(before["config.yaml"])["input_parameters"]["label"] == "kind"


@pytest.mark.promise("python.cli")
def test_a_run_goes_on_from_its_checkpoint(
    before: dict[str, bytes], deepdetect: Command, ground: Ground
) -> None:
    options = ground.model / "config.yaml"
    words = ("train", "mlp", "--config", options, "--iterations", 32, "--poll-interval", 0.05)
    resumed = deepdetect(*words, "--resume", "latest", ddstream=True)
    assert resumed.code == 0, resumed
    assert resumed.events[0]["resume"] == "latest"
    (replayed,) = resumed.of("history_replayed")
    assert (replayed["iteration"], replayed["points"]) == (
        25,
        len(before["metrics.jsonl"].splitlines()),
    )
    losses = [event for event in resumed.of("metric") if event["name"] == "train_loss"]
    assert [event["iteration"] for event in losses] == list(range(25, 32))
    kept = [line for line in ground.lines("metrics.jsonl") if line["name"] == "train_loss"]
    assert [line["iteration"] for line in kept] == list(range(32))
    tests = [line for line in ground.lines("metrics.jsonl") if line["name"] == "acc"]
    assert [line["iteration"] for line in tests] == [10, 20, 25, 30, 32]
    assert resumed.events[-1]["run_id"] != orjson.loads(before["run.json"])["run_id"]


def test_the_status_of_a_run_is_asked_for(
    before: dict[str, bytes], deepdetect: Command, ground: Ground
) -> None:
    status = deepdetect("job", "status", ground.model)
    told = orjson.loads(status.out)
    assert (status.code, told["status"], told["model"]) == (0, "finished", "mlp")
    assert told["metrics"]["acc"]["points"] >= 3
    by_file = deepdetect("job", "status", ground.model / "run.json", "--output-format", "text")
    assert "status       finished" in by_file.out
    missing = deepdetect("job", "status", ground.folder)
    assert (missing.code, missing.out) == (1, "")
    assert missing.err == f"FileNotFoundError: there is no run at {ground.folder}\n"


@pytest.mark.promise("python.cli")
def test_predictions_are_told_kept_and_timed(
    before: dict[str, bytes], deepdetect: Command, ground: Ground
) -> None:
    table, out = ground.folder / "test.csv", ground.folder / "out"
    words = ("mlp", table, table, "--repository", ground.model, "--output", out)
    done = deepdetect("predict", *words, "--benchmark", "--warmup", 1, ddstream=True)
    assert (done.code, done.err) == (0, "")
    events = orjson.loads(done.out)
    predictions = [event for event in events if event["event"] == "prediction"]
    assert len(predictions) == 2 * 89
    assert all(event["time_ms"] > 0 for event in predictions)
    assert predictions[0]["prediction"]["classes"][0]["cat"] in {"0", "1", "2"}
    benchmark = events[-1]
    assert (benchmark["images"], benchmark["batch_size"], benchmark["warmup"]) == (2, 1, 1)
    assert benchmark["min_batch_ms"] <= benchmark["median_batch_ms"] <= benchmark["max_batch_ms"]
    kept = (out / "predictions.jsonl").read_text().splitlines()
    assert [orjson.loads(line) for line in kept] == predictions


def test_weights_alone_are_enough_to_predict(
    before: dict[str, bytes], deepdetect: Command, ground: Ground, tmp_path: Path
) -> None:
    weights = tmp_path / "best.npt"
    weights.write_bytes(before["checkpoint-25.npt"])
    listed = tmp_path / "list.txt"
    listed.write_text(f"{ground.folder / 'test.csv'}\n")
    # What describes the model is taken from the repository, the weights from elsewhere.
    both = deepdetect(
        *("infer", "mlp", "--images-file", listed, "--weights", weights),
        *("--repository", ground.model, "--output-format", "jsonl"),
    )
    assert (both.code, both.err) == (0, "")
    assert len(both.events) == 89
    assert not (ground.model / "best.npt").exists()


def test_what_could_not_be_trained_ends_with_1(deepdetect: Command, ground: Ground) -> None:
    with (ground.folder / "broken.csv").open("w") as table:
        table.write("a,kind\n1,2\n3\n")
    other = ground.folder / "other"
    words = [*ground.training(5), "--train-data", ground.folder / "broken.csv"]
    done = deepdetect(*words, "--repository", other)
    assert done.code == 1
    assert done.err.startswith("DataSetError: train: 1 faults: line 3 of ")
    assert (done.events[-1]["event"], done.events[-1]["status"]) == ("run_finished", "error")
    assert orjson.loads((other / "run.json").read_bytes())["status"] == "error"
    refused = deepdetect(*ground.training(5), "--repository", other, "--set", "ntargets=2.5")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("ValueError: ntargets is wrong")


def test_an_error_of_the_api_tells_its_codes(deepdetect: Command, ground: Ground) -> None:
    words = ("--repository", ground.folder / "third", "--set", "service_mllib.template_params.x=1")
    done = deepdetect(*ground.training(5), *words)
    assert done.code == 1
    assert done.err.startswith("DeepDetect error: status=400 dd_code=1006 message=Service Bad")
    assert "there is: " in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train",), "Missing argument 'NAME'"),
        (("train", "yolo", "--iterations", "1"), "there is no template yolo"),
        (("infer", "vitpose", "a.png"), "vitpose is not available on Torch"),
        (("train", "mlp", "--iterations", "many"), "Invalid value for '--iterations'"),
        (("train", "mlp", "--resume", "first"), "Invalid value for '--resume'"),
        (("train", "mlp", "--colour", "red"), "No such option"),
        (("train", "mlp", "--visdom-server", "http://there"), "No such option"),
        (("infer", "mlp", "--output-format", "xml"), "Invalid value for '--output-format'"),
    ],
)
def test_wrong_words_end_with_2(deepdetect: Command, words: tuple[str, ...], said: str) -> None:
    done = deepdetect(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_what_needs_visdom_is_refused(deepdetect: Command, ground: Ground) -> None:
    done = deepdetect(*ground.training(5), "--visdom")
    assert (done.code, done.out) == (2, "")
    assert "there is no visdom here" in done.err
    assert deepdetect(*ground.training(5), "--visdom-save").code == 2


def test_only_a_repository_is_emptied(deepdetect: Command, ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    done = deepdetect(*ground.training(5), "--repository", tmp_path, "--repository-override")
    assert (done.code, done.err) == (
        1,
        f"ValueError: --repository-override: {tmp_path} is no repository of a model\n",
    )
    (ground.folder / "run.json").write_text("{}")
    done = deepdetect(*ground.training(5), "--repository", ground.folder, "--repository-override")
    (ground.folder / "run.json").unlink()
    assert f"--repository-override would remove {ground.folder / 'train.csv'}" in done.err
    assert (tmp_path / "letters.txt").exists()


def test_nothing_is_resumed_where_nothing_was_begun(
    deepdetect: Command, ground: Ground, tmp_path: Path
) -> None:
    done = deepdetect(*ground.training(5), "--repository", tmp_path, "--resume", "best")
    assert done.code == 1
    assert "--resume best: there is no checkpoint of a training" in done.err
