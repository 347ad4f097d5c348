"""What the `parameters.input` of tables have in common: columns, separators, scaling, splitting."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ddstream.api.parameters import Integers, Numbers, ParameterObject, Strings

ScaleType = Literal["minmax", "znorm"]
Character = Annotated[str, Field(min_length=1, max_length=1)]
PAIRS = (("min_vals", "max_vals"), ("mean_vals", "variance_vals"))
"""Names of what columns are scaled by, of each kind of scaling."""


class SplitInput(ParameterObject):
    """How training data are fetched, shuffled, split and kept."""

    timeout: int = Field(default=6000, ge=-1, le=36000, description="Seconds to fetch the data.")
    test_split: float = Field(default=0.0, ge=0, lt=1, description="Part held out for testing.")
    shuffle: bool = Field(default=False, description="Shuffle the training set before splitting.")
    seed: int = Field(default=-1, description="Seed of the shuffle; -1 is a random one.")
    db: bool = Field(default=False, description="Keep the samples on disk: constant memory.")


class TableInput(SplitInput):
    """How the columns of a table are read and scaled."""

    label: Strings = Field(default=(), description="Columns that are to be told.")
    label_offset: Integers = Field(
        default=(0,), description="Added to the values of the labels: one number, or one a label."
    )
    ignore: Strings = Field(default=(), description="Columns that are left out.")
    id: str = Field(default="", description="Column that names the rows; a prediction's uri.")
    separator: Character = Field(default=",", description="Between two cells: a character.")
    quote: Character = Field(default='"', description="Around a cell: a character.")
    scale: bool = Field(default=False, description="Scale the columns.")
    scale_type: ScaleType = Field(
        default="minmax", description="minmax: into [0, 1]; znorm: mean 0, variance 1."
    )
    min_vals: Numbers = Field(default=(), description="Smallest value of each column; scales.")
    max_vals: Numbers = Field(default=(), description="Largest value of each column; scales.")
    mean_vals: Numbers = Field(default=(), description="Mean of each column; scales by znorm.")
    variance_vals: Numbers = Field(default=(), description="Variance of each column.")

    @field_validator("scale_type", mode="before")
    @classmethod
    def _known_scale(cls, value: Any) -> Any:
        if value not in ("minmax", "znorm"):
            raise ValueError(f"unknown scale type: {str(value)[:40]}")
        return value

    @field_validator("label", mode="after")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name in value if value.count(name) > 1]:
            raise ValueError(f"{twice[0][:80]} is there twice")
        return value

    @model_validator(mode="after")
    def _readable(self) -> TableInput:
        if self.separator == self.quote or {self.separator, self.quote} & {"\n", "\r"}:
            raise ValueError("separator and quote must be two characters of a line")
        if len(self.label_offset) not in (1, len(self.label)):
            raise ValueError("label_offset must have one value, or one for each label")
        return self

    @model_validator(mode="after")
    def _bounded(self) -> TableInput:
        for low, high in PAIRS:
            if len(getattr(self, low)) != len(getattr(self, high)):
                raise ValueError(f"{low} and {high} must have as many values as each other")
        if any(a > b for a, b in zip(self.min_vals, self.max_vals, strict=True)):
            raise ValueError("a value of min_vals is above that of max_vals")
        if self.min_vals and self.mean_vals:
            raise ValueError("min_vals and mean_vals exclude each other")
        if self.scale_type != self.kind and "scale_type" in self.model_fields_set:
            raise ValueError(f"scale_type {self.scale_type} contradicts the values given")
        if any(value < 0 for value in self.variance_vals):
            raise ValueError("a variance is not negative")
        return self

    @property
    def scales(self) -> bool:
        """Columns are scaled: asked for, or by what to is given (D-27)."""
        return self.scale or self.bounded

    @property
    def bounded(self) -> bool:
        """What columns are scaled by is given."""
        return bool(self.min_vals or self.mean_vals)

    @property
    def kind(self) -> ScaleType:
        """How columns are scaled: as the values given are for, else as `scale_type` says."""
        if self.mean_vals:
            return "znorm"
        return "minmax" if self.min_vals else self.scale_type
