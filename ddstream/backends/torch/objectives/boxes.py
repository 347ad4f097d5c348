"""Boxes: objects in an image. A detector has losses of its own (contract 5.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch.nn.utils.rnn import pad_sequence

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import refuse_loss
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import Sample
from ddstream.errors import InputError, ParameterError
from ddstream.templates.detection import MOST, Candidates, suppressed

IDS, BOXES, LABELS, SCORES = "ids", "boxes", "labels", "scores"
GIVEN = (BOXES, LABELS, SCORES, "logits", "features")
"""What is taken of a detection."""
TOTAL = "total_loss"
OVERLAP = "iou_loss"
YOLOX = (OVERLAP, "l1_loss", "conf_loss", "cls_loss")
"""Parts of a loss whose sum is made here, so that the first can be weighed (contract 5.6)."""
PADDING = {SCORES: -1.0}
"""What fills the rows of images that have fewer objects than others of their batch."""
UNREADABLE = "Could not read output of detection model. Check that mllib.template is set correctly."


class Boxes:
    """Takes a detector's losses as they are; a prediction is its boxes, labels and scores.

    `nms_threshold` and `top_k` are for traced detectors, which do not know them (D-16).
    """

    def __init__(self, parameters: TorchParameters) -> None:
        refuse_loss(parameters)
        self._nclasses = parameters.nclasses
        self._weight = parameters.net.reg_weight
        self.nms_threshold = 0.45
        self.top_k = -1

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """The boxes of all images in a row, their labels, and the image that each is in."""
        found = [_boxes(sample) for sample in samples]
        sizes = [len(labels) for _, labels in found]
        boxes = np.concatenate([boxes.reshape(-1, 4) for boxes, _ in found]).astype(np.float32)
        labels = np.concatenate([labels for _, labels in found]).astype(np.int64)
        if len(labels) and not 1 <= labels.min() <= labels.max() <= (self._nclasses or np.inf):
            wrong = labels.max() if labels.min() >= 1 else labels.min()
            what = f"Dataset contains an invalid class: {wrong} (nclasses={self._nclasses})"
            raise InputError(what)
        return {
            IDS: torch.from_numpy(np.repeat(np.arange(len(found)), sizes)),
            BOXES: torch.from_numpy(boxes),
            LABELS: torch.from_numpy(labels),
        }

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The detector's own losses; those that are scalars are told."""
        (images,) = inputs
        # A traced detector may count its classes from 0 in place.
        placed = [targets[name].to(images.device, copy=True) for name in (IDS, BOXES, LABELS)]
        result = model(images, *placed)
        found = result[0] if isinstance(result, tuple | list) else result
        if isinstance(result, tuple | list) and len(result) == 4:
            found = _solved(model, result)
        if not isinstance(found, Mapping):
            raise ParameterError(UNREADABLE)
        parts = {name: each for name, each in found.items() if each.numel() == 1}
        total = parts.get(TOTAL)
        if all(name in parts for name in YOLOX):
            rest = torch.stack([parts[name] for name in YOLOX if name != OVERLAP]).sum()
            total = self._weight * parts[OVERLAP] + rest
        if total is None:
            raise ParameterError(UNREADABLE)
        return Losses(total, parts)

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """Boxes N x K x 4 in pixels of the input, labels and scores N x K, padded with score -1."""
        found = _detections(model(*inputs), len(inputs[0]))
        if not hasattr(model, "nms_threshold"):
            found = [self._suppressed(each) for each in found]
        names = [name for name in GIVEN if all(name in each for each in found)]
        return {
            name: pad_sequence(
                [each[name] for each in found],
                batch_first=True,
                padding_value=PADDING.get(name, 0.0),
            )
            for name in names
        }

    def _suppressed(self, found: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        boxes, scores, labels = found[BOXES], found[SCORES], found[LABELS]
        candidates = Candidates(boxes, scores, labels.to(boxes.device), boxes[:0])
        best = suppressed(candidates, self.nms_threshold, self.top_k)[:MOST]
        return {name: found[name][best] for name in GIVEN if name in found}


def _boxes(sample: Sample) -> tuple[Any, Any]:
    target = sample.target
    if not isinstance(target, Mapping) or BOXES not in target or LABELS not in target:
        raise InputError(f"{sample.uri} has no boxes")
    return target[BOXES], target[LABELS]


def _detections(result: object, images: int) -> Sequence[Mapping[str, torch.Tensor]]:
    """The list of one object an image, wherever the model has put it."""
    parts = result if isinstance(result, tuple | list) else (result,)
    candidates = [parts, *(part for part in parts if isinstance(part, tuple | list))]
    for each in candidates:
        whole = len(each) == images and all(
            isinstance(one, Mapping) and {BOXES, LABELS, SCORES} <= set(one) for one in each
        )
        if whole:
            found: Sequence[Mapping[str, torch.Tensor]] = each
            return found
    raise ParameterError(UNREADABLE)


def _solved(model: Model, result: Sequence[Any]) -> object:
    """The losses of a traced detector that leaves it to us which output answers for which object.

    It gives one matrix of costs, outputs x objects, for each image of each of its layers, and takes
    for each a tensor 2 x K: outputs, and the objects that are theirs (contract 5.8, detr).
    """
    _, outputs, objects, costs = result
    loss = getattr(model, "loss", None)
    if not callable(loss) or not isinstance(costs, tuple | list):
        raise ParameterError(UNREADABLE)
    pairs = [
        torch.from_numpy(np.stack(linear_sum_assignment(each.detach().cpu().numpy()))).to(
            each.device
        )
        for each in costs
    ]
    return loss(outputs, objects, pairs)
