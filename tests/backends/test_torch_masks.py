"""Losses of masks and of texts, by formulas of their own; what traced models of both may give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, product
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from ddstream.api.predict import OutputParameters
from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.backend import TorchBackend
from ddstream.backends.torch.objectives import OBJECTIVES, Objective
from ddstream.data import Array, Batch, Sample, Target
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from tests.backends.conftest import MakeBackend
from tests.backends.test_torch_traced import scripted

IMAGES = torch.zeros(2, 3, 4, 6)


def objective(name: str, **mllib: Any) -> Objective:
    raw = {"nclasses": 3, "solver": {"iterations": 1}, **mllib}
    return OBJECTIVES.load(name)(TorchTraining.parse(raw, "parameters.mllib", ParameterError))


def loss(made: Objective, outputs: torch.Tensor, targets: Sequence[Target]) -> torch.Tensor:
    samples = [Sample(str(i), {}, target) for i, target in enumerate(targets)]
    images = torch.zeros(len(samples), 3, 4, 6)
    return made.losses(lambda _: outputs, (images,), made.targets(samples)).total


def masked(seed: int = 0) -> tuple[torch.Tensor, Array]:
    """Logits 2 x 3 x 4 x 6 that learn, and masks 2 x 4 x 6 without a class 2 in the first."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(2, 3, 4, 6)).astype(np.float32))
    masks = rng.integers(3, size=(2, 4, 6)).astype(np.uint8)
    masks[0] %= 2
    return logits.requires_grad_(), masks


def hot(masks: Array) -> Array:
    return np.moveaxis(np.eye(3)[masks], -1, 1)


def cross_entropy(logits: Array, masks: Array) -> float:
    powers = np.exp(logits)
    shares = (powers / powers.sum(1, keepdims=True) * hot(masks)).sum(1)
    return float(-np.log(shares).mean())


def focal(logits: Array, masks: Array) -> float:
    powers = np.exp(logits)
    shares = (powers / powers.sum(1, keepdims=True) * hot(masks)).sum(1)
    return float(-((1 - shares) ** 2 * np.log(shares)).mean())


def plain_dice(logits: Array, masks: Array) -> float:
    found = []
    for image, mask in zip(logits, hot(masks), strict=True):
        for said, truth in zip(1 / (1 + np.exp(-image)), mask, strict=True):
            found.append(2 * (said * truth).sum() / (said.sum() + truth.sum()))
    return 1 - float(np.mean(found))


def weighted_dice(logits: Array, masks: Array, areas: Array) -> float:
    """Of each image the sums over all classes, each times 1 / (area + 1)^2; areas are 2 x 3."""
    found = []
    for image, mask, area in zip(logits, hot(masks), areas, strict=True):
        said, weight = 1 / (1 + np.exp(-image)), (1 / (area + 1) ** 2)[:, None, None]
        found.append(2 * (weight * said * mask).sum() / (weight * (said + mask)).sum())
    return 1 - float(np.mean(found))


def by_image(logits: Array, masks: Array) -> float:
    return weighted_dice(logits, masks, hot(masks).sum((2, 3)))


def by_batch(logits: Array, masks: Array) -> float:
    return weighted_dice(logits, masks, np.tile(hot(masks).sum((0, 2, 3)), (2, 1)))


LOSSES: dict[str, Callable[[Array, Array], float]] = {
    "": cross_entropy,
    "focal": focal,
    "dice": plain_dice,
    "dice_multiclass": plain_dice,
    "dice_weighted": by_image,
    "dice_weighted_batch": by_batch,
    "dice_weighted_all": by_batch,
}


