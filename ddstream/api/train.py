"""Train: the request, the queries about its job, and the job's record as all sides see it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ddstream.api.parameters import ParameterObject, Strings
from ddstream.api.service import Parameters
from ddstream.api.showing import asked_for


class TrainRequest(ParameterObject):
    """The body of POST /train."""

    service: str = Field(description="Name of the service.")
    asynchronous: bool = Field(
        default=True, alias="async", description="Answer at once with a job number."
    )
    data: Strings = Field(default=(), description="The training set, then any test sets.")
    parameters: Parameters = Field(
        default_factory=Parameters, description="Options of this training."
    )


class JobQuery(ParameterObject):
    """The query of GET /train."""

    service: str = Field(description="Name of the service.")
    job: int | None = Field(default=None, description="Number of the job.")
    timeout: int = Field(default=0, ge=0, description="Seconds to wait for the job's end.")
    parameters: Parameters = Field(default_factory=Parameters, description="Output options.")

    def history_points(self) -> int | None:
        """How many points of the history are asked for; None means no history (D-08)."""
        output: dict[str, Any] = self.parameters.output
        return int(output.get("max_hist_points", 10000)) if output.get("measure_hist") else None

    @property
    def wants_predictions(self) -> bool:
        """The predictions that the last test showed are asked for."""
        return asked_for(self.parameters.output)


class JobStop(ParameterObject):
    """The query of DELETE /train."""

    service: str = Field(description="Name of the service.")
    job: int | None = Field(default=None, description="Number of the job.")
    wait: bool = Field(default=True, description="Answer when the job has ended.")
    force: bool = Field(default=False, description="Kill the trainer instead of asking it.")
