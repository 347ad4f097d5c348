"""Tasks: what a model's numbers mean, and how well they fit. Arrays in, JSON out."""

from ddstream.registry import Registry
from ddstream.tasks.protocol import Tally, Task, Traits

TASKS: Registry[type[Task]] = Registry(
    {
        "classification": "ddstream.tasks.classification:Classification",
        "regression": "ddstream.tasks.regression:Regression",
        "detection": "ddstream.tasks.detection:Detection",
        "segmentation": "ddstream.tasks.segmentation:Segmentation",
        "ctc": "ddstream.tasks.ctc:Ctc",
        "language": "ddstream.tasks.language:Language",
        "features": "ddstream.tasks.features:Features",
        "autoencoder": "ddstream.tasks.autoencoder:Autoencoder",
        "timeserie": "ddstream.tasks.timeserie:TimeSerie",
    }
)

__all__ = ["TASKS", "Tally", "Task", "Traits"]