@pytest.mark.promise("services.torch.loss")
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_masks_is_its_formula_and_makes_every_score_learn(name: str) -> None:
    logits, masks = masked()
    found = loss(objective("segmentation", loss=name), logits, list(masks))
    assert found.item() == pytest.approx(LOSSES[name](logits.detach().numpy(), masks), abs=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    # The first image has no pixel of class 2.
    assert (logits.grad[1] != 0).all()


def test_dice_of_sure_answers_is_the_f1_of_pixels() -> None:
    logits, masks = masked(1)
    said = logits.argmax(1).numpy()
    sure = torch.from_numpy(np.where(hot(said) == 1, 60.0, -60.0).astype(np.float32))
    scores = [
        f1_score(mask.ravel(), each.ravel(), labels=[0, 1, 2], average="macro", zero_division=0)
        for mask, each in zip(masks, said, strict=True)
    ]
    found = loss(objective("segmentation", loss="dice"), sure, list(masks))
    assert found.item() == pytest.approx(1 - np.mean(scores), abs=1e-5)


def test_the_weights_of_dice_weighted_all_are_the_mean_of_the_batches_up_to_now() -> None:
    made, batches = objective("segmentation", loss="dice_weighted_all"), [masked(s) for s in (0, 1)]
    weights = [1 / (hot(masks).sum((0, 2, 3)) + 1) ** 2 for _, masks in batches]
    found = [loss(made, logits, list(masks)).item() for logits, masks in batches]
    logits, masks = batches[1]
    mean_area = 1 / np.sqrt(np.mean(weights, axis=0)) - 1
    expected = weighted_dice(logits.detach().numpy(), masks, np.tile(mean_area, (2, 1)))
    assert found[1] == pytest.approx(expected, abs=1e-5)
    assert found[1] != pytest.approx(by_batch(logits.detach().numpy(), masks), abs=1e-5)


def test_classes_have_the_weights_that_are_given_them() -> None:
    logits, masks = masked()
    weights = [0.5, 1.0, 2.0]
    shares = torch.log_softmax(logits.detach(), 1).numpy()
    each, scale = (-shares * hot(masks)).sum(1), np.array(weights)[masks]
    found = loss(objective("segmentation", class_weights=weights), logits, list(masks))
    assert found.item() == pytest.approx((each * scale).sum() / scale.sum(), abs=1e-5)
    found = loss(
        objective("segmentation", class_weights=weights, loss="focal"), logits, list(masks)
    )
    expected = (scale * (1 - np.exp(-each)) ** 2 * each).mean()
    assert found.item() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ParameterError, match="class_weights: the loss dice has its own"):
        objective("segmentation", class_weights=weights, loss="dice")


def test_masks_and_models_that_do_not_fit_are_refused() -> None:
    logits, masks = masked()
    with pytest.raises(ParameterError, match="unknown loss: sharp; there is: dice, "):
        objective("segmentation", loss="sharp")
    with pytest.raises(ParameterError, match="a mask has class 3, the model 3 classes"):
        loss(objective("segmentation"), logits, [masks[0], np.full((4, 6), 3, np.uint8)])
    with pytest.raises(ParameterError, match="images x classes x height x width are expected"):
        loss(objective("segmentation"), logits[0], list(masks))


