"""`template_params` of ttransformer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ddstream.api.parameters import ParameterObject
from ddstream.templates.protocol import TemplateParameters

_WIDEST = 65536
_DEEPEST = 256


def _one_of(value: Any, known: tuple[str, ...], complaint: str) -> Any:
    if value not in known:
        raise ValueError(f"{complaint}: {str(value)[:40]}; there is: {', '.join(known)}")
    return value


class EmbedParameters(ParameterObject):
    """`embed`: how values become vectors."""

    layers: int = Field(default=3, ge=1, le=_DEEPEST, description="Layers of the MLP.")
    activation: Literal["relu", "gelu", "siren"] = Field(
        default="relu", description="relu, gelu or siren: between its layers."
    )
    dim: int = Field(default=32, ge=1, le=_WIDEST, description="Numbers of a step's vector.")
    type: Literal["step", "serie", "all"] = Field(
        default="step", description="step: each by itself; serie: each column; all: at once."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout after each layer.")

    @field_validator("type", mode="before")
    @classmethod
    def _type(cls, value: Any) -> Any:
        return _one_of(value, ("step", "serie", "all"), "unknown embed type")

    @field_validator("activation", mode="before")
    @classmethod
    def _activation(cls, value: Any) -> Any:
        return _one_of(value, ("relu", "gelu", "siren"), "unknown embed activation")


class PositionParameters(ParameterObject):
    """`positional_encoding`: how a step's place gets into its vector."""

    type: Literal["sincos", "naive", "none"] = Field(
        default="sincos", description="sincos: waves; naive: numbers of the steps; none."
    )
    learn: bool = Field(default=False, description="Change it in training.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout after it.")
    agg: Literal["sum", "cat"] = Field(
        default="sum", description="sum: added; cat: put beside, which doubles the vectors."
    )

    @field_validator("type", mode="before")
    @classmethod
    def _type(cls, value: Any) -> Any:
        return _one_of(value, ("sincos", "naive", "none"), "unknow positional encoding type")

    @field_validator("agg", mode="before")
    @classmethod
    def _agg(cls, value: Any) -> Any:
        return _one_of(value, ("sum", "cat"), "unknow positional encoding aggregation")

    @model_validator(mode="after")
    def _possible(self) -> PositionParameters:
        if self.type == "none" and (self.learn or self.agg == "cat"):
            raise ValueError("without a positional encoding there is nothing to learn or to add")
        return self


class EncoderParameters(ParameterObject):
    """`encoder`: attention between the steps."""

    heads: int = Field(default=8, ge=1, le=_WIDEST, description="Heads of a layer.")
    layers: int = Field(default=1, ge=1, le=_DEEPEST, description="Layers.")
    hidden_dim: int | None = Field(
        default=None, ge=1, le=_WIDEST, description="Hidden units; columns x embed.dim by default."
    )
    activation: Literal["relu", "gelu"] = Field(default="relu", description="relu or gelu.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout.")

    @field_validator("activation", mode="before")
    @classmethod
    def _activation(cls, value: Any) -> Any:
        return _one_of(value, ("relu", "gelu"), "unsupported encoder activation")


class DecoderParameters(ParameterObject):
    """`decoder`: how steps are told of what the encoder made."""

    type: Literal["simple", "transformer"] = Field(
        default="simple", description="simple: an MLP; transformer: attention (heads asks for it)."
    )
    heads: int = Field(default=8, ge=1, le=_WIDEST, description="Heads of a transformer's layer.")
    layers: int = Field(default=1, ge=1, le=_DEEPEST, description="Layers.")
    hidden_dim: int | None = Field(
        default=None, ge=1, le=_WIDEST, description="Hidden units; told steps x embed.dim if not."
    )
    activation: Literal["relu", "gelu"] = Field(default="gelu", description="relu or gelu.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout.")

    @field_validator("type", mode="before")
    @classmethod
    def _type(cls, value: Any) -> Any:
        return _one_of(value, ("simple", "transformer"), "unknow decoder style")

    @field_validator("activation", mode="before")
    @classmethod
    def _activation(cls, value: Any) -> Any:
        return _one_of(value, ("relu", "gelu"), "unsupported decoder activation")

    @model_validator(mode="after")
    def _possible(self) -> DecoderParameters:
        if {"type", "heads"} <= self.model_fields_set and self.type == "simple":
            raise ValueError("decoder.heads: a decoder of type simple has none")
        return self

    @property
    def attends(self) -> bool:
        """It is a transformer: named so, or heads are given and no type is."""
        return self.type == "transformer" or "heads" in self.model_fields_set


class TTransformerParameters(TemplateParameters):
    """All options of ttransformer."""

    embed: EmbedParameters = Field(
        default_factory=EmbedParameters, description="How values become vectors."
    )
    positional_encoding: PositionParameters = Field(
        default_factory=PositionParameters, description="How places get into them."
    )
    encoder: EncoderParameters = Field(
        default_factory=EncoderParameters, description="Attention between the steps."
    )
    decoder: DecoderParameters = Field(
        default_factory=DecoderParameters, description="How steps are told."
    )
    autoreg: bool = Field(
        default=False, description="Tell one step after the other, each from those told before."
    )

    @model_validator(mode="after")
    def _possible(self) -> TTransformerParameters:
        dim = self.embed.dim
        if dim % self.encoder.heads:
            raise ValueError("embed_dim must be divisible by encoder_nheads")
        if self.decoder.attends and dim % self.decoder.heads:
            raise ValueError("embed_dim must be divisible by decoder_nheads")
        if self.autoreg and not self.decoder.attends and self.embed.type != "step":
            raise ValueError(
                f"embed.type {self.embed.type} looks at all steps at once: autoreg with a simple "
                "decoder needs step"
            )
        return self
