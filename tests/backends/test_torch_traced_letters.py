"""Traced nets of images that give a feature map, and a crnn of ours that reads texts from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from ddstream.api.envelope import Json
from ddstream.api.parameters import merged
from ddstream.api.predict import OutputParameters
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.backend import TorchBackend
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.connectors.images.connector import ImageConnector
from ddstream.data import Array, Batch, Datum, Progress
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from tests.backends.test_torch_traced import scripted
from tests.backends.trainings import weights

READER: dict[str, Any] = {
    "template": "crnn",
    "ctc": True,
    "finetuning": True,
    "template_params": {"hidden_size": 24, "num_layers": 1, "bidirectional": True},
}
IMAGES: dict[str, Any] = {
    "connector": "image",
    "width": 64,
    "height": 32,
    "ctc": True,
    "scale": 0.0039,
}
TRAINING: dict[str, Any] = {
    "solver": {"iterations": 3, "base_lr": 0.01, "solver_type": "ADAM"},
    "net": {"batch_size": 8},
}
WORDS = ("no", "on", "noon", "one", "eon", "oo")
COLUMNS, ROWS, CHANNELS = 16, 4, 16


class Flat(nn.Module):
    """Numbers of an image, without a place."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


class Counted(nn.Module):
    """A place for each pixel, but no numbers that learn."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.argmax(1, keepdim=True)


class Named(nn.Module):
    """Results by name."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": images}


def backbone() -> nn.Module:
    """A feature map 16 x 4 x 16 of an image of 32 x 64 pixels."""
    torch.manual_seed(0)

    def block(before: int, after: int, pool: nn.Module) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, 3, padding=1)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU(), pool]

    return nn.Sequential(
        *block(3, 8, nn.MaxPool2d(2)),
        *block(8, CHANNELS, nn.MaxPool2d(2)),
        *block(CHANNELS, CHANNELS, nn.MaxPool2d((2, 1))),
    )


