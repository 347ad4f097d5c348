"""The model of a service: from a template or a traced file, with its weights in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from ddstream.api.torch import TorchParameters
from ddstream.backends.torch.network.head import Headed, Scores, beside
from ddstream.backends.torch.network.room import check_room
from ddstream.backends.torch.network.taken import mapping, taking
from ddstream.backends.torch.network.weights import (
    State,
    choose,
    read_script,
    read_state,
    scripted,
)
from ddstream.backends.torch.purpose import BESIDE, DETECTORS, READERS, TEXTS, TRACEABLE
from ddstream.data import UNSIZED, Dimensions
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from ddstream.templates import TEMPLATES
from ddstream.templates.crnn import behind

MOST = 5
"""Most names that an error lists."""

GOALS = ("self_supervised",)
"""Those of them that say what a model is for; weights are good for more than one goal."""

Shapes: TypeAlias = dict[str, torch.Size]


@dataclass(frozen=True, slots=True)
class Model:
    """A module on the CPU in fp32, and what is known of it.

    `trained` says that all its weights are from a file; `detects` that it finds objects, in images
    of three channels, whatever its first layer makes of them (contract 5.8).
    """

    module: nn.Module
    traced: bool
    trained: bool
    warnings: tuple[str, ...] = ()
    detects: bool = False

    @property
    def channels(self) -> int | None:
        """Channels of the images it takes, by its first convolution; None if there is none."""
        if self.detects:
            return 3
        named = self.module.named_parameters()
        weights = (p for name, p in named if p.dim() == 4 and name.endswith("weight"))
        return next((weight.shape[1] for weight in weights), None)

    @property
    def layers(self) -> list[str]:
        """Names of the layers whose values can be extracted; `last` always is one."""
        return list(self.extractable)

    @property
    def extractable(self) -> Mapping[str, str]:
        """Where each layer that can be extracted is in the module; "" is the result itself.

        Templates may have names of their own for their layers.
        """
        if self.traced:
            traced: Mapping[str, str] = getattr(self.module, "extractable", {"final": ""})
            return {"last": "", **traced}
        own: Mapping[str, str] = getattr(self.module, "extractable", {})
        return {
            "last": "",
            **own,
            **{name: name for name, _ in self.module.named_modules() if name},
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model is built from: the request, the sizes of its samples, and where weights lie.

    `start` is the file to load; without it that is as `choose` finds it, among the repository's and
    `pretrained`, a file of anywhere.
    """

    parameters: TorchParameters
    repository: Repository
    dimensions: Dimensions = UNSIZED
    weights: str = ""
    start: Path | None = None
    pretrained: Path | None = None


def load_model(plan: Plan) -> Model:
    """Build the model and load its weights.

    Raises ParameterError where the parameters and the files do not make one model, Unbuilt where
    a size is not known before there are data.
    """
    parameters, repository = plan.parameters, plan.repository
    weights, start, template = plan.weights, plan.start, parameters.template
    if template and template not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        raise ParameterError(f"invalid torch model template {template}; there is: {known}")
    choice = choose(repository, weights, parameters.resume_from, plan.pretrained)
    path = start or choice.path
    if template and not (path is not None and scripted(path) and _traceable(parameters, path)):
        named = bool(weights or start or plan.pretrained)
        _refuse_traced(path, parameters, repository, explicit=named)
        native = _frozen(_native(plan, path, choice.warnings), parameters)
        return replace(native, detects=template in DETECTORS)
    if path is None or not scripted(path):
        raise ParameterError(
            "Use of libtorch backend needs either: traced net, protofile or native template"
        )
    traced = _frozen(_traced(plan, path, choice.warnings), parameters)
    return replace(traced, detects=template in DETECTORS)


def _traceable(parameters: TorchParameters, path: Path) -> bool:
    """Whether the template's model can be the traced one of a file, or a head behind that."""
    if parameters.template in READERS and path.suffix == ".pt":
        return parameters.finetuning or beside(path).is_file()
    return parameters.template in TRACEABLE


