"""API keys, rates and TLS of the HTTP edge: who is let in, how often, and over what."""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
import urllib.request
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from pydantic import ValidationError

from ddstream.api.predict import PredictRequest
from ddstream.client import Client
from ddstream.errors import TooManyRequests, Unauthorized, Unavailable
from ddstream.rest.app import app
from ddstream.rest.client import HttpApi
from ddstream.rest.keys import digest_of, new_key
from ddstream.rest.openapi import describe
from ddstream.rest.rates import Rates, place
from ddstream.rest.server import Server, server_tls
from ddstream.settings import Settings, SettingsError, child_environment
from tests.certificates import Authority
from tests.kafka.commands import DDSTREAM
from tests.rest.conftest import SERVICE, Http
from tests.rest.schema import check
from tests.rest.twin import TwinApi

ANNA, BERT = new_key(), new_key()
KEYS = (f"anna:{digest_of(ANNA)}", f"bert:{digest_of(BERT)}")


@asynccontextmanager
async def edge(twin: TwinApi, settings: Settings) -> AsyncIterator[Http]:
    """The edge with these settings, and calls to it."""
    async with (
        Server(app(twin, settings), "127.0.0.1", 0) as server,
        aiohttp.ClientSession() as session,
    ):
        yield Http(session, server.url)


