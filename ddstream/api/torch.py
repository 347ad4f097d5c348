"""`parameters.mllib` of the Torch backend: at creation, at predict and at train."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import Field, PrivateAttr, field_validator

from ddstream.api.augment import Augmentation
from ddstream.api.parameters import Integers, Numbers, ParameterObject, Strings
from ddstream.api.predict import OutputParameters
from ddstream.api.solver import Solver

Datatype = Literal["fp32", "fp16", "bf16", "fp64"]


class Net(ParameterObject):
    """`mllib.net`: sizes of batches."""

    batch_size: int = Field(default=1, ge=1, description="Samples of a training batch.")
    test_batch_size: int = Field(default=0, ge=0, description="0: the training batch's (D-28).")

    reg_weight: float = Field(default=1.0, ge=0, description="Weight of yolox's loss of boxes.")

    @property
    def test_size(self) -> int:
        """Samples of a test batch."""
        return self.test_batch_size or self.batch_size


class JitCompiler(ParameterObject):
    """`mllib.jit_compiler_params`: how often TorchScript specialises code by shapes."""

    fusion_static: int = Field(default=2, ge=0, description="Specialisations of fixed shapes.")
    fusion_dynamic: int = Field(default=10, ge=0, description="Specialisations of any shapes.")


class TorchParameters(ParameterObject):
    """Options of a Torch service and of each predict call."""

    nclasses: int = Field(default=0, ge=0, description="Classes of a classifier.")
    ntargets: int = Field(default=0, ge=0, description="Targets of a regression.")
    template: str = Field(default="", description="Name of the model's architecture.")
    template_params: dict[str, Any] = Field(
        default_factory=dict, description="Options of the template."
    )
    gpu: bool = Field(
        default=False, description="Run on a GPU; a creation is refused where there is none."
    )
    gpuid: Integers = Field(default=(0,), description="Number of the GPU; -1: all.")
    datatype: Datatype = Field(default="fp32", description="Arithmetic of predictions.")
    multi_label: bool = Field(default=False, description="An independent score for each class.")
    concurrent_predict: bool = Field(default=True, description="Calls may run side by side.")
    finetuning: bool = Field(default=False, description="Replace a head that does not fit.")
    from_repository: str = Field(default="", description="Repository to copy the best model from.")
    resume_from: Literal["", "latest", "best"] = Field(
        default="", description="Checkpoint to load: latest or best."
    )
    segmentation: bool = Field(default=False, description="A class for each pixel.")
    ctc: bool = Field(default=False, description="A text for each image.")
    timesteps: int = Field(default=-1, ge=-1, description="Output steps of crnn; -1: its width.")
    embedding_size: int = Field(default=768, ge=1, description="Numbers that bert's head takes.")
    self_supervised: str = Field(
        default="", description="`mask`: bert learns to tell words that were masked."
    )
    pretrained: str = Field(
        default="", description="File of weights to begin from, wherever it lies below the roots."
    )
    freeze_traced: bool = Field(
        default=False, description="Finetuning changes the new head of a traced model only."
    )
    jit_compiler_params: JitCompiler = Field(
        default_factory=JitCompiler, description="How TorchScript fuses operations, process-wide."
    )
    forward_method: str = Field(
        default="", description="Method of a traced model that predicts, instead of `forward`."
    )
    layers: Strings = Field(default=(), description="Layers of the template recurrent.")
    dropout: Numbers = Field(default=(), description="Dropout of recurrent's layers: one, or each.")
    residual: bool = Field(default=False, description="Layers of recurrent get all before them.")
    extract_layer: str = Field(default="", description="Answer this layer's values instead.")
    loss: str = Field(
        default="", description="Of numbers: L1, L2 (also eucl); of masks: dice..., focal."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the weights of a new model.")
    net: Net = Field(default_factory=Net, description="Sizes of batches.")
    _lacks_gpu: bool = PrivateAttr(default=False)

    @field_validator("resume_from", mode="before")
    @classmethod
    def _selector(cls, value: Any) -> Any:
        if value not in ("", "latest", "best"):
            raise ValueError("resume_from must be one of: latest, best")
        return value

    @field_validator("datatype", mode="before")
    @classmethod
    def _known_type(cls, value: Any) -> Any:
        if value not in get_args(Datatype):
            raise ValueError(f"unknown datatype {str(value)[:40]}")
        return value

    def unknown(self, where: str) -> list[str]:
        """See ParameterObject; defaults for trainings may stand here too."""
        trainings = {f"{where}.{name}" for name in TorchTraining.model_fields}
        found = [each for each in super().unknown(where) if each.split(" ")[0] not in trainings]
        if self._lacks_gpu:
            found.append(f"{where}.gpu was ignored: GPU is not available, the CPU computes")
        return found

    def on_cpu(self) -> Self:
        """The same where there is no GPU, which `unknown` tells if one was asked for."""
        if not self.gpu:
            return self
        found = self.model_copy(update={"gpu": False})
        found._lacks_gpu = True
        return found


class TorchCall(TorchParameters):
    """Options of a predict call, with those of its output that act inside the model."""

    settings: dict[str, Any] = Field(default_factory=dict, description="Filled in, not asked for.")
    blob: str = Field(default="", description="Filled in: the layer of a classifier's logits.")

    def told(self, output: OutputParameters) -> TorchCall:
        """The same with what the call wants of a detector (D-16, D-18), a segmenter (D-17)
        or a classifier (`logits_blob`)."""
        settings = {
            "nms_threshold": output.nms_threshold,
            "top_k": output.top_k,
            "rois": output.rois,
            "with_logits": output.logits,
            "with_scores": bool(self.extract_layer) or any(c != "best" for c in output.confidences),
        }
        return self.model_copy(update={"settings": settings, "blob": output.logits_blob})


class TorchTraining(TorchParameters, Augmentation):
    """Options of a training."""

    solver: Solver = Field(description="How the weights are changed; mandatory.")
    resume: bool = Field(default=False, description="Go on from the repository's checkpoint.")
    class_weights: Numbers = Field(default=(), description="Weight of each class in the loss.")
    dataloader_threads: int = Field(
        default=1, ge=1, le=512, description="Threads that read samples."
    )
