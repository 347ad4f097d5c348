"""Boxes: objects in an image. A detector has losses of its own (contract 5.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import refuse_loss
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import Sample
from ddstream.errors import InputError, ParameterError

IDS, BOXES, LABELS, SCORES = "ids", "boxes", "labels", "scores"
TOTAL = "total_loss"
PADDING = {SCORES: -1.0}
"""What fills the rows of images that have fewer objects than others of their batch."""
UNREADABLE = "Could not read output of detection model. Check that mllib.template is set correctly."


class Boxes:
    """Takes a detector's losses as they are; a prediction is its boxes, labels and scores."""

    def __init__(self, parameters: TorchParameters) -> None:
        refuse_loss(parameters)
        self._nclasses = parameters.nclasses

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """The boxes of all images in a row, their labels, and the image that each is in."""
        found = [_boxes(sample) for sample in samples]
        sizes = [len(labels) for _, labels in found]
        boxes = np.concatenate([boxes.reshape(-1, 4) for boxes, _ in found]).astype(np.float32)
        labels = np.concatenate([labels for _, labels in found]).astype(np.int64)
        return {
            IDS: torch.from_numpy(np.repeat(np.arange(len(found)), sizes)),
            BOXES: torch.from_numpy(boxes),
            LABELS: torch.from_numpy(labels),
        }

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The detector's own losses; those that are scalars are told."""
        (images,) = inputs
        placed = [targets[name].to(images.device) for name in (IDS, BOXES, LABELS)]
        result = model(images, *placed)
        found = result[0] if isinstance(result, tuple | list) else result
        if not isinstance(found, Mapping) or TOTAL not in found:
            raise ParameterError(UNREADABLE)
        parts = {name: each for name, each in found.items() if each.numel() == 1}
        return Losses(parts.pop(TOTAL), parts)

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """Boxes N x K x 4 in pixels of the input, labels and scores N x K, padded with score -1."""
        found = _detections(model(*inputs), len(inputs[0]))
        names = [name for name in found[0] if all(name in each for each in found)]
        return {
            name: pad_sequence(
                [each[name] for each in found],
                batch_first=True,
                padding_value=PADDING.get(name, 0.0),
            )
            for name in names
        }


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