class TestWithKeys:
    """The edge that knows two keys."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(api_keys=KEYS)

    @pytest.mark.parametrize(
        "shown",
        [
            {"Authorization": f"Bearer {ANNA}"},
            {"Authorization": f"bearer  {BERT} "},
            {"X-API-Key": ANNA},
            {"Authorization": "Basic YTpi", "X-API-Key": BERT},
        ],
    )
    async def test_a_known_key_is_let_in(self, http: Http, shown: Mapping[str, str]) -> None:
        assert (await http("GET", "/info", headers=shown)).status == 200
        assert (await http("PUT", "/services/letters", SERVICE, headers=shown)).status == 201

    @pytest.mark.parametrize(
        "shown",
        [
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": ANNA},
            {"Authorization": f"Basic {ANNA}"},
            {"Authorization": f"Bearer {ANNA[:-1]}"},
            {"Authorization": f"Bearer {ANNA}x"},
            {"Authorization": f"Bearer {digest_of(ANNA)}"},
            {"Authorization": f"Bearer {KEYS[0]}"},
            {"Authorization": f"Bearer {new_key()}"},
            {"X-API-Key": "anna"},
            {"X-API-Key": "\udcff\u00e4"},
        ],
    )
    async def test_no_key_or_another_one_is_refused(
        self, http: Http, shown: Mapping[str, str]
    ) -> None:
        calls = (
            ("GET", "/info", "/info"),
            ("PUT", "/services/x", "/services/{name}"),
            ("POST", "/predict", "/predict"),
            ("DELETE", "/train", "/train"),
        )
        for method, path, route in calls:
            refused = await http(method, path, headers=shown)
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"] == "Bearer"
            assert refused.json["status"]["msg"] == "Unauthorized"
            assert "dd_code" not in refused.json["status"]
            assert ANNA not in refused.content.decode()
            check(method, route, 401, refused.json)

    async def test_what_exists_is_told_to_nobody_without_a_key(self, http: Http) -> None:
        for method, path in (("GET", "/nowhere"), ("PATCH", "/info"), ("GET", "/services/x")):
            assert (await http(method, path)).status == 401

    async def test_probes_and_descriptions_are_open(self, http: Http) -> None:
        for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert (await http("GET", path)).status == 200

    async def test_the_clients_show_their_key(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with HttpApi(server.url, api_key=ANNA) as api:
            assert (await api.info()).code == 200
        async with HttpApi(server.url) as api:
            with pytest.raises(Unauthorized, match="an API key is needed"):
                await api.info()
        monkeypatch.setenv("DDSTREAM_API_KEY", BERT)
        with Client(server.url) as client:
            assert await asyncio.to_thread(client.info)


async def test_without_keys_everybody_is_let_in(http: Http) -> None:
    assert (await http("GET", "/info", headers={"Authorization": "Bearer x"})).status == 200


def test_the_description_declares_the_keys() -> None:
    api = describe()
    assert set(api["components"]["securitySchemes"]) == {"bearer", "key"}
    assert {"bearer": []} in api["paths"]["/predict"]["post"]["security"]
    assert "security" not in api["paths"]["/livez"]["get"]


@pytest.mark.parametrize(
    "entry",
    ["anna", f"anna:{ANNA}", "anna:", f":{digest_of(ANNA)}", "a b:c"],
    ids=["no key", "the key itself", "no digest", "no name", "a space"],
)
def test_an_entry_that_is_no_digest_is_refused_and_not_repeated(entry: str) -> None:
    with pytest.raises(ValidationError, match="is not name:sha256") as caught:
        Settings(api_keys=(KEYS[0], entry))
    assert ANNA not in str(caught.value)


def test_a_fresh_key_is_printed_with_its_entry() -> None:
    said = subprocess.run(
        [str(DDSTREAM), "keys", "new", "anna"], capture_output=True, text=True, timeout=100
    ).stdout
    key, entry = (line.split()[-1] for line in said.splitlines())
    assert entry == f"DDSTREAM_API_KEYS=anna:{digest_of(key)}"
    assert len(key) > 40


async def test_each_key_has_a_rate_of_its_own(twin: TwinApi) -> None:
    settings = Settings(api_keys=KEYS, rate_limit=0.001, rate_burst=3)
    anna, bert = {"X-API-Key": ANNA}, {"X-API-Key": BERT}
    async with edge(twin, settings) as http:
        for _ in range(3):
            assert (await http("GET", "/info", headers=anna)).status == 200
        busy = await http("GET", "/info", headers=anna)
        assert (busy.status, busy.json["status"]["msg"]) == (429, "Too Many Requests")
        assert 1 <= int(busy.headers["Retry-After"]) <= 1000
        check("GET", "/info", 429, busy.json)
        assert (await http("GET", "/info", headers=bert)).status == 200
        assert [(await http("GET", "/info")).status for _ in range(4)] == [401, 401, 401, 429]
        assert (await http("GET", "/livez")).status == 200


async def test_without_keys_each_address_has_a_rate(twin: TwinApi) -> None:
    async with edge(twin, Settings(rate_limit=0.001, rate_burst=2)) as http:
        assert [(await http("GET", "/info")).status for _ in range(3)] == [200, 200, 429]


def test_tokens_come_back_with_time_and_never_more_than_the_burst() -> None:
    now = [0.0]
    rates = Rates(2.0, 4, clock=lambda: now[0])
    for _ in range(4):
        rates.take("a")
    with pytest.raises(TooManyRequests) as refused:
        rates.take("a")
    assert refused.value.retry_after == 1
    now[0] = 0.5
    rates.take("a")
    with pytest.raises(TooManyRequests):
        rates.take("a")
    now[0] = 1000.0
    for _ in range(4):
        rates.take("a")
    with pytest.raises(TooManyRequests):
        rates.take("a")


def test_the_callers_that_are_remembered_are_bounded() -> None:
    now = [0.0]
    rates = Rates(1.0, 2, clock=lambda: now[0])
    for number in range(30_000):
        rates.take(str(number))
    assert len(rates) <= 10_000
    now[0] = 100.0
    rates.take("late")
    assert len(rates) <= 10_000


def test_ipv6_callers_are_counted_by_their_network() -> None:
    assert place("2001:db8:1:2::3") == place("2001:db8:1:2:ffff::1") != place("2001:db8:1:3::3")
    assert place("10.0.0.1") != place("10.0.0.2")
    assert place(None) == "unknown"


async def test_the_edge_speaks_tls_and_no_old_one(twin: TwinApi, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.sign("edge")
    tls = server_tls(certificate.certfile, certificate.keyfile)
    async with Server(app(twin, Settings()), "127.0.0.1", 0, tls=tls) as server:
        assert server.url.startswith("https://")
        async with HttpApi(server.url, cafile=authority.cafile) as api:
            assert (await api.info()).code == 200
            with pytest.raises(Exception, match="Service Not Found"):
                await api.predict(PredictRequest(service="x", data=["a"]))
        async with HttpApi(server.url) as stranger:
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await stranger.info()
        old = ssl.create_default_context(cafile=authority.cafile)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(f"{server.url}/livez", ssl=old)


def test_files_that_are_no_certificate_are_told_by_name(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    certificate = authority.sign("edge")
    with pytest.raises(SettingsError, match=r"tls_certfile .*edge\.crt"):
        server_tls(certificate.certfile, other.sign("other-edge").keyfile)
    with pytest.raises(SettingsError, match=r"tls_certfile .*edge\.key"):
        server_tls(certificate.keyfile, certificate.keyfile)
    with pytest.raises(SettingsError, match="there is no tls_certfile"):
        server_tls(None, certificate.keyfile)
    with pytest.raises(ValidationError, match="tls_certfile"):
        Settings(tls_certfile=tmp_path / "missing.pem")
    assert server_tls(None, None) is None
    assert server_tls(certificate.both, None) is not None


def test_serve_uses_its_certificate_and_keys(tmp_path: Path) -> None:
    """The command itself, once, over HTTPS with a key."""
    authority = Authority(tmp_path)
    both = authority.sign("edge").both
    environment = child_environment(
        DDSTREAM_TLS_CERTFILE=str(both), DDSTREAM_API_KEYS=",".join(KEYS), PYTHONUNBUFFERED="1"
    )
    command = [str(DDSTREAM), "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=authority.cafile)
        request = urllib.request.Request(f"{url}/info", headers={"X-API-Key": ANNA})
        with urllib.request.urlopen(request, timeout=60, context=trusting) as answer:
            assert orjson.loads(answer.read())["status"]["code"] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    refused = subprocess.run(
        [*command, "--tls-certfile", str(authority.cafile), "--api-keys", KEYS[0]],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert refused.returncode == 2
    assert "tls_certfile" in refused.stderr
