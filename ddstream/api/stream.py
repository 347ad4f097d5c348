"""The words of the Kafka side: commands, and the rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ddstream.api.parameters import ParameterObject
from ddstream.api.service import Clear, ServiceDefinition
from ddstream.api.train import TrainRequest
from ddstream.errors import ParameterError

Delivery = Literal["at_least_once", "exactly_once"]


class StreamParameters(ParameterObject):
    """`parameters.stream` of a creation: how the service behaves on Kafka (an addition)."""

    delivery: Delivery | None = Field(
        default=None, description="Absent: what the worker that creates it says."
    )
    max_age: float = Field(
        default=0.0, ge=0, description="Seconds after which a request is answered 504; 0: never."
    )
    max_in_flight: int = Field(
        default=512, ge=1, le=100_000, description="Most unanswered records of one partition."
    )
    retries: int = Field(
        default=5, ge=0, le=100, description="How often a transient failure is tried again."
    )
    retry_backoff: float = Field(
        default=0.5, gt=0, description="Seconds before the first retry; doubles, to 30 at most."
    )
    forward_timeout: float = Field(
        default=60.0,
        gt=0,
        description="Seconds that a forward pass may take, the first, slow one too; "
        "then the worker ends.",
    )


def stream_options(definition: ServiceDefinition) -> StreamParameters:
    """The typed `parameters.stream` of a service. Raises ParameterError."""
    raw = definition.parameters.stream
    return StreamParameters.parse(raw, "parameters.stream", ParameterError)


def with_delivery(definition: ServiceDefinition, default: Delivery) -> ServiceDefinition:
    """The definition with its delivery decided, so that all workers do the same."""
    if stream_options(definition).delivery is not None:
        return definition
    stream = {**definition.parameters.stream, "delivery": default}
    parameters = definition.parameters.model_copy(update={"stream": stream})
    return definition.model_copy(update={"parameters": parameters})


class Row(BaseModel):
    """Base of what stands on our own topics: frozen, and open for what later versions add."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class ControlCommand(Row):
    """On `control`, keyed by service: make or delete a service."""

    verb: Literal["create", "delete"] = Field(description="What to do.")
    service: str = Field(description="Name of the service, as it is kept.")
    definition: ServiceDefinition | None = Field(default=None, description="For `create`.")
    clear: Clear = Field(default="mem", description="For `delete`: what becomes of the files.")


class TrainCommand(Row):
    """On `train`, keyed by service: start or stop a training, or take its report."""

    verb: Literal["train", "stop", "take"] = Field(description="What to do.")
    service: str = Field(description="Name of the service, as it is kept.")
    request: TrainRequest | None = Field(default=None, description="For `train`.")
    job: int = Field(default=0, description="For `stop` and `take`: the job's number.")
    force: bool = Field(default=False, description="For `stop`: kill the trainer.")


class ServiceRecord(Row):
    """On `services`, keyed by name: a service that exists."""

    name: str = Field(description="Name of the service.")
    definition: ServiceDefinition = Field(description="What its client created.")
    description: dict[str, Any] = Field(description="What the worker that loaded it tells of it.")
    version: int = Field(description="Counts the loads and trainings of its model.")
    correlation_id: str = Field(description="The request that created it.")


class HostedService(Row):
    """A service on one worker."""

    state: Literal["loading", "loaded", "failed"] = Field(description="How far it is.")
    version: int = Field(default=0, description="Version of the model that it serves.")
    reason: str = Field(default="", description="Why it failed.")
    stats: dict[str, Any] = Field(default_factory=dict, description="Counters of its calls.")


class WorkerRecord(Row):
    """On `workers`, keyed by worker: its heartbeat."""

    worker: str = Field(description="Id of the worker.")
    time: float = Field(description="When this was written, in Unix seconds.")
    started: float = Field(description="When the worker was started, in Unix seconds.")
    address: str = Field(default="", description="Where its /readyz and /metrics are.")
    device: str = Field(default="cpu", description="What its models run on.")
    services: Mapping[str, HostedService] = Field(description="Its services by name.")


class RejectMark(Row):
    """On `rejects-state`, keyed by `partition/offset` of a reject: what became of it."""

    outcome: Literal["replayed", "dropped"] = Field(description="What was done with it.")
    source: str = Field(description="Where the rejected request was: topic/partition/offset.")
    rejected: int = Field(description="When the reject was written, in Unix milliseconds.")
    time: float = Field(description="When this was decided, in Unix seconds.")
    by: str = Field(description="Who decided it: user@host, or what they said.")
    target: str = Field(default="", description="Where it was replayed to: topic/partition/offset.")


class JobRow(Row):
    """On `jobs`, keyed by `service/job`: a training, or by `service/#`: the last number given."""

    number: int = Field(description="Number of the job.")
    partition: int = Field(default=0, description="Partition of `train` whose owner runs it.")
    chunks: int = Field(default=0, description="Rows `service/job/n` that hold its history.")
    born: str = Field(
        default="",
        description="The request that created the service: another one of the same "
        "name has jobs of its own.",
    )
    epoch: int = Field(default=0, description="Counts the attempts; an older one's rows are void.")
    holder: str = Field(
        default="", description="The worker that runs it; empty when it has ended or is given up."
    )
    record: dict[str, Any] = Field(default_factory=dict, description="The job's record.")
