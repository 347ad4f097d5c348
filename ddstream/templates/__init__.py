"""Templates: architectures by name. A template is one line of the table, its family one file."""

from collections.abc import Mapping
from typing import NamedTuple

from ddstream.registry import Registry
from ddstream.templates.protocol import Family, Template, TemplateParameters


class _Line(NamedTuple):
    build: str
    parameters: str
    family: Family


_HERE = "ddstream.templates"


def _resnet(name: str) -> _Line:
    return _Line(f"resnet:{name}", "protocol:ClassifierParameters", "images")


_TABLE: Mapping[str, _Line] = {
    "resnet18": _resnet("resnet18"),
    "resnet34": _resnet("resnet34"),
    "resnet50": _resnet("resnet50"),
    "resnet101": _resnet("resnet101"),
    "resnet152": _resnet("resnet152"),
    "resnext50_32x4d": _resnet("resnext50_32x4d"),
    "resnext101_32x8d": _resnet("resnext101_32x8d"),
    "wideresnet50_2": _resnet("wideresnet50_2"),
    "wideresnet101_2": _resnet("wideresnet101_2"),
    "vit": _Line("vit:vit", "vit:VitParameters", "images"),
    "mlp": _Line("mlp:mlp", "mlp:MlpParameters", "tables"),
    "visformer": _Line("visformer:visformer", "visformer:VisformerParameters", "images"),
    "yolox": _Line("yolox.model:yolox", "yolox.model:YoloxParameters", "boxes"),
    "fasterrcnn": _Line("fasterrcnn:fasterrcnn", "backbones:BackboneParameters", "boxes"),
    "retinanet": _Line("retinanet:retinanet", "backbones:BackboneParameters", "boxes"),
    "detr": _Line("detr:detr", "detr:DetrParameters", "boxes"),
    "bert": _Line("bert:bert", "bert:BertParameters", "tokens"),
    "gpt2": _Line("gpt2:gpt2", "gpt2:Gpt2Parameters", "tokens"),
    "nbeats": _Line("nbeats:nbeats", "nbeats:NBeatsParameters", "series"),
    "ttransformer": _Line(
        "ttransformer:ttransformer", "ttransformer_parameters:TTransformerParameters", "series"
    ),
    "recurrent": _Line("recurrent:recurrent", "recurrent:RecurrentParameters", "series"),
    "crnn": _Line("crnn:crnn", "crnn:CrnnParameters", "letters"),
    "deeplabv3": _Line("deeplabv3:deeplabv3", "deeplabv3:DeepLabParameters", "masks"),
    "segformer": _Line("segformer:segformer", "segformer:SegformerParameters", "masks"),
}

TEMPLATES: Registry[Template] = Registry(
    {name: f"{_HERE}.{line.build}" for name, line in _TABLE.items()}
)
PARAMETERS: Registry[type[TemplateParameters]] = Registry(
    {name: f"{_HERE}.{line.parameters}" for name, line in _TABLE.items()}
)
"""`template_params` by the name of their template."""
FAMILIES: Mapping[str, Family] = {name: line.family for name, line in _TABLE.items()}
"""What the samples of a template are; `mlp` can read every connector's."""

__all__ = ["FAMILIES", "PARAMETERS", "TEMPLATES", "Family", "Template", "TemplateParameters"]
