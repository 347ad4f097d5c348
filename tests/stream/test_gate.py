"""A bridge's own limit: in calls and in bytes."""

from __future__ import annotations

import pytest

from ddstream.api.predict import PredictRequest
from ddstream.errors import TooManyRequests
from ddstream.settings import Settings
from ddstream.stream.gate import Gate


def request(size: int = 10) -> PredictRequest:
    return PredictRequest(service="x", data=["a" * size])


def test_calls_over_the_limit_are_refused_until_one_has_ended() -> None:
    gate = Gate(Settings(max_in_flight=2))
    with gate.admitted(request()):
        with gate.admitted(request()), pytest.raises(TooManyRequests), gate.admitted(request()):
            pass
        with gate.admitted(request()):
            assert gate.capacity().calls == 2
    assert gate.capacity().calls == 0


def test_bytes_in_flight_are_bounded_too_and_given_back_when_a_call_fails() -> None:
    gate = Gate(Settings(max_in_flight_bytes=1000))
    with gate.admitted(request(1000)), pytest.raises(TooManyRequests), gate.admitted(request()):
        pass
    with pytest.raises(RuntimeError), gate.admitted(request(1000)):
        raise RuntimeError
    assert gate.capacity().nbytes == 0
