"""The log of a process: one line an event, what it is about, and no secret in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from ddstream.logs import configure
from ddstream.settings import Settings
from ddstream.telemetry.origin import Origin, coming_from, origin

TRACE = "0af7651916cd43dd8448eb211c80319c"
log = logging.getLogger("ddstream.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The test session's own log comes back."""
    root, kafka = logging.getLogger(), logging.getLogger("aiokafka")
    before = (list(root.handlers), root.level, kafka.level)
    yield
    root.handlers[:], level, kafka_level = before
    root.setLevel(level)
    kafka.setLevel(kafka_level)
    logging.captureWarnings(False)


@pytest.fixture
def lines() -> io.StringIO:
    """What a process with JSON logs writes; its settings hold a password."""
    stream = io.StringIO()
    settings = Settings(sasl_password='p"ss\\word', api_key="dds_k")
    secrets = settings.secrets()
    configure("info", "json", secrets=secrets, about=lambda: origin().fields(), stream=stream)
    return stream


def read(stream: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_whatever_it_says(lines: io.StringIO) -> None:
    log.info("a %s\nand more", "line\r\n\u2028 \udcff")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("failed")
    log.debug("below the level")
    first, second = read(lines)
    assert first["level"] == "INFO"
    assert first["logger"] == "ddstream.test"
    assert first["message"] == "a line\r\n\u2028 \udcff\nand more"
    assert first["time"].endswith("+00:00")
    assert second["exception"].startswith("Traceback")
    assert "ValueError: two" in second["exception"]


def test_fields_come_from_the_record_and_else_from_the_task(lines: io.StringIO) -> None:
    with coming_from(Origin("c-1", f"00-{TRACE}-b7ad6b7169203331-01")):
        log.info("of the task")
        log.info("of a record", extra={"correlation_id": "c-2", "service": "x", "ms": 1.5})
    log.info("of nobody", extra={"level": "fake", "odd": {1}, "nan": float("nan"), "big": 1 << 80})
    task, record, nobody = read(lines)
    assert (task["correlation_id"], task["trace_id"]) == ("c-1", TRACE)
    assert (record["correlation_id"], record["service"], record["ms"]) == ("c-2", "x", 1.5)
    assert "correlation_id" not in nobody
    assert nobody["level"] == "INFO"
    assert (nobody["odd"], nobody["nan"], nobody["big"]) == ("{1}", "nan", 1 << 80)


def test_secrets_of_the_settings_are_masked_wherever_they_stand(lines: io.StringIO) -> None:
    password = 'p"ss\\word'
    log.info("the settings are %r", {"sasl_password": password})
    log.info("plain %s", password, extra={"note": f"key dds_k, {password}"})
    log.info("see https://ann:secret@example.org/a@b and s3://bucket/x")
    try:
        raise OSError(f"cannot log in with {password}")
    except OSError:
        log.exception("refused")
    text = lines.getvalue()
    assert "ss" + "\\\\" not in text
    assert "dds_k" not in text
    assert "ann:secret" not in text
    assert read(lines)[1]["message"] == "plain ***"
    assert read(lines)[2]["message"] == "see https://***@example.org/a@b and s3://bucket/x"


def test_settings_show_no_secret_of_their_own() -> None:
    settings = Settings(
        sasl_password="pass-1", api_key="pass-2", claim_secret="pass-3", api_keys=("a:" + "0" * 64,)
    )
    assert "pass-" not in repr(settings)
    assert {"pass-1", "pass-2", "pass-3"} < set(settings.secrets())
    secret_names = ("password", "secret", "api_key", "token")
    for name, field in Settings.model_fields.items():
        assert not (field.repr and any(part in name for part in secret_names)), name


def test_text_is_one_line_too_and_masked() -> None:
    stream = io.StringIO()
    configure("WARNING", "text", secrets=("hidden",), stream=stream)
    log.info("not told")
    log.warning("one\ntwo hidden")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("WARNING ddstream.test: one\\ntwo ***")


def test_a_second_configuration_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("INFO", "text", stream=first)
    configure("INFO", "json", stream=second)
    log.info("once")
    assert first.getvalue() == ""
    assert len(read(second)) == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure("loud", "text")
    with pytest.raises(ValueError, match="log_level"):
        Settings.model_validate({"log_level": "loud"})
    assert Settings.model_validate({"log_level": "debug"}).log_level == "DEBUG"