def body(module: nn.Module) -> nn.Module:
    """What `freeze_traced` leaves as it is: all but the head.

    Raises ParameterError where the two cannot be told apart.
    """
    found = getattr(module, "body", None)
    if not isinstance(found, nn.Module):
        raise ParameterError("parameters.mllib.freeze_traced: the model has no head of its own")
    return found


def _frozen(model: Model, parameters: TorchParameters) -> Model:
    if parameters.freeze_traced:
        still(body(model.module))
    return model


def still(module: nn.Module) -> nn.Module:
    """The module, whose weights learn no more."""
    for each in module.parameters():
        each.requires_grad_(False)
    return module


def _refuse_traced(
    path: Path | None, parameters: TorchParameters, repository: Repository, *, explicit: bool
) -> None:
    # Without a named file any traced one in the folder could be meant.
    found = [path] if explicit else [path, *repository.path.glob("*.pt")]
    if not any(f is not None and f.suffix == ".pt" and scripted(f) for f in found):
        return
    if parameters.finetuning:
        raise ParameterError(
            "If you want to finetune a model using a native template, "
            "move the weights to a .npt file"
        )
    raise ParameterError(
        "Only one of these must be provided: traced net, protofile or native template"
    )


def _traced(plan: Plan, path: Path, warnings: Sequence[str]) -> Model:
    parameters = plan.parameters
    reads = parameters.template in READERS
    if not reads and set(parameters.template_params) - set(BESIDE.get(parameters.template, ())):
        raise ParameterError("template_params need a template that is built, not a traced net")
    compiler = parameters.jit_compiler_params
    torch.jit.set_fusion_strategy(
        [("STATIC", compiler.fusion_static), ("DYNAMIC", compiler.fusion_dynamic)]
    )
    script = read_script(path).eval()
    classifies = parameters.template == "bert" and not parameters.self_supervised
    if classifies or reads or (parameters.finetuning and not parameters.template):
        return _with_head(script, plan, path, warnings)
    said = [*warnings]
    if parameters.finetuning and parameters.template not in TEXTS:
        raise ParameterError(
            f"finetuning of a traced {parameters.template} is not supported: it has no one head"
        )
    if parameters.finetuning:
        said.append("finetuning has no effect: the traced net's own head tells words")
    return Model(script, traced=True, trained=True, warnings=tuple(said))


def _with_head(
    script: torch.jit.ScriptModule,
    plan: Plan,
    path: Path,
    warnings: Sequence[str],
) -> Model:
    """A traced net with a head of ours, that of its checkpoint or a fresh one."""
    parameters = plan.parameters
    with _fresh(parameters):
        module = _headed(script, plan)
    head = module.head
    skipped: list[str] = []
    if trained := (file := beside(path)).is_file():
        state = read_state(file)
        # All of a head is new, or nothing is.
        fresh = parameters.finetuning and _shapes(state) != _shapes(head.state_dict())
        skipped = list(state) if fresh else fill(head, state, file.name)
    said = [*warnings, *_skipped(skipped, file)]
    return Model(module.eval(), traced=True, trained=trained and not skipped, warnings=tuple(said))


def _headed(script: torch.jit.ScriptModule, plan: Plan) -> Headed:
    parameters, dimensions = plan.parameters, plan.dimensions
    if parameters.template in READERS:
        taken, shape = mapping(script, dimensions)
        return Headed(script, taken, behind(shape, dimensions, template_params(parameters)))
    outputs = parameters.nclasses or parameters.ntargets
    if not outputs or parameters.ctc or parameters.segmentation:
        raise ParameterError(
            "finetuning of a traced net needs nclasses or ntargets, and no other; "
            "to read texts, the template crnn"
        )
    taken, width = taking(script, parameters, dimensions)
    return Headed(script, taken, Scores(width, outputs))


