"""Settings of a process, from `DDSTREAM_*`: the only reader of the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FilePath, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1 << 20
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_NEVER = (
    *("asynclocal", "data", "dir", "file", "git", "http", "https", "jlab", "jupyter", "local"),
    *("async_wrapper", "asyncwrapper", "blockcache", "cached", "filecache", "generic"),
    *("libarchive", "reference", "simplecache", "tar", "zip"),
)
"""Schemes of fsspec that lead to this machine's files, or through another URL."""
_API_KEY = re.compile(r"[A-Za-z0-9._@-]{1,64}:[0-9a-f]{64}")


class SettingsError(ValueError):
    """A setting names something that cannot be used, such as a file that is no certificate."""


class Settings(BaseSettings):
    """What an operator sets; every field is `DDSTREAM_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="DDSTREAM_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        populate_by_name=True,
        hide_input_in_errors=True,
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
    claim_schemes: Annotated[tuple[str, ...], NoDecode] = ("s3",)
    """Object stores whose URLs may stand in `data`, by fsspec's names."""
    claim_store: str = ""
    """Where answers over the limit are kept: `s3://bucket/prefix`, `file:///folder` in a root."""
    claim_secret: str = Field(default="", repr=False)
    """Makes the names of kept answers unguessable; the same for all workers."""
    allow_origin: str = ""
    """Origin for CORS; empty means no CORS headers."""
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(default=(), repr=False)
    """Who may call the HTTP edge: `name:sha256` in hex, separated by commas; empty: everybody."""
    api_key: str | None = Field(default=None, repr=False)
    """The key that a client of the HTTP edge shows."""
    rate_limit: float = Field(default=0.0, ge=0)
    """Requests a second of one key, or one address without keys; 0 sets no limit."""
    rate_burst: int = Field(default=0, ge=0)
    """Requests that may come at once within `rate_limit`; 0 is one second's worth."""
    read_timeout: float = Field(default=75.0, gt=0)
    """Seconds in which a client must send its headers, and again its body; idle ones are closed."""
    tls_certfile: FilePath | None = None
    """PEM file with the HTTP edge's certificate and its chain; makes it HTTPS."""
    tls_keyfile: FilePath | None = None
    """PEM file with the key of `tls_certfile`, if it is not in the same file."""
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
    ssl_cafile: FilePath | None = None
    """PEM file of the authorities that the broker's certificate is checked by."""
    ssl_certfile: FilePath | None = None
    """PEM file of our own certificate, for brokers that ask for one."""
    ssl_keyfile: FilePath | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What is told in the log, on stderr."""
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object an event."""
    traces: str = ""
    """Where spans go: `console`, or the URL of an OTLP/HTTP collector; empty: nowhere."""
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

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    def secrets(self) -> tuple[str, ...]:
        """The values that no log may show: those of fields that have no repr."""
        hidden = [getattr(self, name) for name, f in type(self).model_fields.items() if not f.repr]
        values = [value if isinstance(value, tuple) else (value,) for value in hidden]
        return tuple(str(each) for value in values for each in value if each)

    @field_validator("api_keys")
    @classmethod
    def _named_digests(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # The text is not repeated: who gives a key here by mistake must not find it in a log.
        for number, entry in enumerate(value, 1):
            if not _API_KEY.fullmatch(entry):
                raise ValueError(f"entry {number} is not name:sha256 (see ddstream keys new)")
        return value

    @field_validator("claim_schemes")
    @classmethod
    def _far_schemes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for scheme in value:
            if not _SCHEME.fullmatch(scheme) or scheme in _NEVER:
                raise ValueError(f"{scheme!r} is no scheme of an object store")
        return value

    @field_validator("claim_store")
    @classmethod
    def _far_store(cls, value: str) -> str:
        scheme, separator, path = value.partition("://")
        far = bool(_SCHEME.fullmatch(scheme)) and scheme not in _NEVER
        if value and not (separator and path.strip("/") and (far or scheme == "file")):
            raise ValueError("a folder's URL is wanted: s3://bucket/prefix or file:///folder")
        if "::" in value:
            raise ValueError("chained URLs are refused")
        return value.rstrip("/")

    @field_validator(
        "reply_topics", "sink_allow", "fetch_allow", "api_keys", "claim_schemes", mode="before"
    )
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
