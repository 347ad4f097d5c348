"""Detectors in the backend: traced ones by contract 5.8, losses, options of a pass."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ddstream.api.image import ImageInput
from ddstream.api.parameters import merged
from ddstream.api.predict import OutputParameters
from ddstream.backends.protocol import Setup
from ddstream.backends.torch.backend import TorchBackend
from ddstream.backends.torch.training.trainer import TorchTrainer
from ddstream.connectors.storage.streams import Held
from ddstream.data import Array, Batch, Datasets, Dimensions, Normalise, Progress, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.templates import TEMPLATES

Detections = list[dict[str, torch.Tensor]]
Answer = tuple[dict[str, torch.Tensor], Detections]
SOLVER = {"solver": {"iterations": 20, "base_lr": 0.4, "solver_type": "ADAM"}}
RAW: dict[str, Any] = {**SOLVER, "net": {"batch_size": 2}, "nclasses": 2}


class Placed(nn.Module):
    """Takes every image for the same two boxes and a copy, whose place it can learn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        self.box = nn.Parameter(torch.tensor([0.0, 0.0, 10.0, 10.0]))

    def found(self, images: torch.Tensor) -> Detections:
        copy = self.box + torch.tensor([0.0, 0.0, 0.0, 1.0])
        boxes = torch.stack([copy, self.box, self.box + 20.0])
        scores = torch.tensor([0.6, 0.9, 0.3])
        labels = torch.tensor([2, 2, 1])
        return [{"boxes": boxes, "scores": scores, "labels": labels} for _ in range(len(images))]

    def distance(self, boxes: torch.Tensor) -> torch.Tensor:
        return (boxes - self.box).abs().sum() / max(1, len(boxes))


