"""Stepping: batches change the weights of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import distributed

from ddstream.api.torch import TorchTraining
from ddstream.backends.torch.devices import half
from ddstream.backends.torch.failures import meaning
from ddstream.backends.torch.network.inputs import arguments, without_padding
from ddstream.backends.torch.network.model import Model, body
from ddstream.backends.torch.network.taken import untaken
from ddstream.backends.torch.objectives import Inputs, Losses, Objective, Remembering, Tensors
from ddstream.backends.torch.training.following import Average, Lookahead
from ddstream.backends.torch.training.loader import Loaded
from ddstream.backends.torch.training.schedule import rate
from ddstream.backends.torch.training.sharpness import uphill
from ddstream.backends.torch.training.solvers import clip, make_solver, resumed
from ddstream.backends.torch.training.together import Together
from ddstream.errors import InputError, ParameterError


@dataclass(frozen=True, slots=True)
class Stepped:
    """What an iteration gave: its mean loss, the parts of it, the rate that it was made with."""

    loss: float
    learning_rate: float
    parts: Mapping[str, float] = field(default_factory=dict)


class Stepping:
    """Holds a model on its device, the solver that changes its weights, and what follows these."""

    def __init__(
        self,
        model: Model,
        objective: Objective,
        parameters: TorchTraining,
        device: torch.device,
    ) -> None:
        self._model = model
        self._channels = model.channels
        self._objective = objective
        self._solver = solver = parameters.solver
        self._device = device
        self._frozen = parameters.freeze_traced
        self.module = model.module.to(device).to(memory_format=torch.channels_last)
        self._optimizer = make_solver(self.module.parameters(), solver)
        self._learning = [p for g in self._optimizer.param_groups for p in g["params"]]
        self._slow = Lookahead(self._learning, solver) if solver.looks_ahead else None
        self._average = Average(self.module, solver) if solver.swa else None
        self._half = half(parameters, device)
        self._scaler = torch.GradScaler(device.type, enabled=self._half is torch.float16)
        self._shown = ExitStack()
        self._called: Any = self.module
        self._ranks = 1

    def join(self, ranks: int) -> None:
        """Average gradients and losses with other processes from here on, whose weights become
        this one's if it is the first; the process group is there."""
        self._ranks = ranks
        self._called = Together(self.module)

    def train(self) -> None:
        """The next passes are for learning; what is frozen works as in prediction."""
        self._shown.close()
        self.module.train()
        if self._frozen:
            body(self.module).eval()

    def evaluate(self) -> None:
        """The next passes are for results, of the weights that are kept."""
        self._shown.enter_context(self.result())
        self.module.eval()

    @contextmanager
    def result(self) -> Iterator[None]:
        """Within, the module has the weights that are tested and kept: their average, if any."""
        if self._average is None:
            yield
        else:
            with self._average.shown():
                yield

    def state(self) -> dict[str, Any]:
        """The solver's state, for a checkpoint; to be taken within `result`."""
        return self._optimizer.state_dict()

    def followers(self) -> dict[str, Any]:
        """The state of all that goes along with the solver; to be taken within `result`."""
        objective = self._objective
        memory = dict(objective.memory()) if isinstance(objective, Remembering) else {}
        return {
            "slow": self._slow.state() if self._slow else [],
            "average": self._average.state() if self._average else {},
            "scaler": self._scaler.state_dict(),
            "objective": memory,
        }

    def resume(self, state: Mapping[str, Any], followers: Mapping[str, Any]) -> None:
        """Go on with kept states; the request's options stay."""
        resumed(self._optimizer, state)
        if self._average:
            self._average.resume(followers["average"])
        if self._slow:
            self._slow.resume(followers["slow"])
        if followers["scaler"]:
            self._scaler.load_state_dict(dict(followers["scaler"]))
        if isinstance(self._objective, Remembering):
            self._objective.remember(followers.get("objective", {}))

    def step(self, batches: Sequence[Loaded], iteration: int) -> Stepped:
        """One change of the weights, by the mean gradient of the batches; the first one is 0."""
        learning_rate = rate(self._solver, iteration)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.zero_grad(set_to_none=True)
        losses = self._descend(batches)
        if self._solver.sam:
            with uphill(self.module, self._learning, self._solver.sam_rho):
                self._descend(batches)
        self._change(iteration)
        # The one wait for the device in an iteration, after all its work was handed over.
        names = list(losses[0].parts)
        rows = [[each.total, *(each.parts[name] for name in names)] for each in losses]
        total, *parts = self._summed(rows)
        return Stepped(total, learning_rate, dict(zip(names, parts, strict=True)))

    def results(self, batch: Loaded) -> Tensors:
        """What the model makes of a batch, for a test."""
        with self._arithmetic():
            return self._objective.results(self.module, self._inputs(batch))

    def _change(self, iteration: int) -> None:
        self._scaler.unscale_(self._optimizer)
        clip(self._learning, self._solver)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        for follower in (self._slow, self._average):
            if follower is not None:
                follower.follow(iteration)

    def _descend(self, batches: Sequence[Loaded]) -> list[Losses]:
        """The mean gradient of the batches, of all ranks; ranks exchange theirs with the last."""
        *before, last = batches
        with self._called.no_sync() if self._ranks > 1 else nullcontext():
            losses = [self._backward(batch, len(batches)) for batch in before]
        return [*losses, self._backward(last, len(batches))]

    def _backward(self, batch: Loaded, share: int) -> Losses:
        with self._arithmetic(), self._blamed(batch):
            losses = self._objective.losses(self._called, self._inputs(batch), batch.targets)
        total = losses.total if share == 1 else losses.total / share
        self._scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        parts = {name: each.detach() / share for name, each in losses.parts.items()}
        return Losses(total.detach(), parts)

    @contextmanager
    def _blamed(self, batch: Loaded) -> Iterator[None]:
        """Raises ParameterError where a layer normalises over a batch that has one value only,
        InputError where a traced net cannot compute with the batch."""
        try:
            yield
        except ValueError as error:
            if not str(error).startswith("Expected more than 1 value per channel"):
                raise
            raise ParameterError(
                "parameters.mllib.net.batch_size: the model normalises over its batches, "
                "and one sample of this size is too few"
            ) from error
        except RuntimeError as error:
            if not self._model.traced or meaning(error, {self._device}) != "sample":
                raise
            first = next(iter(batch.inputs.values()))
            raise InputError(untaken(first.shape, error)) from error

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self._half is None:
            return nullcontext()
        return torch.autocast(self._device.type, self._half)

    def _inputs(self, batch: Loaded) -> Inputs:
        # A traced model may know one length only.
        inputs = batch.inputs if self._model.traced else without_padding(batch.inputs)
        placed = {name: each.to(self._device, non_blocking=True) for name, each in inputs.items()}
        return arguments(placed, batch.normalise, torch.float32, self._channels)

    def _summed(self, rows: Sequence[Sequence[torch.Tensor]]) -> list[float]:
        if self._ranks == 1 and len(rows) == len(rows[0]) == 1:
            return [float(rows[0][0])]
        flat = torch.stack([each.reshape(()).float() for row in rows for each in row])
        sums = flat.reshape(len(rows), -1).sum(0) if rows[1:] else flat
        if self._ranks > 1:
            distributed.all_reduce(sums)
            sums /= self._ranks
        found: list[float] = sums.tolist()
        return found
