"""`parameters.input` of the connector of sparse rows."""

from __future__ import annotations

from pydantic import Field

from ddstream.api.tables import SplitInput


class SvmInput(SplitInput):
    """How lines of `label id:value ...` become samples (contract 3.7)."""

    connector: str = Field(default="svm", description="`svm`.")
