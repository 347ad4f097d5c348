"""A service: a connector and a backend behind one lane, and how its calls are planned."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddstream.api.envelope import Json, dumps
from ddstream.api.parameters import merged
from ddstream.api.predict import Call, OutputParameters
from ddstream.api.service import Parameters, ServiceDefinition
from ddstream.api.stream import stream_options
from ddstream.backends import Backend
from ddstream.connectors import CONNECTORS, Connector
from ddstream.connectors.protocol import Limits
from ddstream.data import Datum
from ddstream.engine.lane import Finished, Lane
from ddstream.engine.meters import Meters
from ddstream.engine.pipeline import Errand
from ddstream.engine.work import Plan, Work
from ddstream.errors import InputError, ParameterError
from ddstream.repository import Repository
from ddstream.tasks.options import idle, misplaced, unmeasured

PLANS = 64
"""Plans that a service keeps; callers use few sets of parameters, an attacker many."""


@dataclass(slots=True)
class ServiceStats:
    """Counters of predict calls (contract 1.5); durations in seconds."""

    inferences: int = 0
    success: int = 0
    failure: int = 0
    predicting: float = 0.0
    transforming: float = 0.0

    def count(self, work: Work, seconds: float) -> None:
        """Add an answered call that took `seconds`."""
        if work.error is None:
            self.success += 1
            self.inferences += work.predicted
        else:
            self.failure += 1
        self.predicting += seconds
        self.transforming += work.decoded

    def to_json(self) -> Json:
        """The `service_stats` object."""
        calls = self.success + self.failure
        predict, transform = (
            total / calls if calls else 0.0 for total in (self.predicting, self.transforming)
        )
        return {
            "inference_count": self.inferences,
            "predict_count": calls,
            "predict_success": self.success,
            "predict_failure": self.failure,
            "avg_batch_size": self.inferences / calls if calls else -1.0,
            "avg_predict_duration": predict,
            "avg_transform_duration": transform,
            "avg_predict_duration_ms": predict * 1e3,
            "avg_transform_duration_ms": transform * 1e3,
            "avg_predict_duration_s": predict,
            "avg_transform_duration_s": transform,
            "total_predict_duration_ms": self.predicting * 1e3,
            "total_transform_duration_ms": self.transforming * 1e3,
        }


class Service:
    """A loaded service. It plans calls; the engine runs them."""

    def __init__(
        self,
        name: str,
        definition: ServiceDefinition,
        repository: Repository,
        backend: Backend,
        *,
        limits: Limits,
    ) -> None:
        self.name = name
        self.definition = definition
        self.repository = repository
        self.backend = backend
        self.stats = ServiceStats()
        self.limits = limits
        self.one_at_a_time = not getattr(backend.parameters, "concurrent_predict", True)
        self.queue: deque[Errand] = deque()
        """Calls that wait for the one before, when calls may not run side by side."""
        self.running: Work | None = None
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()
        self._lane: Lane | None = None

    @property
    def lane(self) -> Lane:
        """Its lane, from `start` on."""
        assert self._lane is not None
        return self._lane

    def start(self, finished: Finished, max_batch: int) -> None:
        """Start the lane; `finished` gets each batch."""
        own = getattr(getattr(self.backend.parameters, "net", None), "test_batch_size", 0)
        seconds = stream_options(self.definition).forward_timeout
        self._meters = Meters(self.name)
        self._lane = Lane(self._meters, own or max_batch, seconds, finished)

    def stop(self) -> None:
        """Finish what the lane holds and free the model; blocks."""
        self.lane.close()
        self.lane.release(self.backend)
        self._meters.forget()

    def replace(self, backend: Backend) -> Backend:
        """Serve new calls with another backend; calls that are planned keep the old one, which
        is returned."""
        old, self.backend = self.backend, backend
        self._plans.clear()
        return old

    def plan(self, parameters: Parameters) -> Plan:
        """How a call with such parameters is done. Raises DDError for a bad parameter."""
        key = dumps([parameters.input, parameters.mllib, parameters.output])
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._make_plan(parameters)
            if len(self._plans) > PLANS:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan

    def errand(self, call: Call) -> Errand:
        """The work of a call, its inline data in place. Raises DDError."""
        work = Work(call, self.plan(call.parameters), self._meters)
        if call.raw:
            uris = call.uris
            work.data = [Datum(uris[i], content) for i, content in enumerate(call.data)]
        return Errand(work, self.lane)

    def connector(self, raw: Mapping[str, Any]) -> Connector:
        """The connector for these parameters over the service's own. Raises InputError."""
        own = self.definition.parameters.input
        name = str(own.get("connector", ""))
        kind, asked = CONNECTORS.load(name), raw.get("connector")
        if isinstance(asked, str) and asked:
            # A connector may have two names.
            same = asked in CONNECTORS and CONNECTORS.load(asked) is kind
            if not same:
                raise InputError(f"parameters.input.connector: input should be {name!r}")
        return kind(merged(own, raw), self.repository, self.limits)

    def describe(self) -> Json:
        """What this process knows of it, for `GET /services/x` (contract 1.5)."""
        own = self.definition.parameters
        connector = self.connector({})
        output = OutputParameters.parse(own.output, "parameters.output", ParameterError)
        stats = self.backend.stats().to_json()
        return {
            "name": self.name,
            "description": self.definition.description,
            "mllib": self.definition.mllib,
            "mltype": self.backend.mltype,
            "type": self.definition.type,
            "parameters": {
                "input": connector.parameters.typed(),
                "mllib": self.backend.parameters.typed(),
                "output": output.typed(),
            },
            "repository": str(self.repository.path),
            **connector.describe(),
            "model_stats": stats,
            "stats": stats,
            "trained": self.backend.trained,
            "labels": self.repository.classes(),
        }

    def warnings(self) -> list[str]:
        """What the creation request asked for and nothing read."""
        plan = self.plan(Parameters())
        return [*plan.warnings, *getattr(self.backend, "warnings", ())]

    def _make_plan(self, parameters: Parameters) -> Plan:
        own = self.definition.parameters
        connector = self.connector(parameters.input)
        raw_output = merged(own.output, parameters.output)
        output = OutputParameters.parse(raw_output, "parameters.output", ParameterError)
        mllib = merged(own.mllib, parameters.mllib)
        call = self.backend.call_parameters(mllib, output)
        task = self.backend.task(call)
        # Creation's are for trainings: most predictions are of data without labels.
        measures = output.measure if parameters.output.get("measure") else ()
        parts = (
            ("parameters.input", connector.parameters),
            ("parameters.mllib", call),
            ("parameters.output", output),
        )
        unknown = [line for where, part in parts for line in part.unknown(where)]
        return Plan(
            connector=connector,
            backend=self.backend,
            parameters=call,
            task=task,
            output=output,
            fetch_timeout=float(getattr(connector.parameters, "timeout", 6000)),
            group=(id(self.backend), repr(call)),
            warnings=(
                *unknown,
                *misplaced(parameters.input, task.name),
                *idle(output, task.name),
                *unmeasured(measures, task),
            ),
            measures=measures,
            mllib=mllib,
            in_order=getattr(connector.parameters, "continuation", False) is True,
        )