def drawn(word: str) -> Array:
    picture = np.full((32, 64, 3), 255, np.uint8)
    cv2.putText(picture, word, (3, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 2)
    return picture


@dataclass(frozen=True)
class Reader:
    """A service of texts in images, without an engine around it."""

    folder: Path
    mllib: Mapping[str, Any]
    input: Mapping[str, Any]

    def over(self, **mllib: Any) -> Reader:
        """The same with other options of `mllib`."""
        return replace(self, mllib={**self.mllib, **mllib})

    def train(self, data: Path, **training: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
        """Train on a list, and test on it; the last test's measures, and warnings."""
        raw = merged(merged(self.mllib, TRAINING), training)
        trainer = TorchTrainer(self._setup())
        found: list[Progress] = list(
            trainer.fit(self._connector().datasets([data, data], raw), raw, ["acc", "cer"])
        )
        assert found[-1].measures is not None
        return found[-1].measures[0], trainer.warnings

    def load(self) -> TorchBackend:
        """The service's model, as it is in the repository now."""
        return TorchBackend(self._setup())

    def ask(self, picture: Array, mllib: Mapping[str, Any] | None = None, **output: Any) -> Json:
        """The prediction of an image."""
        backend, wanted = self.load(), OutputParameters.model_validate({"ctc": True, **output})
        call = backend.call_parameters(merged(self.mllib, mllib or {}), wanted)
        (sample,) = self._connector().read(Datum("0", picture))
        task = backend.task(call)
        (row,) = task.activate(backend.forward(Batch.of([sample]), call))
        return task.decode(row, sample, wanted)

    def text(self, word: str) -> str:
        """What is read where a word is drawn."""
        return str(self.ask(drawn(word))["classes"][0]["cat"])

    @property
    def files(self) -> set[str]:
        """Names in the repository."""
        return {path.name for path in self.folder.iterdir()}

    def head(self, iteration: int) -> dict[str, torch.Tensor]:
        """The weights of the head of a checkpoint."""
        return dict(torch.load(self.folder / f"checkpoint-{iteration}.ptw"))

    def _connector(self) -> ImageConnector:
        return ImageConnector(self.input, Repository(self.folder))

    def _setup(self) -> Setup:
        used = self._connector()
        dimensions = used.dimensions()
        return Setup(self.mllib, used.parameters, Repository(self.folder), dimensions)


@pytest.fixture
def service(tmp_path: Path) -> Reader:
    """A reader whose repository has a traced backbone."""
    return reader(tmp_path / "model", backbone())


def reader(folder: Path, net: nn.Module) -> Reader:
    Repository.open(folder, create=True).write("back.pt", scripted(net))
    return Reader(folder, READER, IMAGES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of words, each several times."""
    folder = tmp_path_factory.mktemp("words")
    for word in WORDS:
        assert cv2.imwrite(str(folder / f"{word}.png"), drawn(word))
    (folder / "list.txt").write_text("".join(f"{word}.png {word}\n" for word in WORDS * 2))
    return folder / "list.txt"


@pytest.mark.promise("services.torch.ctc", "services.torch.finetuning", "templates.crnn")
def test_a_traced_backbone_learns_to_read(service: Reader, data: Path) -> None:
    waiting = service.load()
    assert (waiting.mltype, waiting.trained) == ("ctc", False)
    with pytest.raises(ParameterError, match=r"waits for its first training: .* no alphabet yet"):
        service.text("no")
    found, warned = service.train(data, solver={"iterations": 400})
    assert (found["acc"], found["cer"], warned) == (1, 0, [])
    assert {"back.pt", "checkpoint-400.pt", "checkpoint-400.ptw", "corresp.txt"} <= service.files
    assert set(weights(service.folder / "checkpoint-400.pt")) == set(backbone().state_dict())
    assert {name.split(".")[0] for name in service.head(400)} == {"lstm", "projection"}
    assert service.load().trained
    assert [service.text(word) for word in WORDS] == list(WORDS)
    texts = service.ask(drawn("noon"), best=3)["classes"]
    assert (texts[0]["cat"], len({each["cat"] for each in texts})) == ("noon", 3)
    (repeated,) = service.ask(drawn("noon"), blank_label=-1)["classes"]
    assert set(repeated["cat"]) > set("no")


@pytest.mark.promise("services.torch.freeze_traced")
@pytest.mark.parametrize("frozen", [True, False])
def test_the_traced_net_learns_unless_it_is_frozen(
    service: Reader, data: Path, frozen: bool
) -> None:
    service = service.over(freeze_traced=frozen)
    service.train(data, solver={"iterations": 2, "snapshot": 1})
    before = weights(service.folder / "back.pt")
    after = weights(service.folder / "checkpoint-2.pt")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == (set(before) if frozen else set())
    first, second = service.head(1), service.head(2)
    assert not any(torch.equal(first[name], second[name]) for name in first)
    learnt = sum(each.numel() for each in backbone().parameters())
    stats = service.load().stats()
    assert stats.params == learnt + sum(each.numel() for each in first.values())
    assert stats.frozen_params == (learnt if frozen else 0)


@pytest.mark.promise("train.torch.resume")
def test_a_training_goes_on_from_its_checkpoint(service: Reader, data: Path) -> None:
    service.train(data)
    head = service.head(3)
    with pytest.raises(ParameterError, match="requires a resume argument"):
        service.train(data)
    found, _ = service.train(data, solver={"iterations": 4}, resume=True)
    assert found["iteration"] == 4
    later = service.head(4)
    assert all(0 < (head[name] - later[name]).abs().max() < 0.05 for name in head)


def test_a_trained_reader_needs_no_word_of_finetuning(
    service: Reader, data: Path, tmp_path: Path
) -> None:
    service.train(data)
    told = service.ask(drawn("no"))
    assert service.over(finetuning=False).ask(drawn("no")) == told
    (tmp_path / "copy").mkdir()
    Repository(service.folder).publish(Repository(tmp_path / "copy"))
    copy = replace(service, folder=tmp_path / "copy")
    assert copy.ask(drawn("no")) == told
    assert "back.pt" not in copy.files


def test_another_alphabet_gets_a_new_head(service: Reader, data: Path) -> None:
    service.train(data)
    for name in ("architecture.json", "corresp.txt"):
        (service.folder / name).unlink()
    other = service.over(nclasses=9)
    backend = other.load()
    assert not backend.trained
    assert backend.warnings[0].startswith("finetuning: not loaded from checkpoint-3.ptw: lstm")
    with pytest.raises(ParameterError, match=r"projection.weight is \[4, 48\] in the file and \[9"):
        other.over(finetuning=False).load()


@pytest.mark.promise("services.torch.timesteps")
@pytest.mark.parametrize(("given", "steps"), [(-1, COLUMNS), (5, 5), (40, 40)])
def test_each_column_is_a_step_unless_timesteps_are_given(
    service: Reader, given: int, steps: int
) -> None:
    service = service.over(nclasses=7, timesteps=given)
    for layer, size in (("last", steps * 7), ("final", CHANNELS * ROWS * COLUMNS)):
        found = service.ask(drawn("no"), {"extract_layer": layer}, ctc=False)
        assert len(found["vals"]) == size


def test_images_that_are_too_small_for_the_net_are_bad_data(service: Reader, data: Path) -> None:
    service.train(data)
    narrow = replace(service, input={**IMAGES, "width": 3})
    with pytest.raises(InputError, match=r"the traced net takes no samples of 32x3x3: .*too small"):
        narrow.ask(drawn("no"))


def test_the_width_of_images_may_be_found_by_the_training(service: Reader, data: Path) -> None:
    aligned = replace(service, input={**IMAGES, "align": True, "width": -1})
    with pytest.raises(ParameterError, match="waits for its first training"):
        aligned.text("noon")
    found, _ = aligned.train(data)
    assert found["iteration"] == 3
    assert isinstance(aligned.text("noon"), str)


def test_images_of_many_sizes_cannot_be_learned(service: Reader, data: Path) -> None:
    loose = replace(service, input={**IMAGES, "width": -1, "height": -1})
    with pytest.raises(ParameterError, match="images of one size: set width and height"):
        loose.train(data)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Flat(), r"reads a feature map, .*: the traced net gives torch.float32 of \(1, 3\)"),
        (Counted(), r"the traced net gives torch.int64 of \(1, 1, 32, 64\)"),
        (Named(), "the model gives a dict, not a tensor"),
        (nn.Conv2d(1, 8, 3), "the traced net takes no samples of 3x32x64"),
        (nn.Conv2d(3, 8, 50), "the traced net takes no samples of 3x32x64"),
    ],
)
def test_a_net_that_gives_no_feature_map_is_refused(
    tmp_path: Path, data: Path, net: nn.Module, reason: str
) -> None:
    service = reader(tmp_path, net)
    with pytest.raises(ParameterError, match=reason):
        service.load()
    with pytest.raises(ParameterError, match=reason):
        service.train(data)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"timesteps": 65}, "timesteps 65 do not fit: images have 64 columns"),
        ({"timesteps": 0}, "timesteps must be -1 or at least 1"),
        ({"channels": 32}, "template_params.channels is of crnn's own backbone"),
        ({"backbone": "resnet"}, "template_params.backbone is of crnn's own backbone"),
        ({"depth": 3}, "unknown template_params: depth"),
        ({"hidden_size": 2**40}, "a crnn of these sizes cannot be"),
    ],
)
def test_what_cannot_be_behind_a_traced_net_is_refused(
    service: Reader, params: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ParameterError, match=reason):
        service.over(nclasses=7, template_params=params).load()


def test_too_few_timesteps_for_the_texts_are_refused(service: Reader, data: Path) -> None:
    with pytest.raises(ParameterError, match="texts of 2 steps are longer than the model's 1"):
        service.over(timesteps=1).train(data)


def test_a_head_of_ours_has_to_be_asked_for(service: Reader) -> None:
    with pytest.raises(ParameterError, match="Only one of these must be provided: traced net"):
        service.over(finetuning=False).load()
    with pytest.raises(ParameterError, match="to read texts, the template crnn"):
        service.over(template="", template_params={}, nclasses=7).load()
