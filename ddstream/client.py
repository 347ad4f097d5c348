"""Client: a DeepDetect server over HTTP, with the same face as DeepDetect()."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ddstream.face.face import Face, Service
from ddstream.face.failures import CapabilityError, DeepDetectError
from ddstream.face.training_job import TrainingJob
from ddstream.rest.client import HttpApi
from ddstream.settings import Settings

__all__ = ["CapabilityError", "Client", "DeepDetectError", "Service", "TrainingJob"]


class Client(Face):
    """A server at `url`, such as `http://localhost:8080`; `timeout` bounds each call, in seconds.

    `api_key` is the key to show, by default DDSTREAM_API_KEY; `cafile` has the authorities of an
    HTTPS server that the system does not know. Paths in `data` and repositories are the server's;
    bytes and arrays travel with the call.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float | None = None,
        api_key: str | None = None,
        cafile: Path | None = None,
    ) -> None:
        key = api_key or Settings().api_key
        super().__init__(partial(HttpApi, url, timeout=timeout, api_key=key, cafile=cafile))
