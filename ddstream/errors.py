"""The API's error table: one class a code, with its HTTP status, name and DeepDetect code.

DDError
 ├─ BadRequest 400          ├─ Unauthorized 401      ├─ Forbidden 403    ├─ NotFound 404
 ├─ UnknownLibrary 1000     ├─ NoData 1001           ├─ ServiceNotFound 1002
 ├─ JobNotFound 1003        ├─ ConnectorNotFound 1004
 ├─ InputError 1005         ├─ ParameterError 1006   ├─ InternalError 1007
 ├─ TrainPredictConflict 1008                        ├─ SinkError 1009
 ├─ IndexClosed 1010        ├─ IndexMissing 1011
 ├─ ActionError 1012        ├─ ActionFailed 1013
 ├─ ServiceExists 1014      ├─ ResourceExists 1015   ├─ ResourceExhausted 1016
 └─ SlowRequest 408         ├─ TooLarge 413          ├─ TooManyRequests 429
    ├─ Unavailable 503      └─ TimedOut 504
"""

from __future__ import annotations

import errno
import logging
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

log = logging.getLogger(__name__)

Severity = Literal["permanent", "transient", "fatal"]
"""Permanent: the same again fails again. Transient: later it may succeed (out of memory, a sink
that is down). Fatal: this process can no longer be trusted (a hung pass, a broken CUDA context),
another one may succeed."""


_LASTING = frozenset(
    {
        errno.EACCES,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
    }
)
"""What a system says of a path that is wrong, not of a disk or host that fails for now."""


class DDError(Exception):
    """An answer that is an error: it knows its HTTP status and its DeepDetect code."""

    code: ClassVar[int] = 500
    msg: ClassVar[str] = "InternalError"
    dd_code: ClassVar[int | None] = None
    dd_msg: ClassVar[str] = ""
    """The fixed text of the code; `detail` follows it after a colon."""
    severity: Severity = "permanent"

    def __init__(self, detail: str = "", *, head: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail or self.dd_msg or self.msg)
        self.detail = detail
        self.head = head

    def graded(self, severity: Severity) -> Self:
        """The same error, with what it means for whoever could try again."""
        self.severity = severity
        return self

    def status(self) -> dict[str, Any]:
        """The `status` object of the answer (contract 0.3)."""
        status: dict[str, Any] = {"code": self.code, "msg": self.msg}
        text = self.text()
        if self.dd_code is not None:
            status["dd_code"] = self.dd_code
        if text:
            status["dd_msg"] = text
        return status

    def text(self) -> str:
        """The text of `dd_msg`: the code's own, then the detail."""
        return ": ".join(part for part in (self.dd_msg, self.detail) if part)


class BadRequest(DDError):
    """The envelope of the request cannot be used: no JSON, no service, a wrong type."""

    code, msg = 400, "BadRequest"


class Unauthorized(DDError):
    """The request has no API key, or one that is not known here."""

    code, msg = 401, "Unauthorized"


class Forbidden(DDError):
    """The method may not be used here."""

    code, msg = 403, "Forbidden"


class NotFound(DDError):
    """Nothing of this name."""

    code, msg = 404, "NotFound"


class UnknownLibrary(DDError):
    """The mllib is unknown or not installed."""

    code, msg, dd_code, dd_msg = 404, "NotFound", 1000, "Unknown Library"


class NoData(DDError):
    """`data` is missing or empty."""

    code, msg, dd_code, dd_msg = 400, "BadRequest", 1001, "No Data"


class ServiceNotFound(DDError):
    """No service of this name."""

    code, msg, dd_code, dd_msg = 404, "NotFound", 1002, "Service Not Found"


class JobNotFound(DDError):
    """No training job of this number, or its report was read already."""

    code, msg, dd_code, dd_msg = 404, "NotFound", 1003, "Job Not Found"


class ConnectorNotFound(DDError):
    """The input connector is unknown, or the library cannot take its samples."""

    code, msg, dd_code, dd_msg = 404, "NotFound", 1004, "Input Connector Not Found"


class InputError(DDError):
    """A connector refuses a parameter or a datum."""

    code, msg, dd_code, dd_msg = 400, "BadRequest", 1005, "Service Input Error"


