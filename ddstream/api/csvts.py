"""`parameters.input` of the connector of time series."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from ddstream.api.parameters import Strings
from ddstream.api.tables import ScaleType, TableInput

NO_STEPS = "no value given to [forecast_|backcast_|]timesteps"


class SeriesInput(TableInput):
    """How tables, a row a step, become samples (contract 3.5).

    With `timesteps`, the labels of a step are told from the other columns of it and of those
    before; with `backcast_timesteps` and `forecast_timesteps`, all columns of the steps to come.
    """

    connector: str = Field(default="csvts", description="`csvts`.")
    label: Strings = Field(default=(), description="Columns to tell; none in a forecast.")
    id: str = Field(default="", description="Column that identifies rows; it is left out.")
    scale: bool = Field(default=False, description="Scale all columns, labels too.")
    scale_type: ScaleType = Field(
        default="minmax", description="minmax: into [-0.5, 0.5]; znorm: mean 0, variance 1."
    )
    timesteps: int = Field(default=-1, description="Steps of a sample whose labels are told.")
    backcast_timesteps: int = Field(default=-1, description="Steps that a forecast is made from.")
    forecast_timesteps: int = Field(default=-1, description="Steps of a forecast.")
    offset: int = Field(
        default=-1, description="Steps from a training sample to the next; -1: as many as it has."
    )
    continuation: bool = Field(
        default=False, description="Go on where the call before left a recurrent model."
    )

    @field_validator("connector", mode="after")
    @classmethod
    def _one_name(cls, value: str) -> str:
        return "csvts" if value == "csv_ts" else value

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
        return self

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

    def unknown(self, where: str) -> list[str]:
        """Also warns of what has no effect beside a forecast."""
        warnings = super().unknown(where)
        if self.forecast and self.timesteps > 0:
            warnings.append(f"{where}.timesteps has no effect: backcast_timesteps is given")
        if self.forecast and self.label:
            warnings.append(f"{where}.label has no effect: a forecast tells all columns")
        return warnings
