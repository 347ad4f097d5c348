"""Outcomes: how an error, or somebody who has had enough, ends a workflow (contract 8.1)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ddstream.commands.workflow.options import Unavailable
from ddstream.face.failures import DeepDetectError
from ddstream.logs import configure

log = logging.getLogger(__name__)

QUIET = "WARNING"
"""What is logged of a workflow: its events tell the rest."""
FAILED, WRONG, INTERRUPTED = 1, 2, 130


class DataSetError(ValueError):
    """A data set that no training could use; the first faults of it were told."""


class TrainingFailed(Exception):
    """The training ended with an error."""

    def __init__(self, status: object, dd_code: object, message: object) -> None:
        super().__init__(said(status, dd_code, message))


def said(status: object, dd_code: object, message: object) -> str:
    """An error of the API in one line."""
    return f"DeepDetect error: status={status} dd_code={dd_code} message={message}"


def explained(error: BaseException) -> str:
    """What is said of an exception."""
    if isinstance(error, DeepDetectError):
        return said(error.status_code, error.dd_code, error.message)
    if isinstance(error, TrainingFailed):
        return str(error)
    return f"{type(error).__name__}: {error}"


@contextmanager
def outcomes() -> Iterator[None]:
    """Say what went wrong on stderr, and end with the code of it: 1, 2 or 130."""
    configure(QUIET, "text")
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Unavailable as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(WRONG) from error
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        log.debug("the workflow failed", exc_info=error)
        typer.echo(explained(error), err=True)
        raise typer.Exit(FAILED) from error
