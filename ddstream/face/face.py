"""The synchronous face of an Api: services as objects, for scripts and notebooks."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, Self, TypeVar, overload

import orjson

from ddstream.api.envelope import Answer, Json, dumps
from ddstream.api.parameters import envelope
from ddstream.api.predict import PredictRequest
from ddstream.api.protocol import Api
from ddstream.api.service import ServiceDefinition, clear_mode
from ddstream.api.train import TrainRequest
from ddstream.face.failures import failures
from ddstream.face.given import native
from ddstream.face.loop_thread import LoopThread, Opening
from ddstream.face.training_job import TrainingJob
from ddstream.logs import service_log

T = TypeVar("T")

Options = Mapping[str, Any] | None

_LEVELS = {"trace": 5, "warn": 30, "err": 40, "off": 60}


class Face:
    """Services by name. It starts at the first call and stops at `close`, `with`, or exit.

    Every method raises DeepDetectError for an answer that is an error.
    """

    def __init__(self, opening: Opening) -> None:
        thread = LoopThread(opening)
        self._thread = thread
        self._finalizer = weakref.finalize(self, thread.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; later calls raise RuntimeError."""
        self._finalizer()

    def ask(self, verb: Callable[[Api], Coroutine[Any, Any, T]], gpu: bool = False) -> T:
        """What a verb of the Api answers; `gpu` says that the call asked for a GPU."""
        with failures(gpu):
            return self._thread.run(verb)

    def info(self, *, status: bool = False) -> Json:
        """The head of `/info`: version and services, with their jobs where `status`."""
        return dict(self.ask(lambda api: api.info(status=status)).head)

    def create_service(
        self,
        name: str,
        *,
        model: Mapping[str, Any],
        mllib: str,
        input_parameters: Mapping[str, Any],
        mllib_parameters: Options = None,
        output_parameters: Options = None,
        service_type: str = "supervised",
        description: str | None = None,
    ) -> Service:
        """Create a service: see PUT /services."""
        raw = {
            "mllib": mllib,
            "type": service_type,
            "description": description or "",
            "model": model,
            "parameters": _parameters(input_parameters, mllib_parameters, output_parameters),
        }
        with failures():
            definition = envelope(ServiceDefinition, native(raw, ""))
        self.ask(lambda api: api.create_service(name, definition), _asks_gpu(mllib_parameters))
        return Service(self, name)

    def service(self, name: str) -> Service:
        """A service that exists."""
        self.ask(lambda api: api.get_service(name, status=False))
        return Service(self, name)

    def set_log_level(self, level: int | str) -> None:
        """How much ddstream logs: a level of `logging`, by name or number."""
        _set_level(logging.getLogger("ddstream"), level)

    def set_service_log_level(self, name: str, level: int | str) -> None:
        """How much one service logs: its trainings, and the faults of its model."""
        _set_level(service_log(name), level)


class Service:
    """A service: predicts, trains, and is deleted at the end of `with`.

    After `delete` every method raises RuntimeError.
    """

    def __init__(self, face: Face, name: str) -> None:
        self._face = face
        self._deleted = False
        self.name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._deleted:
            self.delete()

    def info(self, *, status: bool = True, labels: bool = False) -> Json:
        """The service object: see GET /services."""
        face = self._living()
        return _plain(
            face.ask(lambda api: api.get_service(self.name, status=status, labels=labels)).body
        )

    def predict(
        self,
        data: Any,
        *,
        input_parameters: Options = None,
        mllib_parameters: Options = None,
        output_parameters: Options = None,
    ) -> Json:
        """The body of a prediction: `predictions`, one a datum.

        `data` is one element or a list of them: paths, URLs, base64, bytes of an image, or uint8
        arrays (H x W, H x W x 3 RGB, H x W x 4 RGBA); TypeError for others. With a template the
        body is `{"text": ...}`, with a network sink `{"relay": {"code": ..., "content": ...}}`.
        """
        face = self._living()
        given = _parameters(input_parameters, mllib_parameters, output_parameters)
        elements = _listed(data)
        with failures():
            parameters = native(given, "parameters")
            raw = {"service": self.name, "data": elements, "parameters": parameters}
            request = envelope(PredictRequest, raw)
        return _body(face.ask(lambda api: api.predict(request), _asks_gpu(mllib_parameters)))

    @overload
    def train(
        self,
        data: Any,
        *,
        input_parameters: Options = None,
        mllib_parameters: Options = None,
        output_parameters: Options = None,
        asynchronous: Literal[False] = False,
    ) -> Json: ...

    @overload
    def train(
        self,
        data: Any,
        *,
        input_parameters: Options = None,
        mllib_parameters: Options = None,
        output_parameters: Options = None,
        asynchronous: Literal[True],
    ) -> TrainingJob: ...

    def train(
        self,
        data: Any,
        *,
        input_parameters: Options = None,
        mllib_parameters: Options = None,
        output_parameters: Options = None,
        asynchronous: bool = False,
    ) -> Json | TrainingJob:
        """Train, and return the report's body; at once a TrainingJob if `asynchronous`."""
        face = self._living()
        raw = {
            "service": self.name,
            "async": asynchronous,
            "data": [os.fspath(element) for element in _listed(data)],
            "parameters": _parameters(input_parameters, mllib_parameters, output_parameters),
        }
        with failures():
            request = envelope(TrainRequest, native(raw, ""))
        answer = face.ask(lambda api: api.train(request), _asks_gpu(mllib_parameters))
        if asynchronous:
            return TrainingJob(face.ask, self.name, answer.head["job"])
        return _plain(answer.body)

    def delete(self, clear: str | None = None) -> None:
        """Delete the service; `clear` says what becomes of its files: see DELETE /services."""
        face = self._living()
        with failures():
            mode = clear_mode(clear or "mem")
        face.ask(lambda api: api.delete_service(self.name, mode))
        self._deleted = True

    def _living(self) -> Face:
        if self._deleted:
            raise RuntimeError(f"service {self.name} was deleted")
        return self._face


def _parameters(inputs: Options, mllib: Options, output: Options) -> Json:
    parts = {"input": inputs, "mllib": mllib, "output": output}
    return {name: dict(part) for name, part in parts.items() if part}


def _asks_gpu(mllib: Options) -> bool:
    return bool((mllib or {}).get("gpu"))


def _listed(data: Any) -> list[Any]:
    elements = data if isinstance(data, list | tuple) else [data]
    return [_element(element) for element in elements]


def _element(element: Any) -> Any:
    if isinstance(element, str | bytes):
        return element
    if isinstance(element, os.PathLike):
        return os.fspath(element)
    shape = getattr(element, "shape", None)
    if shape is None:
        raise TypeError(f"data holds a {type(element).__name__}, not a path, bytes or an array")
    if str(element.dtype) != "uint8" or not (
        len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    ):
        raise TypeError(f"an image is uint8, H x W or H x W x 3 or 4, not {element.dtype} {shape}")
    return element


def _plain(value: Mapping[str, Any]) -> Json:
    # Callers get what a client of a server would: numbers, lists, null for NaN.
    plain: Json = orjson.loads(dumps(value))
    return plain


def _body(answer: Answer) -> Json:
    if answer.relay is not None:
        content = answer.relay.content.decode(errors="replace")
        return {"relay": {"code": answer.relay.code, "content": content}}
    if answer.text is not None:
        return {"text": answer.text}
    return _plain(answer.body)


def _set_level(logger: logging.Logger, level: int | str) -> None:
    if isinstance(level, str):
        level = _LEVELS.get(level.lower(), level.upper())
    logger.setLevel(level)