class ParameterError(DDError):
    """A library, a task or an output refuses a parameter."""

    code, msg, dd_code, dd_msg = 400, "BadRequest", 1006, "Service Bad Request Error"


class InternalError(DDError):
    """A fault of our own; its text carries the id that the log has."""

    code, msg, dd_code = 500, "InternalError", 1007


class TrainPredictConflict(DDError):
    """The service cannot predict while this training runs."""

    code, msg, dd_code, dd_msg = 409, "Conflict", 1008, "Train / Predict Conflict"


class SinkError(DDError):
    """A result could not be pushed to its network sink."""

    code, msg, dd_code, dd_msg = 404, "Not Found", 1009, "Output Connector Network Error"


class IndexClosed(DDError):
    """Nothing can be added to a similarity index that was built."""

    code, msg, dd_code = 403, "Forbidden", 1010
    dd_msg = "Cannot index after similarity search tree has been built"


class IndexMissing(DDError):
    """There is no similarity index to search in yet."""

    code, msg, dd_code = 403, "Forbidden", 1011
    dd_msg = "Cannot search before similarity search tree has been built"


class ActionError(DDError):
    """A chain's action is unknown or lacks a parameter."""

    code, msg, dd_code = 400, "BadRequest", 1012


class ActionFailed(DDError):
    """A chain's action failed inside."""

    code, msg, dd_code = 400, "InternalError", 1013


class ServiceExists(DDError):
    """A service of this name is there already."""

    code, msg, dd_code, dd_msg = 409, "Conflict", 1014, "Service already exists"


class ResourceExists(DDError):
    """A resource of this name is there already."""

    code, msg, dd_code, dd_msg = 409, "Conflict", 1015, "Resource already exists!"


class ResourceExhausted(DDError):
    """The resource has ended."""

    code, msg, dd_code, dd_msg = 403, "Forbidden", 1016, "Resource is exhausted"


class SlowRequest(DDError):
    """The body did not arrive in time."""

    code, msg = 408, "Request Timeout"


class TooLarge(DDError):
    """The request or the answer is over the size limit."""

    code, msg = 413, "Request Entity Too Large"


class TooManyRequests(DDError):
    """Refused for load: come back after `retry_after` seconds."""

    code, msg = 429, "Too Many Requests"
    retry_after = 1


class Unavailable(DDError):
    """The broker is away, or the process is stopping."""

    code, msg = 503, "Service Unavailable"


class TimedOut(DDError):
    """The deadline has passed, or no worker answered."""

    code, msg = 504, "Gateway Timeout"


_BY_DD_CODE: Mapping[int, type[DDError]] = {
    error.dd_code: error for error in DDError.__subclasses__() if error.dd_code is not None
}
_BY_CODE: Mapping[int, type[DDError]] = {
    error.code: error for error in DDError.__subclasses__() if error.dd_code is None
}


def from_status(status: Mapping[str, Any], head: Mapping[str, Any] | None = None) -> DDError:
    """The error that a far side answered with `status`: same class, code and text."""
    error: type[DDError] | None = _BY_DD_CODE.get(status.get("dd_code", 0))
    error = error or _BY_CODE.get(status.get("code", 500), InternalError)
    text = str(status.get("dd_msg", ""))
    if error.dd_msg and text.startswith(error.dd_msg):
        text = text[len(error.dd_msg) :].removeprefix(": ")
    return error(text, head=head)


def severity(error: BaseException) -> Severity:
    """What an exception means for whoever could try again."""
    if isinstance(error, DDError):
        return error.severity
    if isinstance(error, MemoryError | TimeoutError | ConnectionError):
        return "transient"
    # Libraries derive errors from OSError that no system has raised; those have no number.
    number = error.errno if isinstance(error, OSError) else None
    return "permanent" if number is None or number in _LASTING else "transient"


def fault(error: BaseException, what: str) -> DDError:
    """The answer to an exception: a DDError as it is, anything else 1007 with an id in the log."""
    if isinstance(error, DDError):
        return error
    number = secrets.token_hex(4)
    log.error("error %s: %s failed", number, what, exc_info=error)
    answer = InternalError(f"{type(error).__name__}: {str(error)[:300]} (error {number})")
    return answer.graded(severity(error))