def _native(plan: Plan, path: Path | None, warnings: Sequence[str]) -> Model:
    parameters = plan.parameters
    module = initialised(parameters, plan.dimensions)
    if path is None:
        return Model(module, traced=False, trained=False, warnings=tuple(warnings))
    skipped = fill(module, read_state(path), path.name, finetuning=parameters.finetuning)
    said = [*warnings, *_skipped(skipped, path)]
    return Model(module, traced=False, trained=not skipped, warnings=tuple(said))


def initialised(parameters: TorchParameters, dimensions: Dimensions) -> nn.Module:
    """A template's model with fresh weights of its own seed; the global generator is left alone.

    Raises ParameterError for sizes that no memory has.
    """
    build, options = TEMPLATES.load(parameters.template), template_params(parameters)
    check_room(lambda: build(dimensions, options), parameters.template)
    with _fresh(parameters):
        return build(dimensions, options).eval()


@contextmanager
def _fresh(parameters: TorchParameters) -> Iterator[None]:
    """Within, weights are made of their own seed. Raises ParameterError for impossible sizes."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(parameters.seed)
            yield
    except (RuntimeError, MemoryError) as error:
        # So torch says that there is no memory of such a size.
        said, name = str(error).partition("\n")[0][:200], parameters.template or "head"
        raise ParameterError(f"a {name} of these sizes cannot be: {said}") from error


def template_params(parameters: TorchParameters) -> dict[str, Any]:
    """`template_params`, and what stands beside them in `mllib` for the template (contract 5.1).

    Raises ParameterError where what the model is for is hidden in them.
    """
    for name in GOALS:
        if name in parameters.template_params:
            raise ParameterError(f"{name} stands in parameters.mllib, not in its template_params")
    names = BESIDE.get(parameters.template, ())
    given = {name: getattr(parameters, name) for name in names}
    beside = {name: each for name, each in given.items() if name in parameters.model_fields_set}
    return {**beside, **parameters.template_params}


def fill(module: nn.Module, state: State, source: str, *, finetuning: bool = False) -> list[str]:
    """Load a state dict; with `finetuning` what does not fit keeps its fresh weights.

    Returns the names that were not loaded. Raises ParameterError with the first that do not fit,
    or if nothing fits at all.
    """
    # Templates know the names that public weights have beside their own.
    state = getattr(module, "translated", dict)(state)
    own, given = _shapes(module.state_dict()), _shapes(state)
    wrong = [name for name in own | given if own.get(name) != given.get(name)]
    # Counters of batches are younger than many public weights, and do nothing at a momentum.
    wrong = [name for name in wrong if not name.endswith("num_batches_tracked")]
    fitting = {name: state[name] for name in state if own.get(name) == given[name]}
    if wrong and (not finetuning or not fitting):
        raise ParameterError(f"weights of {source} do not fit: {_listed(wrong, own, given)}")
    module.load_state_dict(fitting, strict=False)
    return wrong


def _shapes(state: Mapping[str, torch.Tensor]) -> Shapes:
    return {name: value.shape for name, value in state.items()}


def _listed(wrong: Sequence[str], own: Shapes, given: Shapes) -> str:
    def shape(shapes: Shapes, name: str) -> str:
        return str(list(shapes[name])) if name in shapes else "missing"

    lines = [
        f"{name} is {shape(given, name)} in the file and {shape(own, name)} in the model"
        for name in wrong[:MOST]
    ]
    rest = len(wrong) - MOST
    return "; ".join(lines) + (f"; and {rest} more" if rest > 0 else "")


def _skipped(names: Sequence[str], path: Path) -> list[str]:
    if not names:
        return []
    listed = ", ".join(names[:MOST]) + (", ..." if len(names) > MOST else "")
    return [f"finetuning: not loaded from {path.name}: {listed}"]