def test_the_loss_of_a_text_is_minus_the_logarithm_of_all_ways_to_read_it() -> None:
    rng = np.random.default_rng(0)
    outputs = torch.from_numpy(rng.normal(size=(4, 2, 3)).astype(np.float32)).requires_grad_()
    texts = [np.array([1, 1]), np.array([2])]
    shares = outputs.detach().softmax(-1).numpy()
    expected = []
    for image, text in enumerate(texts):
        total = sum(
            float(np.prod([shares[step, image, letter] for step, letter in enumerate(path)]))
            for path in product(range(3), repeat=4)
            if [letter for letter, _ in groupby(path) if letter] == text.tolist()
        )
        expected.append(-np.log(total) / len(text))
    found = loss(objective("ctc"), outputs, texts)
    assert found.item() == pytest.approx(np.mean(expected), abs=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


def test_texts_and_models_that_do_not_fit_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    outputs = torch.zeros(3, 2, 4)
    short, long, twice = np.array([1]), np.array([1, 2, 3, 1]), np.array([1, 1, 2])
    made = objective("ctc")
    assert loss(made, outputs, [short, long]).isfinite()
    assert loss(made, outputs, [short, twice]).isfinite()
    assert [record.getMessage() for record in caplog.records] == [
        "a text needs 4 steps, the model has 3: such texts are not learned"
    ]
    with pytest.raises(ParameterError, match="texts of 4 steps are longer than the model's 3"):
        loss(objective("ctc"), outputs, [long, twice])
    with pytest.raises(ParameterError, match="letter 4 is not in the model's alphabet of 4"):
        loss(objective("ctc"), outputs, [short, np.array([4])])
    with pytest.raises(ParameterError, match="steps x images x letters are expected"):
        loss(objective("ctc"), outputs.transpose(0, 1), [short, short])
    with pytest.raises(ParameterError, match="unknown loss dice"):
        objective("ctc", loss="dice")


class Bright(nn.Module):
    """Two classes, the second where the first channel is bright; at half of the size."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        small = nn.functional.avg_pool2d(images[:, :1], 2) - 100
        return torch.cat([-small, small], 1)


class Parts(nn.Module):
    """The same in a dictionary, as torchvision's segmenters have it."""

    def __init__(self) -> None:
        super().__init__()
        self.bright = Bright()

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.bright(images)
        return {"out": scores, "aux": scores * 0}


class Columns(nn.Module):
    """Reads the value of each column of one row as a letter."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        letters = images[:, 0, 0].long()
        return 10 * nn.functional.one_hot(letters, 4).float().transpose(0, 1)


def predicted(backend: TorchBackend, image: Array, raw: Any, **output: Any) -> dict[str, Any]:
    wanted = OutputParameters.model_validate(output)
    call = backend.call_parameters(raw, wanted)
    sample = Sample("a", {"image": image}, meta={"size": image.shape[:2]})
    task = backend.task(call)
    (row,) = task.activate(backend.forward(Batch.of([sample]), call))
    return task.decode(row, sample, wanted)


@pytest.mark.promise("services.torch.segmentation", "predict.output.confidences")
@pytest.mark.parametrize("module", [Bright(), Parts()], ids=["tensor", "dictionary"])
def test_a_traced_segmenter_answers_whatever_form_its_scores_have(
    repository: Repository, make_backend: MakeBackend, module: nn.Module
) -> None:
    repository.write("net.pt", scripted(module))
    raw = {"segmentation": True, "nclasses": 2}
    backend = make_backend(raw)
    assert backend.mltype == "segmentation"
    image = np.zeros((8, 6, 3), np.uint8)
    image[:4] = 200
    found = predicted(backend, image, raw)
    assert found["vals"].reshape(8, 6).tolist() == [[1] * 6] * 4 + [[0] * 6] * 4
    found = predicted(backend, image, raw, confidences=["best", "1"])["confidences"]
    ones = found["1"].reshape(8, 6)
    assert found["best"] == pytest.approx(np.maximum(ones, 1 - ones).ravel())
    values = predicted(backend, image, {**raw, "extract_layer": "last"})["vals"]
    assert len(values) == 2 * 8 * 6
    assert max(values) == 100


@pytest.mark.promise("services.torch.ctc", "predict.output.ctc")
def test_a_traced_reader_answers_texts(repository: Repository, make_backend: MakeBackend) -> None:
    repository.write("net.pt", scripted(Columns()))
    repository.write("corresp.txt", b"0 0\n1 104\n2 105\n3 33\n")
    raw = {"ctc": True}
    backend = make_backend(raw)
    assert backend.mltype == "ctc"
    image = np.zeros((1, 5, 3), np.uint8)
    image[0, :, 0] = [1, 1, 0, 2, 3]
    (text,) = predicted(backend, image, raw, ctc=True)["classes"]
    assert text["cat"] == "hi!"
    assert text["prob"] == pytest.approx(1, abs=1e-3)
    assert len(predicted(backend, image, {**raw, "extract_layer": "last"})["vals"]) == 5 * 4


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ({"ctc": True}, "output.ctc: the service reads no texts"),
        ({"confidences": ["best"]}, "output.confidences: the service gives pixels no classes"),
    ],
)
def test_answers_of_another_task_are_refused_by_name(
    make_backend: MakeBackend, output: dict[str, Any], reason: str
) -> None:
    raw = {"template": "resnet18", "nclasses": 2}
    with pytest.raises(ParameterError, match=reason):
        make_backend(raw).call_parameters(raw, OutputParameters.model_validate(output))
