"""Masks: a class for each pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch.nn import functional

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.objectives.compared import class_weights, stacked, tensor
from ddstream.backends.torch.objectives.protocol import Inputs, Losses, Model, Tensors
from ddstream.data import OUTPUT, Sample
from ddstream.errors import InputError, ParameterError
from ddstream.tasks.segmentation import CLASSES, CONFIDENCES

MASK = "mask"
FOCUS = 2.0
"""Gamma of the focal loss (Lin et al. 2017)."""
TINY = 1e-7
BYTE = 256
"""Classes whose ids a byte holds."""

PixelLoss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits N x C x H x W and class ids N x H x W -> a scalar."""


class Masks:
    """Cross-entropy of pixels, a Dice loss, or the focal loss, as `mllib.loss` says.

    A prediction is the most probable class of each pixel and its probability; `with_scores` it has
    the scores of all classes too, which are many.
    """

    def __init__(self, parameters: TorchParameters) -> None:
        self.with_scores = False
        self._weights = class_weights(parameters)
        self._running = RunningDice()
        self._loss = self._chosen(parameters.loss)

    def memory(self) -> Tensors:
        """The running weights of classes, if the loss has them."""
        return self._running.memory()

    def remember(self, memory: Tensors) -> None:
        """Go on with kept weights."""
        self._running.remember(memory)

    def targets(self, samples: Sequence[Sample]) -> Tensors:
        """Class ids N x H x W."""
        found = stacked(samples)
        if found.ndim != 3:
            raise InputError(
                "the data have no masks: parameters.input.segmentation and a list are needed"
            )
        return {MASK: torch.from_numpy(found.astype(np.int64))}

    def losses(self, model: Model, inputs: Inputs, targets: Tensors) -> Losses:
        """The mean loss of a batch."""
        logits, wanted = _logits(model(*inputs)), targets[MASK]
        if int(wanted.max()) >= logits.shape[1]:
            raise ParameterError(
                f"a mask has class {int(wanted.max())}, the model {logits.shape[1]} classes"
            )
        logits = _sized(logits, wanted.shape[1:])
        return Losses(self._loss(logits, wanted.to(logits.device, non_blocking=True)))

    def results(self, model: Model, inputs: Inputs) -> Tensors:
        """Class ids and probabilities N x H x W, and the logits N x C x H x W with scores."""
        logits = _sized(_logits(model(*inputs)), inputs[0].shape[2:])
        highest = logits.float().softmax(1).max(1)
        kind = torch.uint8 if logits.shape[1] <= BYTE else torch.int32
        scores = {OUTPUT: logits} if self.with_scores else {}
        return {CLASSES: highest.indices.to(kind), CONFIDENCES: highest.values, **scores}

    def _chosen(self, name: str) -> PixelLoss:
        table: Mapping[str, PixelLoss] = {
            "": self._cross_entropy,
            "dice": dice,
            "dice_multiclass": dice,
            "dice_weighted": lambda logits, wanted: dice(logits, wanted, of_images),
            "dice_weighted_batch": lambda logits, wanted: dice(logits, wanted, of_batch),
            "dice_weighted_all": self._running,
            "focal": self._focal,
        }
        if self._weights is not None and name.startswith("dice"):
            raise ParameterError(f"parameters.mllib.class_weights: the loss {name} has its own")
        if name not in table:
            known = ", ".join(each for each in table if each)
            raise ParameterError(f"unknown loss: {name}; there is: {known}")
        return table[name]

    def _cross_entropy(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, wanted, self._on(logits.device))

    def _focal(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        each = functional.cross_entropy(logits, wanted, reduction="none")
        weights = self._on(logits.device)
        scale = 1.0 if weights is None else weights[wanted]
        return (scale * (1 - (-each).exp()) ** FOCUS * each).mean()

    def _on(self, device: torch.device) -> torch.Tensor | None:
        if self._weights is not None:
            self._weights = self._weights.to(device)
        return self._weights


def of_images(hot: torch.Tensor) -> torch.Tensor:
    """Weights N x C: the inverse square of each class's area in its image, plus one."""
    area = hot.sum((2, 3))
    return 1 / (area + 1) ** 2


def of_batch(hot: torch.Tensor) -> torch.Tensor:
    """Weights 1 x C: the inverse square of each class's area in the whole batch, plus one."""
    area = hot.sum((0, 2, 3))
    return (1 / (area + 1) ** 2).unsqueeze(0)


def dice(
    logits: torch.Tensor,
    wanted: torch.Tensor,
    weigh: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """One minus the overlap of sigmoids and classes, as a share of both (Milletari et al. 2016).

    `weigh` gives the classes' weights from their one-hot masks N x C x H x W.
    """
    hot = functional.one_hot(wanted, logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    shares = logits.sigmoid()
    both, sums = (hot * shares).sum((2, 3)), (hot + shares).sum((2, 3))
    if weigh is None:
        return 1 - (2 * both / (sums + TINY)).mean()
    weights = weigh(hot)
    # Weighted sums over the classes: a weight on both sides of one class's share would cancel.
    share = 2 * (weights * both).sum(1) / ((weights * sums).sum(1) + TINY)
    return 1 - share.mean()


class RunningDice:
    """The Dice loss with the mean of all batches' weights up to now."""

    def __init__(self) -> None:
        self._mean: torch.Tensor | None = None
        self._batches = 0

    def __call__(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The loss of a batch, its weights taken in."""
        return dice(logits, wanted, self._weights)

    def memory(self) -> Tensors:
        """The mean, 1 x C, and of how many batches it is; empty before the first."""
        if self._mean is None:
            return {}
        return {"mean": self._mean, "batches": torch.tensor(self._batches)}

    def remember(self, memory: Tensors) -> None:
        """Go on with a kept mean."""
        if memory:
            self._mean, self._batches = memory["mean"], int(memory["batches"])

    def _weights(self, hot: torch.Tensor) -> torch.Tensor:
        now = of_batch(hot)
        self._batches += 1
        before = now if self._mean is None else self._mean.to(now.device)
        self._mean = before + (now - before) / self._batches
        return self._mean


def _sized(logits: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Logits H x W, those too of models that decide at a fraction of the size."""
    if logits.shape[2:] == tuple(size):
        return logits
    return functional.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)


def _logits(result: object) -> torch.Tensor:
    """Logits N x C x h x w. Raises ParameterError for anything else."""
    found = tensor(result["out"] if isinstance(result, Mapping) and "out" in result else result)
    if found.dim() != 4:
        raise ParameterError(
            f"the model gives {tuple(found.shape)}: images x classes x height x width are expected"
        )
    return found
