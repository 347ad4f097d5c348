"""The shapes of answers, for the OpenAPI description: nothing inside is built from them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class AnswerObject(BaseModel):
    """An object whose members are all known."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class OpenObject(BaseModel):
    """An object that may have more members than the known ones."""

    model_config = ConfigDict(extra="allow")


class Status(AnswerObject):
    """How a request ended."""

    code: int = Field(description="Same as the HTTP status.")
    msg: str = Field(description="Name of the status.")
    dd_code: int | None = Field(default=None, description="Code of the API's own table of errors.")
    dd_msg: str | None = Field(default=None, description="What went wrong.")


class WarningHead(AnswerObject):
    """Head of an answer that has nothing but warnings."""

    warnings: list[str] = Field(description="Members of the request that nothing reads.")


class JobHead(AnswerObject):
    """Head of an answer about a training."""

    method: str = Field(description="`/train`.")
    job: int | None = Field(default=None, description="Number of the job.")
    status: str | None = Field(
        default=None,
        description="running, cancelling, terminating, finished, terminated or error.",
    )
    time: float | None = Field(default=None, description="Whole seconds since the start.")
    warnings: list[str] | None = Field(default=None, description="What was ignored.")


class ErrorAnswer(AnswerObject):
    """An error."""

    status: Status
    head: JobHead | None = Field(default=None, description="Which job the error is about.")


class Done(AnswerObject):
    """A success with nothing more to tell."""

    status: Status
    head: WarningHead | None = Field(default=None, description="Only if something was ignored.")


class JobLine(AnswerObject):
    """A training in a service's list of jobs."""

    job: int = Field(description="Number of the job.")
    status: str = Field(description="How it is going, or how it ended, unread.")
    measure: dict[str, Any] | None = Field(default=None, description="Its live measures.")
    time: float | None = Field(default=None, description="Whole seconds since the start.")


class ServiceStats(OpenObject):
    """Counters and means of a service's predict calls."""

    inference_count: int = Field(description="Data predicted.")
    predict_count: int = Field(description="Calls.")
    predict_success: int = Field(description="Calls that were answered.")
    predict_failure: int = Field(description="Calls that ended in an error.")
    avg_batch_size: float = Field(description="Data a call; -1 before the first.")
    avg_predict_duration_ms: float = Field(description="Mean milliseconds of a call.")
    avg_transform_duration_ms: float = Field(description="Mean milliseconds of reading its data.")


class ServiceObject(OpenObject):
    """A service as it is told to clients."""

    name: str = Field(description="Name, in lower case.")
    description: str = Field(description="The text given at creation.")
    mllib: str = Field(description="Library that runs the model.")
    mltype: str = Field(description="What the model does: classification, regression, ...")
    type: str = Field(description="supervised or unsupervised.")
    parameters: dict[str, Any] = Field(description="Creation parameters with their defaults.")
    repository: str = Field(description="Folder of the model.")
    predict: bool = Field(description="Predict calls are answered now.")
    training: bool = Field(description="A job holds the service.")
    width: int | None = Field(default=None, description="Width of its images, in pixels.")
    height: int | None = Field(default=None, description="Height of its images, in pixels.")
    model_stats: dict[str, float] = Field(description="Size of the model, as far as known.")
    stats: dict[str, float] = Field(description="The same, under its older name.")
    jobs: list[JobLine] | None = Field(default=None, description="Trainings not yet read out.")
    labels: list[str] | None = Field(default=None, description="Names of the classes.")
    service_stats: ServiceStats


class ServiceAnswer(AnswerObject):
    """Answer to GET /services/{name}."""

    status: Status
    head: WarningHead | None = Field(default=None, description="Only if something was ignored.")
    body: ServiceObject


class InfoHead(OpenObject):
    """The server and its services."""

    method: str = Field(description="`/info`.")
    version: str = Field(description="Version of the server.")
    branch: str = Field(description="Branch it was built from.")
    commit: str = Field(description="Commit it was built from.")
    services: list[ServiceObject] = Field(description="Every service.")


class InfoAnswer(AnswerObject):
    """Answer to GET /info."""

    status: Status
    head: InfoHead


