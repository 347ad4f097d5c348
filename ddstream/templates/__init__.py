"""Templates: architectures by name. A family is one file, a name one line of the table."""

from ddstream.registry import Registry
from ddstream.templates.protocol import Template, TemplateParameters

_RESNET = "ddstream.templates.resnet"

TEMPLATES: Registry[Template] = Registry(
    {
        "resnet18": f"{_RESNET}:resnet18",
        "resnet34": f"{_RESNET}:resnet34",
        "resnet50": f"{_RESNET}:resnet50",
        "resnet101": f"{_RESNET}:resnet101",
        "resnet152": f"{_RESNET}:resnet152",
        "resnext50_32x4d": f"{_RESNET}:resnext50_32x4d",
        "resnext101_32x8d": f"{_RESNET}:resnext101_32x8d",
        "wideresnet50_2": f"{_RESNET}:wideresnet50_2",
        "wideresnet101_2": f"{_RESNET}:wideresnet101_2",
        "vit": "ddstream.templates.vit:vit",
        "visformer": "ddstream.templates.visformer:visformer",
        "yolox": "ddstream.templates.yolox.model:yolox",
        "bert": "ddstream.templates.bert:bert",
        "gpt2": "ddstream.templates.gpt2:gpt2",
    }
)

_CLASSIFIER = "ddstream.templates.protocol:ClassifierParameters"

PARAMETERS: Registry[type[TemplateParameters]] = Registry(
    {
        "resnet18": _CLASSIFIER,
        "resnet34": _CLASSIFIER,
        "resnet50": _CLASSIFIER,
        "resnet101": _CLASSIFIER,
        "resnet152": _CLASSIFIER,
        "resnext50_32x4d": _CLASSIFIER,
        "resnext101_32x8d": _CLASSIFIER,
        "wideresnet50_2": _CLASSIFIER,
        "wideresnet101_2": _CLASSIFIER,
        "vit": "ddstream.templates.vit:VitParameters",
        "visformer": "ddstream.templates.visformer:VisformerParameters",
        "yolox": "ddstream.templates.yolox.model:YoloxParameters",
        "bert": "ddstream.templates.bert:BertParameters",
        "gpt2": "ddstream.templates.gpt2:Gpt2Parameters",
    }
)
"""`template_params` by the name of their template."""

__all__ = ["PARAMETERS", "TEMPLATES", "Template", "TemplateParameters"]
