"""Predict: the request, its output options, and the call that carries it through an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from ddstream.api.envelope import Answer
from ddstream.api.parameters import ParameterObject, Strings, listed
from ddstream.api.service import Parameters
from ddstream.api.showing import NAME, Showing, showing
from ddstream.errors import BadRequest, DDError


def _element(value: Any) -> Any:
    if isinstance(value, str | bytes) or hasattr(value, "__array_interface__"):
        return value
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise ValueError("an element of data is a string")


Element = Annotated[Any, PlainValidator(_element), WithJsonSchema({"type": "string"})]
"""A path, a URL, base64, a line of text; in-process also bytes and arrays."""


class PredictRequest(ParameterObject):
    """The body of POST /predict."""

    service: str = Field(description="Name of the service.")
    data: list[Element] = Field(
        default_factory=list, description="Paths, folders, URLs, base64 or lines to predict from."
    )
    parameters: Parameters = Field(
        default_factory=Parameters, description="Options of this call, over the service's own."
    )
    index_uris: list[str] = Field(
        default_factory=list, description="Names under which the data are indexed."
    )


def _classes(value: Any) -> Any:
    return tuple(str(each) if type(each) is int else each for each in listed(value))


Classes = Annotated[tuple[str, ...], BeforeValidator(_classes)]
"""Words, or numbers of classes."""


class NetworkOutput(ParameterObject):
    """Where an answer is pushed (`output.network`)."""

    url: str = Field(min_length=1, description="http(s)://... or kafka://topic.")
    http_method: Literal["POST", "PUT", "PATCH"] = Field(
        default="POST", description="Method of the push."
    )
    content_type: str = Field(
        default="", description="Content type of the push; the header's name may stand before it."
    )


class OutputParameters(ParameterObject):
    """`parameters.output` of predict, and its defaults at creation."""

    refused: ClassVar[Mapping[str, Any]] = {
        "index": False,
        "build_index": False,
        "search": False,
        "search_nn": 10,
        "index_type": "Flat",
        "index_gpu": False,
        "index_gpuid": "all",
        "train_samples": 100000,
        "ondisk": True,
        "nprobe": None,
    }

    best: int = Field(default=1, ge=-1, description="Classes a prediction; -1 means all.")
    confidence_threshold: float = Field(
        default=0.0, description="Only classes strictly above this probability; 0 keeps all."
    )
    measure: Strings = Field(default=(), description="Measures of a labelled test set.")
    regression: bool = Field(default=False, description="The answer is a vector of targets.")
    bbox: bool = Field(default=False, description="Boxes around objects; a detector gives them.")
    best_bbox: int = Field(default=-1, ge=-1, description="Boxes an image; -1 or 0: all.")
    nms_threshold: float = Field(
        default=0.45, ge=0, le=1, description="Boxes of a class that overlap more become one."
    )
    top_k: int = Field(default=-1, ge=-1, description="Candidates that a detector looks at.")
    rois: str = Field(default="", description="Layer whose values each box gets, in `rois`.")
    multibox_rois: bool = Field(
        default=False, description="Also the mean of an image's `rois`, as its `vals`."
    )
    ctc: bool = Field(default=False, description="The answer is the text in the image.")
    blank_label: int = Field(default=0, ge=-1, description="Id of ctc's blank; -1: there is none.")
    confidences: Classes = Field(
        default=(), description="Maps of a segmentation's confidence: best, all, class numbers."
    )
    binarized: bool = Field(default=False, description="Features as 0.0, or 1.0 above zero.")
    bool_binarized: bool = Field(default=False, description="Features as true above zero.")
    string_binarized: bool = Field(default=False, description="Features as a text of 0 and 1.")
    logits_blob: str = Field(default="", description="Add a classification's `logits`.")
    logits: bool = Field(default=False, description="Add the `logits` of each detection.")
    template: str = Field(default="", description="Mustache template of the answer.")
    network: NetworkOutput | None = Field(default=None, description="Push the answer there.")
    measure_hist: bool = Field(default=False, description="Give the history of the measures.")
    max_hist_points: int = Field(default=10000, ge=1, description="Bound of a history's length.")
    target_repository: str = Field(default="", description="Folder for the best model's files.")
    test_predictions: Annotated[Showing | None, BeforeValidator(showing)] = Field(
        default=None, description="Samples whose predictions a training's tests show."
    )

    @model_validator(mode="before")
    @classmethod
    def _shown_alike(cls, raw: Any) -> Any:
        """What a test shows has as many classes as any prediction, unless said otherwise."""
        shown = showing(raw.get(NAME)) if isinstance(raw, Mapping) and "best" in raw else None
        return {**raw, NAME: {"best": raw["best"], **shown}} if isinstance(shown, Mapping) else raw

    @model_validator(mode="after")
    def _whole(self) -> OutputParameters:
        if self.multibox_rois and not self.rois:
            raise ValueError("multibox_rois needs rois, the layer of the features")
        if sum((self.binarized, self.bool_binarized, self.string_binarized)) > 1:
            raise ValueError("binarized, bool_binarized and string_binarized exclude each other")
        return self

    @classmethod
    def parse(cls, raw: Mapping[str, Any], where: str, error: type[DDError]) -> Self:
        """See ParameterObject; a network without a url is the envelope's fault (contract 0.4)."""
        network = raw.get("network")
        if isinstance(network, Mapping) and not network.get("url"):
            raise BadRequest(f"{where}.network.url is missing")
        return super().parse(raw, where, error)


Done = Callable[[Answer | DDError], None]


@dataclass(slots=True, eq=False)
class Call:
    """One predict request on its way through a host; `done` is called once, on the event loop.

    `data` are elements as a client gives them; `raw` says that they are bytes of one datum each,
    named by `uris`. `deadline` is in Unix seconds.
    """

    service: str
    data: Sequence[Any]
    done: Done
    parameters: Parameters = field(default_factory=Parameters)
    raw: bool = False
    uris: Sequence[str] = ()
    deadline: float | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    nbytes: int = 0
