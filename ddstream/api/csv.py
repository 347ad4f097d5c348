"""`parameters.input` of the connector of tables."""

from __future__ import annotations

from pydantic import Field, model_validator

from ddstream.api.parameters import Strings
from ddstream.api.tables import TableInput


class CsvInput(TableInput):
    """How tables, a row a sample, become numbers (contract 3.4)."""

    connector: str = Field(default="csv", description="`csv`.")
    categoricals: Strings = Field(
        default=(), description="Columns of words: each of their values becomes a column."
    )
    categoricals_mapping: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="Place of each value of such columns, as a training returns it.",
    )
    autoencoder: bool = Field(default=False, description="A row is to be given back: no label.")

    @model_validator(mode="after")
    def _mapped(self) -> CsvInput:
        for name, places in self.categoricals_mapping.items():
            if sorted(places.values()) != list(range(len(places))) or not places:
                raise ValueError(
                    f"categoricals_mapping of {name[:80]} must number its values from 0 on"
                )
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """Columns of words, whether listed or mapped."""
        return tuple(dict.fromkeys((*self.categoricals, *self.categoricals_mapping)))
