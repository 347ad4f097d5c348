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
        "mlp": "ddstream.templates.mlp:mlp",
        "visformer": "ddstream.templates.visformer:visformer",
        "yolox": "ddstream.templates.yolox.model:yolox",
        "fasterrcnn": "ddstream.templates.fasterrcnn:fasterrcnn",
        "retinanet": "ddstream.templates.retinanet:retinanet",
        "detr": "ddstream.templates.detr:detr",
        "bert": "ddstream.templates.bert:bert",
        "gpt2": "ddstream.templates.gpt2:gpt2",
        "nbeats": "ddstream.templates.nbeats:nbeats",
        "ttransformer": "ddstream.templates.ttransformer:ttransformer",
        "recurrent": "ddstream.templates.recurrent:recurrent",
        "crnn": "ddstream.templates.crnn:crnn",
        "deeplabv3": "ddstream.templates.deeplabv3:deeplabv3",
        "segformer": "ddstream.templates.segformer:segformer",
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
        "mlp": "ddstream.templates.mlp:MlpParameters",
        "visformer": "ddstream.templates.visformer:VisformerParameters",
        "yolox": "ddstream.templates.yolox.model:YoloxParameters",
        "fasterrcnn": "ddstream.templates.backbones:BackboneParameters",
        "retinanet": "ddstream.templates.backbones:BackboneParameters",
        "detr": "ddstream.templates.detr:DetrParameters",
        "bert": "ddstream.templates.bert:BertParameters",
        "gpt2": "ddstream.templates.gpt2:Gpt2Parameters",
        "nbeats": "ddstream.templates.nbeats:NBeatsParameters",
        "ttransformer": "ddstream.templates.ttransformer_parameters:TTransformerParameters",
        "recurrent": "ddstream.templates.recurrent:RecurrentParameters",
        "crnn": "ddstream.templates.crnn:CrnnParameters",
        "deeplabv3": "ddstream.templates.deeplabv3:DeepLabParameters",
        "segformer": "ddstream.templates.segformer:SegformerParameters",
    }
)
"""`template_params` by the name of their template."""

__all__ = ["PARAMETERS", "TEMPLATES", "Template", "TemplateParameters"]
