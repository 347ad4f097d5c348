"""Loading a service: the checks of its creation in the reference's order (contract 1.3)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ddstream.api.predict import OutputParameters
from ddstream.api.service import ModelObject, Parameters, ServiceDefinition
from ddstream.api.stream import StreamParameters
from ddstream.backends import BACKENDS, RETIRED, WORKER, BackendType
from ddstream.backends.protocol import Setup
from ddstream.connectors import CONNECTORS, Connector
from ddstream.connectors.protocol import Limits
from ddstream.engine.pretrained import pretrained
from ddstream.engine.service import Service
from ddstream.errors import BadRequest, ConnectorNotFound, ParameterError, UnknownLibrary
from ddstream.repository import CONFIG, Repository
from ddstream.roots import OutsideRoots


def load_service(
    name: str, definition: ServiceDefinition, limits: Limits, *, create: bool = True
) -> Service:
    """Check a definition, open its repository and load its model; blocks.

    With `create` the request is kept in the repository, and `from_repository` is copied.
    Raises DDError in the reference's order; then nothing has changed but the repository's folder.
    """
    connector_name = definition.parameters.input.get("connector")
    if not isinstance(connector_name, str):
        raise BadRequest("parameters.input.connector is missing")
    backend_type = library(definition.mllib)
    model = ModelObject.parse(definition.model, "model", ParameterError)
    repository = open_repository(definition, model, limits, create=create)
    if definition.type not in backend_type.service_types:
        raise ParameterError(f"type {definition.type} is not supported by {definition.mllib}")
    if connector_name not in CONNECTORS or connector_name not in backend_type.connectors:
        raise ConnectorNotFound
    StreamParameters.parse(definition.parameters.stream, "parameters.stream", ParameterError)
    OutputParameters.parse(definition.parameters.output, "parameters.output", ParameterError)
    connector = CONNECTORS.load(connector_name)(definition.parameters.input, repository, limits)
    made_of = setup(definition, model, repository, connector)
    first = pretrained(definition.parameters.mllib, limits)
    backend = backend_type(replace(made_of, pretrained=first))
    service = Service(name, definition, repository, backend, limits=limits)
    service.plan(Parameters())
    copied = bool(definition.parameters.mllib.get("from_repository"))
    if create and not (copied and repository.read_json(CONFIG)):
        repository.keep_request(CONFIG, definition.model_dump(by_alias=True))
    return service


def setup(
    definition: ServiceDefinition,
    model: ModelObject,
    repository: Repository,
    connector: Connector,
) -> Setup:
    """What the backend of a service is made of."""
    return Setup(
        mllib=definition.parameters.mllib,
        input=connector.parameters,
        dimensions=connector.dimensions(),
        repository=repository,
        weights=model.weights,
        service_type=definition.type,
    )


def library(mllib: str) -> BackendType:
    """The backend of a library's name. Raises UnknownLibrary, ParameterError if it is gone."""
    if mllib in RETIRED:
        raise ParameterError(
            "the requested backend was removed; migrate the service to Torch or ONNX/TensorRT"
        )
    if mllib == WORKER:
        raise ParameterError(
            "the managed Python PyTorch worker backend is disabled; the library is torch here"
        )
    if mllib not in BACKENDS:
        raise UnknownLibrary
    try:
        return BACKENDS.load(mllib)
    except ModuleNotFoundError:
        raise  # a fault of our own: 1007 says so
    except ImportError as error:
        raise UnknownLibrary(str(error)) from error


def open_repository(
    definition: ServiceDefinition, model: ModelObject, limits: Limits, *, create: bool
) -> Repository:
    """The service's repository, below the roots; a published one is copied into it first."""
    source = _source(definition.parameters.mllib.get("from_repository"), limits)
    path = _below_roots(model.repository, "model.repository", limits)
    made = model.create_repository or source is not None
    repository = Repository.open(path, create=create and made)
    if create and source is not None:
        source.publish(repository)
    return repository


def _source(named: Any, limits: Limits) -> Repository | None:
    """The repository that is copied into a new one. Raises ParameterError if it is none."""
    if not named:
        return None
    where = "parameters.mllib.from_repository"
    if not isinstance(named, str):
        raise ParameterError(f"{where} must be a string")
    path = _below_roots(named, where, limits)
    if not path.is_dir():
        raise ParameterError(f"{where}: {named[:200]} is no folder")
    return Repository(path)


def _below_roots(path: str, where: str, limits: Limits) -> Path:
    if not path:
        raise ParameterError("destination model directory  is not writable or does not exist.")
    try:
        return limits.roots.resolve(path)
    except OutsideRoots as error:
        raise ParameterError(f"{where}: {error}") from error
