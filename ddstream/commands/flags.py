"""The flags that the commands share: one for each setting."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ddstream.logs import configure
from ddstream.settings import Settings, SettingsError
from ddstream.telemetry.origin import origin
from ddstream.telemetry.tracing import TelemetryMissingError, tracing
from ddstream.version import __version__


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for each setting; it gets them as `settings`."""

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in Settings.model_fields if name in given}
        try:
            settings = Settings(**{k: v for k, v in chosen.items() if v is not None})
        except ValidationError as error:
            problems = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
            raise typer.BadParameter(problems) from error
        try:
            with observed(settings):
                command(settings=settings, **given)
        except SettingsError as error:
            raise typer.BadParameter(str(error)) from error

    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [parameter for parameter in own if parameter.name != "settings"]
    names = {parameter.name for parameter in parameters}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters + [_flag(name) for name in Settings.model_fields if name not in names]
    )
    return run


def _flag(name: str) -> inspect.Parameter:
    text = (Settings.model_fields[name].description or "").partition("\n")[0]
    flag = typer.Option(f"--{name.replace('_', '-')}", help=text, rich_help_panel="Settings")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, flag]
    )


@contextmanager
def observed(settings: Settings) -> Iterator[None]:
    """The log and the spans of a command, as its settings say."""
    configure(
        settings.log_level,
        settings.log_format,
        secrets=settings.secrets(),
        about=lambda: origin().fields(),
    )
    try:
        with tracing(settings.traces, __version__):
            yield
    except TelemetryMissingError as error:
        raise typer.BadParameter(str(error)) from error
