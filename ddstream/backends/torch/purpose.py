"""The purpose of a model: which task its service does (contract 5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddstream.api.parameters import ParameterObject
from ddstream.api.torch import TorchParameters, TorchTraining
from ddstream.errors import ParameterError
from ddstream.templates import FAMILIES, Family


def _of(family: Family) -> frozenset[str]:
    return frozenset(name for name, each in FAMILIES.items() if each == family)


DETECTORS, SEGMENTERS = _of("boxes"), _of("masks")
READERS, TEXTS = _of("letters"), _of("tokens")
TRACEABLE = DETECTORS | SEGMENTERS | TEXTS
"""Templates whose model may also be a traced one in the repository (contract 5.9)."""
_READ: Mapping[Family, str] = {"tokens": "txt", "series": "csvts"}
"""Connectors of the families that read no images."""
BESIDE: Mapping[str, Sequence[str]] = {
    "recurrent": ("layers", "dropout", "residual"),
    "crnn": ("timesteps",),
    "bert": ("self_supervised", "embedding_size"),
    "gpt2": ("embedding_size",),
}
"""Options of templates that stand in `mllib` itself."""
UNKNOWN_SUPERVISION = "self_supervised must be one of: mask"


def purpose(parameters: TorchParameters, connector: ParameterObject) -> str:
    """The name of the task in TASKS and OBJECTIVES.

    What the template can do goes first, then what the connector reads, then what is counted.
    Raises ParameterError for a template that cannot do what is asked for.
    """
    template = parameters.template
    _check(parameters)
    _check_samples(template, connector)
    if template in TEXTS:
        return _of_text(parameters)
    if template in DETECTORS or _flag(connector, "bbox"):
        return "detection"
    if template in SEGMENTERS or parameters.segmentation or _flag(connector, "segmentation"):
        return "segmentation"
    if template in READERS or parameters.ctc or _flag(connector, "ctc"):
        return "ctc"
    if getattr(connector, "connector", "") == "csvts":
        return "timeserie"
    if _flag(connector, "autoencoder"):
        return "autoencoder"
    return "regression" if parameters.ntargets and not parameters.nclasses else "classification"


def idle(parameters: TorchParameters, purpose: str) -> list[str]:
    """A warning for each option that was given and means nothing to the purpose."""
    warnings = []
    weighed = isinstance(parameters, TorchTraining) and parameters.class_weights
    if purpose == "language" and (parameters.nclasses or parameters.ntargets):
        warnings.append("nclasses and ntargets have no effect: words of the vocabulary are told")
    if purpose in ("detection", "ctc") and weighed:
        warnings.append(f"parameters.mllib.class_weights was ignored: {purpose} has none")
    if purpose == "classification" and parameters.ntargets:
        warnings.append("parameters.mllib.ntargets has no effect beside nclasses")
    if purpose == "autoencoder" and (parameters.nclasses or parameters.ntargets):
        warnings.append("nclasses and ntargets have no effect: an autoencoder tells its input")
    if purpose != "classification" and parameters.multi_label:
        warnings.append(f"parameters.mllib.multi_label was ignored: {purpose} has none")
    weighs = purpose == "detection" and parameters.template in ("", "yolox")
    for template in ("recurrent", "crnn"):
        for name in BESIDE[template]:
            if name in parameters.model_fields_set and parameters.template != template:
                warnings.append(f"parameters.mllib.{name} was ignored: it is of {template}")
    if "reg_weight" in parameters.net.model_fields_set and not weighs:
        warnings.append("parameters.mllib.net.reg_weight was ignored: it is of yolox")
    return warnings


def _check(parameters: TorchParameters) -> None:
    """Raises ParameterError where the template cannot do what is asked for."""
    template = parameters.template
    if parameters.self_supervised not in ("", "mask"):
        raise ParameterError(UNKNOWN_SUPERVISION)
    if parameters.self_supervised and template != "bert":
        raise ParameterError("self_supervised needs the template bert")
    for name, able in (("segmentation", SEGMENTERS), ("ctc", READERS)):
        if getattr(parameters, name) and template and template not in able:
            raise ParameterError(f"parameters.mllib.{name} is nothing that {template} can do")
    if parameters.ntargets and template in DETECTORS | SEGMENTERS | READERS:
        raise ParameterError(f"parameters.mllib.ntargets is nothing that {template} can do")


def _check_samples(template: str, connector: ParameterObject) -> None:
    """Raises ParameterError where the template cannot read what the connector makes."""
    family = FAMILIES.get(template)
    if family is None:
        return
    kind = getattr(connector, "connector", "")
    reads = _READ.get(family, "image")
    if kind and kind != reads and family != "tables":
        raise ParameterError(
            f"parameters.mllib.template {template} reads samples of the connector {reads}, "
            f"not of {kind}"
        )
    for name, able in (("bbox", DETECTORS), ("segmentation", SEGMENTERS), ("ctc", READERS)):
        if _flag(connector, name) and template not in able:
            raise ParameterError(f"parameters.input.{name} is nothing that {template} can do")


def _of_text(parameters: TorchParameters) -> str:
    if parameters.template == "gpt2" or parameters.self_supervised:
        return "language"
    if not parameters.nclasses:
        raise ParameterError("BERT only supports self-supervised or classification")
    return "classification"


def _flag(connector: ParameterObject, name: str) -> bool:
    return getattr(connector, name, False) is True
