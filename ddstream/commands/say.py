"""How commands talk to the person in front of the terminal."""

from __future__ import annotations

import sys

import typer


def say(line: str) -> None:
    """Tell one line, at once."""
    typer.echo(line)
    sys.stdout.flush()
