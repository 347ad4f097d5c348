"""Training and predicting from the command line."""

from __future__ import annotations

import typer


def add_workflows(app: typer.Typer, *, documented: bool = False) -> None:
    """Give an app its workflows; `documented` leaves the shorter names of `ddstream` out."""
