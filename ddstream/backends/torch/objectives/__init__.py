"""Objectives: what each task asks of a model in training and in prediction; one file a task."""

from ddstream.backends.torch.objectives.protocol import (
    Inputs,
    Losses,
    Model,
    Objective,
    Remembering,
    Tensors,
)
from ddstream.registry import Registry

_HERE = "ddstream.backends.torch.objectives"

OBJECTIVES: Registry[type[Objective]] = Registry(
    {
        "classification": f"{_HERE}.scores:Scores",
        "regression": f"{_HERE}.scores:Scores",
        "features": f"{_HERE}.scores:Scores",
        "timeserie": f"{_HERE}.steps:Steps",
        "autoencoder": f"{_HERE}.reconstruction:Reconstruction",
        "detection": f"{_HERE}.boxes:Boxes",
        "segmentation": f"{_HERE}.masks:Masks",
        "ctc": f"{_HERE}.letters:Letters",
        "language": f"{_HERE}.tokens:Tokens",
    }
)

__all__ = ["OBJECTIVES", "Inputs", "Losses", "Model", "Objective", "Remembering", "Tensors"]
