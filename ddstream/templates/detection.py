"""What all detectors share: their options, and the choice among what they take for objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torchvision.ops import batched_nms, clip_boxes_to_image

from ddstream.data import Dimensions
from ddstream.errors import ParameterError
from ddstream.templates.protocol import ClassifierParameters

FLOOR = 0.01
"""Candidates of a lower score are no objects (contract 5.8)."""
CANDIDATES = 1000
"""Most candidates of an image that are compared with each other."""
MOST = 300
"""Most objects of an image."""

Detections: TypeAlias = dict[str, torch.Tensor]
"""Of one image: `boxes` K x 4 (xmin, ymin, xmax, ymax in its pixels), `labels` K, from 1 on,
`scores` K, the highest first; where asked for, `logits` K x C and `features` K x F."""
Targets: TypeAlias = list[dict[str, torch.Tensor]]
"""The `boxes` and `labels` of each image."""


class DetectorParameters(ClassifierParameters):
    """`template_params` that every detector has."""

    def objects(self, dimensions: Dimensions) -> int:
        """The number of object classes, the background not counted (D-55).

        Raises ParameterError where nobody says it.
        """
        found = self.outputs(dimensions.outputs, 0)
        if not found:
            raise ParameterError("a detector needs parameters.mllib.nclasses, its object classes")
        return found


class Detector:
    """Options of a detector's pass, set on the module before it (D-16, D-18)."""

    nms_threshold: float = 0.45
    """Of two boxes of one class whose intersection over union is more, the better one stays."""
    top_k: int = -1
    """Most candidates of an image, if above 0."""
    with_logits: bool = False
    """Detections have their `logits`: the scores of the classes before any activation, in the order
    of the classes; a model that knows the background as a class has it in front of them."""
    rois: str = ""
    """The layer whose values each detection gets as its `features`."""

    @property
    def roi_layers(self) -> Sequence[str]:
        """The layers that can give them."""
        return ()


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may be objects of one image: boxes K x 4, scores K, labels K, logits K x C."""

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    logits: torch.Tensor


def chosen(found: Candidates, by: Detector, height: int, width: int) -> Detections:
    """The objects among the candidates of an image of this size, cut at its edges."""
    boxes, scores = clip_boxes_to_image(found.boxes.float(), (height, width)), found.scores.float()
    likely = (scores > FLOOR) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    kept = likely.nonzero().squeeze(1)
    most = min(CANDIDATES, by.top_k) if by.top_k > 0 else CANDIDATES
    best = suppressed(
        Candidates(boxes[kept], scores[kept], found.labels[kept], found.logits[:0]),
        by.nms_threshold,
        most,
    )
    kept = kept[best[:MOST]]
    detections = {"boxes": boxes[kept], "labels": found.labels[kept], "scores": scores[kept]}
    return {**detections, "logits": found.logits[kept].float()} if by.with_logits else detections


def suppressed(found: Candidates, threshold: float, most: int) -> torch.Tensor:
    """Indices of the objects among the `most` best candidates (all if below 1), the best first.

    A candidate that overlaps a better one of its class by more than `threshold` is none.
    """
    order = found.scores.argsort(descending=True, stable=True)
    order = order[:most] if most > 0 else order
    boxes, scores, labels = (each[order] for each in (found.boxes, found.scores, found.labels))
    best: torch.Tensor = order[batched_nms(boxes.float(), scores.float(), labels, threshold)]
    return best


def by_image(ids: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, images: int) -> Targets:
    """The boxes M x 4 and labels M of a batch, image by image; `ids` M are the images."""
    found = []
    for image in range(images):
        own = ids == image
        found.append({"boxes": boxes[own], "labels": labels[own]})
    return found
