"""Services: what a client creates, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field

from ddstream.api.envelope import Json
from ddstream.api.parameters import ParameterObject
from ddstream.errors import BadRequest, NotFound

Clear = Literal["full", "lib", "mem", "dir", "index"]

_HOLDING = frozenset({"running", "cancelling", "terminating"})
"""What the line of a job says while it holds its service (ruling 11.1)."""


class Parameters(ParameterObject):
    """The four parameter objects, raw: each part reads its own, typed, where it is used."""

    input: dict[str, Any] = Field(default_factory=dict, description="Options of the connector.")
    mllib: dict[str, Any] = Field(default_factory=dict, description="Options of the library.")
    output: dict[str, Any] = Field(default_factory=dict, description="Options of the answer.")
    stream: dict[str, Any] = Field(
        default_factory=dict, description="How the service behaves on Kafka (an addition)."
    )


class ModelObject(ParameterObject):
    """Where the model's files are."""

    refused: ClassVar[Mapping[str, Any]] = {"init": None, "index_preload": False}

    repository: str = Field(description="Folder of the model's files; it must be writable.")
    weights: str = Field(default="", description="Weights to start from: a file in the repository.")
    create_repository: bool = Field(default=False, description="Make the folder if it is missing.")


class ServiceDefinition(ParameterObject):
    """The body of PUT /services/{name}."""

    mllib: str = Field(description="Library that runs the model: `torch`.")
    type: Literal["supervised", "unsupervised"] = Field(
        default="supervised", description="Predictions of classes and values, or bare features."
    )
    description: str = Field(default="", description="Free text, given back by /info.")
    model: dict[str, Any] = Field(
        default_factory=dict, description="The model object: `repository` and how to use it."
    )
    parameters: Parameters = Field(
        default_factory=Parameters, description="Defaults of every later call."
    )


def service_name(name: str) -> str:
    """The name as it is kept: lower-cased (ASCII). Raises NotFound or BadRequest."""
    if not name:
        raise NotFound
    if "/" in name or "\0" in name or ".." in name:
        raise BadRequest("a service name has no '/', no NUL and no '..'")
    return "".join(c.lower() if c.isascii() else c for c in name)


def clear_mode(value: Any) -> Clear:
    """The `clear` of a DELETE. Raises BadRequest for an unknown one."""
    if value not in get_args(Clear):
        raise BadRequest(f"clear must be one of {', '.join(get_args(Clear))}")
    mode: Clear = value
    return mode


def described(description: Json, jobs: list[Json] | None, stats: Json, *, labels: bool) -> Json:
    """The service object of `GET /services/x` and `/info` (contract 1.5).

    `description` is what the engine that loaded the service tells of it.
    """
    body = {k: v for k, v in description.items() if v is not None and k != "labels"}
    training = any(job["status"] in _HOLDING for job in jobs or ())
    body |= {"predict": description.get("trained", True) or not training, "training": training}
    if jobs is not None:
        # Who waits for a training has no number to ask for it by.
        body["jobs"] = [job for job in jobs if job["job"] > 0]
    if labels:
        body["labels"] = description.get("labels") or []
    body["service_stats"] = stats
    return body
