"""The options of a workflow: what stands in a YAML file, behind flags, and in `--set`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


def _numbers(value: Any) -> Any:
    """`0,1`, `"0 1"` or lists of these become a tuple of their parts."""
    parts = value if isinstance(value, list | tuple) else [value]
    return tuple(piece for part in parts for piece in str(part).replace(",", " ").split())


def _paths(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Devices = Annotated[tuple[int, ...], BeforeValidator(_numbers)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_paths)]
Mapped = dict[str, Any]

CONFIDENCE = 0.25
"""Boxes below it are not shown, unless asked for."""

_VISDOM = "Refused: there is no visdom here; curves and results lie in the run's folder."

ERRORS = {"greater_than": "must be positive", "extra_forbidden": "is no option"}
"""What is said of an error of these kinds, after the option's name."""


class Unavailable(ValueError):
    """A name that there is not, or an option that is documented and cannot be done here."""


class Options(BaseModel):
    """Options of every workflow; None is what nobody said, neither profile nor user."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    yaml_only: ClassVar[frozenset[str]] = frozenset(
        {"input_parameters", "service_mllib", "output_parameters"}
    )
    """Options without a flag."""

    weights: Path | None = Field(
        None,
        description="Weights to start from: state dict, safetensors or traced; none are needed.",
    )
    repository: Path | None = Field(None, description="Folder of the model.")
    service_name: str | None = Field(None, description="Name of the service while it runs.")
    nclasses: int | None = Field(None, gt=0, description="Classes; for boxes the object classes.")
    ntargets: int | None = Field(None, gt=0, description="Targets of a regression.")
    width: int | None = Field(None, gt=0, description="Width of the model's images, in pixels.")
    height: int | None = Field(None, gt=0, description="Height of the model's images, in pixels.")
    batch_size: int = Field(1, gt=0, description="Samples of a batch.")
    gpu: bool = Field(False, description="Use a GPU.")
    gpuid: Devices | None = Field(None, description="GPUs to use, -1 for all; implies --gpu.")
    input_parameters: Mapped = Field(default_factory=dict, description="`parameters.input`.")
    service_mllib: Mapped = Field(default_factory=dict, description="`mllib` of the creation.")
    output_parameters: Mapped = Field(default_factory=dict, description="`parameters.output`.")

    @classmethod
    def of(cls, given: Mapped) -> Self:
        """The typed options. Raises ValueError with the first that is wrong, in words."""
        try:
            found = cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(step) for step in first["loc"])
            raise ValueError(f"{name} {ERRORS.get(first['type'], _said(first['msg']))}") from error
        found.check()
        return found

    def check(self) -> None:
        """Raises ValueError for options that do not go together."""
        if self.gpuid and not self.gpu and "gpu" in self.model_fields_set:
            raise ValueError("--gpuid requires GPU execution; remove --no-gpu")
        if self.gpuid and -1 in self.gpuid and len(self.gpuid) > 1:
            raise ValueError("gpuid -1 cannot be combined with other ids")
        if self.weights is not None and not self.weights.is_file():
            raise FileNotFoundError(f"weights do not exist: {self.weights}")

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is asked for."""
        return self.gpu or bool(self.gpuid)


class TrainOptions(Options):
    """Options of a training."""

    yaml_only = Options.yaml_only | {"augmentation", "mllib", "class_weights"}
    """See Options."""

    train_data: Path | None = Field(None, description="Training set: a folder or a list file.")
    test_data: Paths = Field((), description="Test sets: folders or list files.")
    repository_override: bool = Field(False, description="Empty the repository first.")
    iterations: int = Field(100, gt=0, description="Iterations in all.")
    iter_size: int = Field(1, gt=0, description="Batches whose gradients make one step.")
    base_lr: float = Field(1e-3, gt=0, description="Learning rate.")
    test_interval: int = Field(100, gt=0, description="Iterations between two tests.")
    sync: bool = Field(False, description="Wait in one call, without events.")
    timeout: float | None = Field(None, gt=0, description="Seconds after which it is stopped.")
    cancel_timeout: float = Field(30.0, gt=0, description="Seconds that it may take to stop.")
    poll_interval: float = Field(0.5, gt=0, description="Seconds between two looks at it.")
    job_dir: Path | None = Field(None, description="Folder of run folders; else the repository.")
    run_name: str | None = Field(None, description="Name of the run; else the repository's.")
    resume: Literal["latest", "best"] | None = Field(None, description="Checkpoint to go on from.")
    terminal: Literal["verbose", "live"] | None = Field(
        None, description="Lines, or a live view; that is the default on a terminal."
    )
    dataset_check: Literal["full", "none"] = Field("full", description="Look at the data first.")
    skip_mask_validation: bool = Field(False, description="Believe the values of masks.")
    visdom: bool = Field(False, description=_VISDOM)
    visdom_save: bool = Field(False, description=_VISDOM)
    visdom_results: bool = Field(True, description="Draw what it predicts of some test images.")
    visdom_results_count: int = Field(10, gt=0, description="Images that are drawn.")
    visdom_results_seed: int = Field(12345, ge=0, description="Seed of their choice.")
    augmentation: Mapped = Field(default_factory=dict, description="How images are varied.")
    mllib: Mapped = Field(default_factory=dict, description="More of the training's `mllib`.")
    class_weights: tuple[float, ...] = Field((), description="Weight of each class in the loss.")

    def check(self) -> None:
        """See Options."""
        for name in ("train_data", "test_data", "repository"):
            if not getattr(self, name) and not (name == "test_data" and self._splits):
                raise ValueError(f"{name.replace('_', '-')} is required")
        if self.repository_override and self.resume:
            raise ValueError("--repository-override cannot be used with --resume")
        if self.visdom or self.visdom_save:
            raise Unavailable(_VISDOM)
        super().check()
        for path in (self.train_data, *self.test_data):
            if path is not None and not path.exists():
                raise FileNotFoundError(f"data set does not exist: {path}")

    @property
    def _splits(self) -> bool:
        return bool(self.input_parameters.get("test_split"))

    @property
    def data(self) -> list[Path]:
        """The training set, then the test sets."""
        return [*([self.train_data] if self.train_data else []), *self.test_data]

    @property
    def folder(self) -> Path:
        """The model's repository, which `check` has seen to be given."""
        assert self.repository is not None
        return self.repository


class InferOptions(Options):
    """Options of predictions; `images` holds what is predicted, files of `images_file` included."""

    yaml_only = Options.yaml_only | {"images"}

    images: tuple[str, ...] = Field((), description="Paths, URLs, or lines of a table or a text.")
    images_file: Path | None = Field(None, description="File with one of them a line.")
    output: Path | None = Field(None, description="Folder for results and pictures.")
    visualize: bool = Field(False, description="Draw each prediction on its image.")
    benchmark: bool = Field(False, description="Measure the time of each batch.")
    warmup: int = Field(0, ge=0, description="Batches before the measuring.")
    confidence_threshold: float = Field(CONFIDENCE, ge=0, le=1, description="Boxes above it only.")
    best_bbox: int | None = Field(None, description="Boxes of an image at most.")

    def check(self) -> None:
        """See Options."""
        if not self.images:
            raise ValueError("at least one image is required")
        if self.repository is None and self.weights is None:
            raise ValueError("repository or weights is required")
        if self.visualize and self.output is None:
            raise ValueError("--visualize needs --output")
        super().check()
        if self.repository is not None and not self.repository.is_dir():
            raise FileNotFoundError(f"repository does not exist: {self.repository}")


def _said(message: str) -> str:
    return f"is wrong: {message[:1].lower()}{message[1:]}"
