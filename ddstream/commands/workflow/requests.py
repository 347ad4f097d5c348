"""What the options of a workflow ask of the API: creation, training, prediction."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from ddstream.api.parameters import merged, present
from ddstream.commands.workflow.options import CONFIDENCE, InferOptions, Options, TrainOptions
from ddstream.commands.workflow.profiles import ANSWERS, Profile

Json = dict[str, Any]


def creation(profile: Profile, options: Options, repository: Path, weights: str = "") -> Json:
    """Arguments of `create_service` after the name; `weights` is a file of the repository."""
    model = {"repository": str(repository), "create_repository": True}
    sizes = {"width": options.width, "height": options.height} if profile.images else {}
    traced = bool(weights) and scripted(repository / weights)
    mllib = {
        # A traced file is its own architecture.
        "template": None if traced else profile.name,
        "nclasses": options.nclasses,
        "ntargets": options.ntargets,
        "gpu": options.on_gpu or None,
        "gpuid": list(options.gpuid or ()),
    }
    return {
        "model": {**model, "weights": weights} if weights else model,
        "mllib": "torch",
        "input_parameters": merged(present(sizes), options.input_parameters),
        "mllib_parameters": merged(present(mllib), options.service_mllib),
        "description": f"{profile.name} from the command line",
    }


def training(options: TrainOptions) -> Json:
    """Arguments of `Service.train`."""
    solver = {
        "iterations": options.iterations,
        "test_interval": options.test_interval,
        "base_lr": options.base_lr,
        "iter_size": options.iter_size,
    }
    own: Json = {
        "solver": solver,
        "net": {"batch_size": options.batch_size},
        "resume": options.resume is not None,
        **options.augmentation,
    }
    if options.resume:
        own["resume_from"] = options.resume
    if options.class_weights:
        own["class_weights"] = list(options.class_weights)
    return {
        "data": options.data,
        "mllib_parameters": merged(own, options.mllib),
        "output_parameters": options.output_parameters,
    }


def prediction(profile: Profile, options: InferOptions) -> Json:
    """Arguments of `Service.predict` after the data."""
    output: Json = dict(options.output_parameters)
    if profile.family == "boxes":
        output = {"confidence_threshold": options.confidence_threshold, **output}
        if options.best_bbox is not None:
            output["best_bbox"] = options.best_bbox
    return {"output_parameters": output}


def showing(profile: Profile) -> Json:
    """Arguments of `Service.predict` after the data, to show what was learned."""
    output: Json = dict(ANSWERS.get(profile.family, {}))
    if profile.family == "boxes":
        output["confidence_threshold"] = CONFIDENCE
    return {"output_parameters": output}


def scripted(path: Path) -> bool:
    """Whether a file of weights is a traced model: such an archive holds code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
