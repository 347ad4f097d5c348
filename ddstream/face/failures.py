"""The exceptions of the synchronous face."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ddstream.api.envelope import Json, error_json
from ddstream.errors import DDError, ParameterError

_NO_GPU = 2000


class DeepDetectError(Exception):
    """An answer that is an error.

    `status_code` is the HTTP status, `dd_code` the API's code or None, `response` the whole JSON.
    """

    def __init__(self, error: DDError) -> None:
        self.status_code = error.code
        self.dd_code = error.dd_code
        self.message = error.text() or error.msg
        self.response: Json = error_json(error)
        super().__init__(self.message)


class CapabilityError(DeepDetectError):
    """A GPU was asked for where there is none."""

    def __init__(self, error: DDError) -> None:
        super().__init__(error)
        self.dd_code = _NO_GPU


@contextmanager
def failures(gpu: bool = False) -> Iterator[None]:
    """Raise DDErrors as DeepDetectErrors; `gpu` says that the call asked for a GPU."""
    try:
        yield
    except DDError as error:
        missing = (
            gpu and isinstance(error, ParameterError) and "GPU is not available" in error.detail
        )
        raise (CapabilityError if missing else DeepDetectError)(error) from error
