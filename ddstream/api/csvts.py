"""`parameters.input` of the connector of time series."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ddstream.api.parameters import Integers, Numbers, ParameterObject, Strings

ScaleType = Literal["minmax", "znorm"]
NO_STEPS = "no value given to [forecast_|backcast_|]timesteps"


class SeriesInput(ParameterObject):
    """How tables, a row a step, become samples (contract 3.5).

    With `timesteps`, the labels of a step are told from the other columns of it and of those
    before; with `backcast_timesteps` and `forecast_timesteps`, all columns of the steps to come.
    """

    connector: str = Field(default="csvts", description="`csvts`.")
    timeout: int = Field(default=6000, ge=-1, le=36000, description="Seconds to fetch the data.")
    label: Strings = Field(default=(), description="Columns to tell; none in a forecast.")
    label_offset: Integers = Field(
        default=(0,), description="Added to the values of the labels: one number, or one a label."
    )
    ignore: Strings = Field(default=(), description="Columns that are left out.")
    id: str = Field(default="", description="Column that identifies rows; it is left out.")
    separator: str = Field(default=",", min_length=1, description="Between two cells: a character.")
    quote: str = Field(default='"', min_length=1, description="Around a cell: a character.")
    scale: bool = Field(default=False, description="Scale all columns, labels too.")
    scale_type: ScaleType = Field(
        default="minmax", description="minmax: into [-0.5, 0.5]; znorm: mean 0, variance 1."
    )
    min_vals: Numbers = Field(default=(), description="Smallest value of each column; scales.")
    max_vals: Numbers = Field(default=(), description="Largest value of each column; scales.")
    mean_vals: Numbers = Field(default=(), description="Mean of each column; scales by znorm.")
    variance_vals: Numbers = Field(default=(), description="Variance of each column.")
    timesteps: int = Field(default=-1, description="Steps of a sample whose labels are told.")
    backcast_timesteps: int = Field(default=-1, description="Steps that a forecast is made from.")
    forecast_timesteps: int = Field(default=-1, description="Steps of a forecast.")
    offset: int = Field(
        default=-1, description="Steps from a training sample to the next; -1: as many as it has."
    )
    continuation: bool = Field(
        default=False, description="Go on where the call before left a recurrent model."
    )
    test_split: float = Field(default=0.0, ge=0, lt=1, description="Part held out for testing.")
    shuffle: bool = Field(
        default=False, description="Shuffle the training samples, before splitting too."
    )
    seed: int = Field(default=-1, description="Seed of the shuffle; -1 is a random one.")
    db: bool = Field(default=False, description="Keep the samples on disk: constant memory.")

    @field_validator("connector", mode="after")
    @classmethod
    def _one_name(cls, value: str) -> str:
        return "csvts" if value == "csv_ts" else value

    @field_validator("separator", "quote", mode="after")
    @classmethod
    def _first_character(cls, value: str) -> str:
        return value[:1]

    @field_validator("scale_type", mode="before")
    @classmethod
    def _known_scale(cls, value: Any) -> Any:
        if value not in ("minmax", "znorm"):
            raise ValueError(f"unknown scale type: {str(value)[:40]}")
        return value

    @field_validator("timesteps", "backcast_timesteps", "forecast_timesteps", "offset")
    @classmethod
    def _steps(cls, value: int) -> int:
        if value != -1 and value < 1:
            raise ValueError("must be -1 or at least 1")
        return value

    @model_validator(mode="after")
    def _possible(self) -> SeriesInput:
        back, ahead = self.backcast_timesteps, self.forecast_timesteps
        if (back > 0) != (ahead > 0):
            raise ValueError("forecast value and backcast value should be both specified")
        if ahead > back:
            raise ValueError(f"forecast value {ahead}  >= backcast_timesteps {back}")
        if self.separator == self.quote or {self.separator, self.quote} & {"\n", "\r"}:
            raise ValueError("separator and quote must be two characters of a line")
        if len(self.label_offset) not in (1, len(self.label)):
            raise ValueError("label_offset must have one value, or one for each label")
        self._check_bounds()
        return self

    def _check_bounds(self) -> None:
        """Raises ValueError for bounds that lack their other half, or are of two kinds."""
        for low, high in (("min_vals", "max_vals"), ("mean_vals", "variance_vals")):
            if len(getattr(self, low)) != len(getattr(self, high)):
                raise ValueError(f"{low} and {high} must have as many values as each other")
        if self.min_vals and self.mean_vals:
            raise ValueError("min_vals and mean_vals exclude each other")
        kind = self.kind
        if self.scale_type != kind and "scale_type" in self.model_fields_set:
            raise ValueError(f"scale_type {self.scale_type} contradicts the values given")
        if any(value < 0 for value in self.variance_vals):
            raise ValueError("a variance is not negative")

    @property
    def forecast(self) -> bool:
        """Steps to come are told, not labels of the steps that are there."""
        return self.forecast_timesteps > 0

    @property
    def window(self) -> int:
        """Steps that a sample is told from; -1 if nothing was said."""
        return self.backcast_timesteps if self.forecast else self.timesteps

    @property
    def horizon(self) -> int:
        """Steps that are told."""
        return self.forecast_timesteps if self.forecast else self.timesteps

    @property
    def stride(self) -> int:
        """Steps from the start of a training sample to the next one's."""
        return self.offset if self.offset > 0 else self.window

    @property
    def scales(self) -> bool:
        """Columns are scaled: asked for, or by what to is given (D-27)."""
        return self.scale or bool(self.min_vals or self.mean_vals)

    @property
    def kind(self) -> ScaleType:
        """How columns are scaled: as the values given are for, else as `scale_type` says."""
        if self.mean_vals:
            return "znorm"
        return "minmax" if self.min_vals else self.scale_type

    def unknown(self, where: str) -> list[str]:
        """Also warns of labels that have no effect beside a forecast."""
        warnings = super().unknown(where)
        if self.forecast and self.label:
            warnings.append(f"{where}.label has no effect: a forecast tells all columns")
        return warnings