class Box(AnswerObject):
    """A rectangle, in pixels of the original image; y goes down."""

    xmin: float = Field(description="Its left side.")
    ymin: float = Field(description="Its upper side.")
    xmax: float = Field(description="Its right side.")
    ymax: float = Field(description="Its lower side.")


class ClassScore(AnswerObject):
    """One class, one object, or one target value, of a prediction."""

    bbox: Box | None = Field(default=None, description="Where the object is.")
    cat: str | None = Field(default=None, description="Name of the class or target.")
    prob: float | None = Field(default=None, description="Probability of the class.")
    val: float | None = Field(default=None, description="Value of the target.")
    vals: list[float] | None = Field(default=None, description="Features of the object.")
    logits: list[float] | None = Field(default=None, description="Scores before activation.")
    last: bool | None = Field(default=None, description="True on the last element only.")


class SeriesStep(AnswerObject):
    """One step of a time series."""

    out: list[float] = Field(description="The number of each column that is told.")
    last: bool | None = Field(default=None, description="True on the last step only.")


class ImageSize(AnswerObject):
    """Pixels of an image."""

    height: int = Field(description="Rows.")
    width: int = Field(description="Columns.")


class Prediction(OpenObject):
    """What was predicted from one datum."""

    uri: str = Field(description="The datum: its path, URL, or place in `data`.")
    classes: list[ClassScore] = Field(description="Classes, most probable first.")
    rois: list[ClassScore] | None = Field(default=None, description="Objects with features.")
    vector: list[ClassScore] | None = Field(default=None, description="Targets of a regression.")
    series: list[SeriesStep] | None = Field(default=None, description="Steps of a time series.")
    vals: list[float] | list[bool] | str | None = Field(
        default=None, description="Values of an extracted layer, or each pixel's class, by rows."
    )
    imgsize: ImageSize | None = Field(default=None, description="Rows and columns of `vals`.")
    confidences: dict[str, list[float]] | None = Field(
        default=None, description="Each pixel's probability: of its class, or of one class."
    )
    loss: float | None = Field(default=None, description="Loss; 0 where there is none.")
    last: bool | None = Field(default=None, description="True on the last prediction only.")


class PredictHead(AnswerObject):
    """Head of a prediction."""

    method: str = Field(description="`/predict`.")
    service: str = Field(description="Name of the service.")
    time: float = Field(description="Milliseconds from the call's arrival to its answer.")
    warnings: list[str] | None = Field(default=None, description="What was ignored.")


class Predictions(OpenObject):
    """Predictions in the order of the data."""

    predictions: list[Prediction] = Field(description="One a datum.")


class PredictAnswer(AnswerObject):
    """Answer to POST /predict."""

    status: Status
    head: PredictHead
    body: Predictions


class TrainReport(OpenObject):
    """What a training tells: live, or at its end."""

    measure: dict[str, Any] | None = Field(default=None, description="Measures by name.")
    measures: list[dict[str, Any]] | None = Field(default=None, description="By test set.")
    measure_hist: dict[str, list[float | None]] | None = Field(
        default=None, description="Values of each measure, oldest first."
    )
    measure_sampling: dict[str, int] | None = Field(
        default=None, description="Distance of the points of a history that was thinned."
    )
    model: dict[str, Any] | None = Field(default=None, description="The model's repository.")
    mltype: str | None = Field(default=None, description="What the model does.")
    sname: str | None = Field(default=None, description="Name of the service.")
    description: str | None = Field(default=None, description="Text of the service.")
    error: Status | None = Field(default=None, alias="Error", description="Why it failed.")


class TrainAnswer(AnswerObject):
    """Answer to POST /train: a job's number, or the report of a training that was waited for."""

    status: Status
    head: JobHead
    body: TrainReport | None = Field(default=None, description="The report, live or final.")


class JobAnswer(AnswerObject):
    """Answer to GET and DELETE /train."""

    status: Status
    head: JobHead
    body: TrainReport | None = Field(default=None, description="The report, live or final.")


class Readiness(AnswerObject):
    """Answer to GET /readyz."""

    ready: bool = Field(description="Requests can be served.")
    reasons: list[str] = Field(description="Why they cannot.")
    notes: list[str] = Field(default=[], description="What else an operator may want to know.")