class Whole(Placed):
    """As torchvision's: losses with their sum, then the objects."""

    def forward(
        self,
        images: torch.Tensor,
        ids: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> Answer:
        losses: dict[str, torch.Tensor] = {}
        if ids is not None and boxes is not None and labels is not None:
            away = self.distance(boxes)
            losses = {"loss_box": away, "loss_ids": ids.sum().float(), "total_loss": 2 * away}
            return losses, [{"boxes": boxes}]
        return losses, self.found(images)


class Parts(Placed):
    """As YOLOX's: four losses without their sum."""

    def forward(
        self,
        images: torch.Tensor,
        ids: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> Answer:
        losses: dict[str, torch.Tensor] = {}
        if boxes is not None:
            away = self.distance(boxes)
            names = ["iou_loss", "l1_loss", "conf_loss", "cls_loss"]
            for i, name in enumerate(names):
                losses[name] = (i + 1) * away
        return losses, self.found(images)


class Queries(Placed):
    """As DETR's: costs of its two queries, which somebody else assigns to the objects."""

    def forward(
        self,
        images: torch.Tensor,
        ids: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> tuple[Detections, dict[str, torch.Tensor], Detections, list[torch.Tensor]]:
        outputs = {"boxes": torch.stack([self.box + 30.0, self.box])}
        objects: Detections = []
        costs: list[torch.Tensor] = []
        if ids is None or boxes is None or labels is None:
            return self.found(images), outputs, objects, costs
        # Its classes count from 0, as in the reference's export.
        labels -= 1
        for image in range(len(images)):
            own = boxes[ids == image]
            objects.append({"boxes": own, "labels": labels[ids == image]})
            costs.append(torch.cdist(outputs["boxes"], own, p=1.0))
        return [{"none": torch.zeros(0)}], outputs, objects, costs

    @torch.jit.export
    def loss(
        self, outputs: dict[str, torch.Tensor], objects: Detections, pairs: list[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        total = torch.zeros(1)
        for wanted, pair in zip(objects, pairs):  # noqa: B905 - TorchScript knows no strict
            found = outputs["boxes"][pair[0]]
            total = total + (found - wanted["boxes"][pair[1]]).abs().sum()
        return {"loss_bbox": total.sum(), "total_loss": total.sum()}


def sample(name: str, boxes: list[list[float]], labels: list[int]) -> Sample:
    target: dict[str, Array] = {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.array(labels, np.int64),
    }
    image = np.random.default_rng(ord(name)).integers(0, 256, (40, 40, 3), np.uint8)
    return Sample(name, {"image": image}, target, Normalise(1 / 255))


def boxes(name: str) -> Held:
    return Held(name, [sample("a", [[4, 4, 14, 14]], [2]), sample("b", [[4, 4, 14, 14]], [2])])


def trained(
    repository: Repository, over: Mapping[str, Any] | None = None, data: Datasets | None = None
) -> list[Progress]:
    raw = merged(RAW, over or {})
    trainer = TorchTrainer(Setup(raw, ImageInput(bbox=True), repository))
    given = data or Datasets(boxes("train"), [boxes("test")])
    return [each for each in trainer.fit(given, raw, ["map"]) if each.points]


def loaded(repository: Repository, **mllib: Any) -> TorchBackend:
    return TorchBackend(Setup({"nclasses": 2, **mllib}, ImageInput(bbox=True), repository))


def scores(backend: TorchBackend, **output: Any) -> list[list[float]]:
    """The scores of two images, after a pass with these options."""
    call = backend.call_parameters({"nclasses": 2}, OutputParameters(**output))
    batch = Batch.of([sample("a", [], []), sample("b", [], [])])
    rows: Any = backend.task(call).activate(backend.forward(batch, call))
    return [[round(float(score), 3) for score in row.scores] for row in rows]


def write(repository: Repository, module: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        repository.write("net.pt", torch.jit.script(module).save_to_buffer())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("module", [Whole, Parts, Queries])
def test_a_traced_detector_learns_and_finds(
    module: type[nn.Module], repository: Repository
) -> None:
    torch.manual_seed(0)
    write(repository, module())
    told = trained(repository)
    first, last = told[0], told[-1]
    assert last.points["train_loss"] < first.points["train_loss"]
    assert last.measures is not None
    # The copy is no object: it is suppressed. The third box is of a class that no image has.
    assert last.measures[0]["map_2"] == 1.0
    assert scores(loaded(repository)) == [[0.9, 0.3]] * 2


def test_the_losses_that_a_detector_has_are_told_with_their_total(repository: Repository) -> None:
    write(repository, Whole())
    last = trained(repository)[-1]
    assert set(last.losses) == {"loss_box", "loss_ids", "total_loss"}
    # Both images of a batch have one object: ids 0 and 1.
    assert last.losses["loss_ids"] == 1
    assert last.points["train_loss"] == pytest.approx(2 * last.losses["loss_box"])
    assert last.losses["total_loss"] == pytest.approx(last.points["train_loss"])


@pytest.mark.parametrize("template", ["", "yolox"])
def test_the_loss_of_boxes_is_weighed(template: str, repository: Repository) -> None:
    write(repository, Parts())
    net = {"net": {"reg_weight": 0.5, "batch_size": 2}, "template": template}
    last = trained(repository, net)[-1]
    losses = last.losses
    expected = 0.5 * losses["iou_loss"] + losses["l1_loss"] + losses["conf_loss"]
    assert last.points["train_loss"] == pytest.approx(expected + losses["cls_loss"], abs=1e-4)


def test_options_of_a_call_act_on_traced_detectors(repository: Repository) -> None:
    write(repository, Whole())
    backend = loaded(repository)
    assert scores(backend) == [[0.9, 0.3]] * 2
    assert scores(backend, nms_threshold=0.95) == [[0.9, 0.6, 0.3]] * 2
    assert scores(backend, top_k=2, nms_threshold=1.0) == [[0.9, 0.6]] * 2
    assert scores(backend, top_k=2) == [[0.9]] * 2
    assert scores(backend) == [[0.9, 0.3]] * 2


def test_options_of_a_call_are_not_those_of_the_next(repository: Repository) -> None:
    params = {"template": "yolox", "template_params": {"width": 0.125}}
    backend = loaded(repository, **params)
    call = {"nclasses": 2, **params}
    for output in (OutputParameters(logits=True), OutputParameters()):
        found = backend.forward(
            Batch.of([sample("a", [], [])]), backend.call_parameters(call, output)
        )
        assert ("logits" in found) == output.logits


def test_a_model_that_finds_no_objects_is_refused(repository: Repository) -> None:
    write(repository, nn.Conv2d(3, 2, 1))
    with pytest.raises(ParameterError, match="Could not read output of detection model"):
        scores(loaded(repository))


def test_layers_of_regions_are_named_where_there_are_none(repository: Repository) -> None:
    write(repository, Whole())
    with pytest.raises(ParameterError, match=r"output\.rois: unknown layer pool; there is: none"):
        scores(loaded(repository), rois="pool")


def test_a_detector_has_no_last_layer(repository: Repository) -> None:
    write(repository, Whole())
    with pytest.raises(ParameterError, match="extract_layer: a detector has no one last layer"):
        loaded(repository, extract_layer="last")
    with pytest.raises(ParameterError, match="an unsupervised service answers no objects"):
        TorchBackend(Setup(RAW, ImageInput(bbox=True), repository, service_type="unsupervised"))


@pytest.mark.parametrize("label", [0, 3])
def test_a_class_that_the_model_has_not_is_refused(label: int, repository: Repository) -> None:
    write(repository, Whole())
    data = Datasets(Held("train", [sample("a", [[4, 4, 14, 14]], [label])]), [boxes("test")])
    with pytest.raises(InputError, match=rf"invalid class: {label} \(nclasses=2\)"):
        trained(repository, data=data)


def test_images_without_objects_are_learned_from(repository: Repository) -> None:
    nothing = Held("train", [sample("a", [], []), sample("b", [[4, 4, 14, 14]], [1])])
    params = {"template": "yolox", "template_params": {"width": 0.125}}
    short = {"solver": {"iterations": 2, "base_lr": 0.01}, **params}
    told = trained(repository, short, Datasets(nothing, [Held("test", [sample("a", [], [])])]))
    assert told[-1].points["train_loss"] > 0
    assert told[-1].measures is not None
    assert told[-1].measures[0]["map"] == 0.0


def test_features_of_regions_come_with_their_boxes(repository: Repository) -> None:
    params = {"template": "fasterrcnn", "template_params": {"backbone": "mobilenet_v3_small"}}
    backend = loaded(repository, **params)
    batch = Batch.of([sample("a", [], []), sample("b", [], [])])
    layer = "roi_heads.box_head.fc7"
    output = OutputParameters(rois=layer, multibox_rois=True, logits=True)
    call = backend.call_parameters({"nclasses": 2, **params}, output)
    task = backend.task(call)
    rows: Any = task.activate(backend.forward(batch, call))
    for row, each in zip(rows, batch.samples, strict=True):
        answer = task.decode(row, each, output)
        assert len(answer["vals"]) == 1024
        assert len(answer["rois"]) > 0
        assert all(len(roi["vals"]) == 1024 and len(roi["logits"]) == 3 for roi in answer["rois"])
    wrong = OutputParameters(rois="backbone")
    with pytest.raises(ParameterError, match=r"rois: unknown layer backbone; there is: roi_heads"):
        backend.call_parameters({"nclasses": 2, **params}, wrong)


def test_weights_of_a_detector_are_loaded_and_another_head_is_fresh(
    repository: Repository,
) -> None:
    params = {"template": "yolox", "template_params": {"width": 0.125}}
    torch.manual_seed(3)
    module = TEMPLATES.load("yolox")(Dimensions(outputs=2), {"width": 0.125})
    assert isinstance(module, nn.Module)
    for level in range(3):
        for name in ("obj", "cls"):
            nn.init.zeros_(module.get_parameter(f"head.{name}_preds.{level}.bias"))
    save_file(module.state_dict(), repository.path / "net.safetensors")
    backend = loaded(repository, **params)
    assert backend.trained
    image = sample("a", [], [])
    call = backend.call_parameters({"nclasses": 2, **params})
    found = backend.forward(Batch.of([image]), call)
    pixels = torch.from_numpy(image.inputs["image"]).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        (expected,) = module.eval()(pixels)
    assert found["scores"][0] == pytest.approx(expected["scores"].numpy(), abs=1e-5)
    assert len(expected["scores"]) > 0
    with pytest.raises(ParameterError, match=r"cls_preds\.0\.weight is \[2, .* in the file"):
        loaded(repository, **{**params, "nclasses": 5})
    other = loaded(repository, **{**params, "nclasses": 5, "finetuning": True})
    assert not other.trained
    assert "not loaded from net.safetensors: head.cls_preds.0.weight" in other.warnings[-1]
