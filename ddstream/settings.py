"""Settings of a process, from `DDSTREAM_*`: the only reader of the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1 << 20


class Settings(BaseSettings):
    """What an operator sets; every field is `DDSTREAM_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="DDSTREAM_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        populate_by_name=True,
    )

    bootstrap: str = "localhost:9092"
    """Addresses of the Kafka cluster, `host:port` separated by commas."""
    prefix: str = Field(default="dd", pattern=r"^[a-zA-Z0-9._-]{1,40}$")
    """First part of every topic's name."""
    roots: Annotated[tuple[Path, ...], NoDecode] = Field(default_factory=lambda: (Path.cwd(),))
    """Folders below which paths in `data` and repositories may lie; `/` allows all."""
    max_request_bytes: int = Field(default=32 * MIB, ge=1024)
    """One limit for bodies, records and topics, in bytes."""
    request_timeout: float = Field(default=600.0, gt=0)
    """Seconds that a bridge waits for an answer."""
    fetch_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a worker spends on one URL at most."""
    max_pixels: int = Field(default=100_000_000, ge=1)
    """Largest area of a decoded or resized image, in pixels."""
    http_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of a worker's `/livez /readyz /metrics`; 0 is a free one; absent means none."""
    reply_topics: Annotated[tuple[str, ...], NoDecode] = ()
    """Topics that `reply_to` and `kafka://` sinks may name, beside the bridges' own."""
    sink_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts or networks that results may be pushed to."""
    fetch_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts or networks, not public, that data may be fetched from."""
    allow_origin: str = ""
    """Origin for CORS; empty means no CORS headers."""
    max_batch: int = Field(default=16, ge=1)
    """Largest batch of one forward pass, unless the service says otherwise."""
    decode_threads: int = Field(default_factory=lambda: max(2, os.cpu_count() or 1), ge=1)
    """Threads that decode data."""
    max_in_flight: int = Field(default=1024, ge=1)
    """Most unanswered calls that an engine takes; at more a partition pauses or REST says 429."""
    max_in_flight_bytes: int = Field(default=256 * MIB, ge=1)
    """Most bytes of unanswered calls that an engine takes."""
    partitions: int = Field(default=6, ge=1)
    """Partitions of a service's predict and results topics."""
    replication: int = Field(default=1, ge=1)
    """Replicas of each topic that is created."""
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """Delivery of the services that are created here, unless their definition says otherwise."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = Field(default=None, repr=False)
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    kafka_home: Path | None = Field(default=None, validation_alias="KAFKA_HOME")
    """An unpacked Apache Kafka, for `ddstream kafka up` and `ddstream dev`."""
    cache_home: Path = Field(
        default_factory=lambda: Path.home() / ".cache", validation_alias="XDG_CACHE_HOME"
    )

    @field_validator("roots", mode="before")
    @classmethod
    def _split_folders(cls, value: Any) -> Any:
        return tuple(part for part in value.split(":") if part) if isinstance(value, str) else value

    @field_validator("roots")
    @classmethod
    def _resolve(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser().resolve() for path in value)

    @field_validator("reply_topics", "sink_allow", "fetch_allow", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


def bootstrap_is_given() -> bool:
    """Whether the environment names a cluster, so that none has to be started."""
    return bool(os.environ.get("DDSTREAM_BOOTSTRAP"))


def child_environment(**extra: str) -> dict[str, str]:
    """The environment for a child process: ours, with `extra` on top."""
    return {**os.environ, **extra}
