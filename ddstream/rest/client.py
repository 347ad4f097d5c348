"""HttpApi: a far ddstream, or a far DeepDetect server, as an Api."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from ddstream.api.envelope import JSON, Answer, Json, Relay, dumps
from ddstream.api.predict import PredictRequest
from ddstream.api.service import ServiceDefinition, service_name
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.connectors.encode import request_body
from ddstream.errors import InternalError, TimedOut, Unavailable, from_status


class HttpApi:
    """Implements Api over HTTP. `async with HttpApi("http://host:port") as api:`.

    Every verb also raises Unavailable if the server cannot be reached, TimedOut after `timeout`
    seconds (None: never). Bytes and arrays in `data` travel as base64. `api_key` is shown with
    each call; `cafile` has the authorities of an HTTPS server that the system does not know.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float | None = None,
        api_key: str | None = None,
        cafile: Path | None = None,
    ) -> None:
        self._base = url.rstrip("/")
        self._shown = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._tls = ssl.create_default_context(cafile=cafile) if cafile else True
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=10)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout,
            headers=self._shown,
            connector=aiohttp.TCPConnector(ssl=self._tls),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def info(self, *, status: bool = False) -> Answer:
        """See Api."""
        return await self._ask("GET", "/info", {"status": status})

    async def create_service(self, name: str, definition: ServiceDefinition) -> Answer:
        """See Api."""
        body = dumps(definition.model_dump(by_alias=True, exclude_unset=True))
        return await self._ask("PUT", _service(name), body=body)

    async def get_service(self, name: str, *, status: bool = True, labels: bool = False) -> Answer:
        """See Api."""
        return await self._ask("GET", _service(name), {"status": status, "labels": labels})

    async def delete_service(self, name: str, clear: str = "mem") -> Answer:
        """See Api."""
        return await self._ask("DELETE", _service(name), {"clear": clear})

    async def predict(self, request: PredictRequest) -> Answer:
        """See Api."""
        if all(isinstance(element, str) for element in request.data):
            body = request_body(request)
        else:
            body = await asyncio.to_thread(request_body, request)
        code, content, kind = await self._exchange("POST", "/predict", body=body)
        if request.parameters.output.get("network") and not _is_error(code, content, kind):
            return Answer(code, relay=Relay(code, content, kind))
        return _answer(code, content, kind)

    async def train(self, request: TrainRequest) -> Answer:
        """See Api."""
        body = dumps(request.model_dump(by_alias=True, exclude_unset=True))
        return await self._ask("POST", "/train", body=body)

    async def get_job(self, query: JobQuery) -> Answer:
        """See Api."""
        return await self._ask("GET", "/train", query.model_dump(exclude_unset=True))

    async def delete_job(self, stop: JobStop) -> Answer:
        """See Api."""
        return await self._ask("DELETE", "/train", stop.model_dump(exclude_unset=True))

    async def health(self) -> Sequence[str]:
        """See Api; a server that cannot be reached is a reason too."""
        try:
            _, content, _ = await self._exchange("GET", "/readyz")
            return [str(reason) for reason in orjson.loads(content)["reasons"]]
        except (Unavailable, TimedOut) as error:
            return [error.detail]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return [f"{self._base} answers with something else than ddstream's readiness"]

    async def _ask(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, body: bytes = b""
    ) -> Answer:
        return _answer(*await self._exchange(method, path, query, body))

    async def _exchange(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, body: bytes = b""
    ) -> tuple[int, bytes, str]:
        url = URL(self._base + path, encoded=True).with_query(_flat(query or {}))
        headers = {"Content-Type": JSON} if body else {}
        try:
            content = io.BytesIO(body) if body else None
            async with self._session.request(
                method, url, data=content, headers=headers
            ) as response:
                kind = response.headers.get("Content-Type", "")
                return response.status, await response.read(), kind
        except TimeoutError as error:
            raise TimedOut(f"{self._base} did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self._base}: {str(error) or type(error).__name__}") from error


def _service(name: str) -> str:
    return "/services/" + quote(service_name(name), safe="")


def _flat(members: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A query of dotted names (contract 0.5)."""
    query: dict[str, str] = {}
    for name, value in members.items():
        if isinstance(value, Mapping):
            query |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            query[prefix + name] = str(value).lower()
        elif value is not None:
            query[prefix + name] = str(value)
    return query


def _document(content: bytes, kind: str) -> Json | None:
    """The answer's JSON, if it is an answer of the API."""
    if not kind.startswith(JSON):
        return None
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    status = document.get("status") if isinstance(document, dict) else None
    known = isinstance(status, dict) and isinstance(status.get("code"), int)
    return document if known else None


def _is_error(code: int, content: bytes, kind: str) -> bool:
    return code >= 400 and _document(content, kind) is not None


def _answer(code: int, content: bytes, kind: str) -> Answer:
    document = _document(content, kind)
    if document is None:
        text = content.decode(errors="replace")
        if code >= 400:
            raise from_status({"code": code, "dd_msg": text[:300]})
        if kind.startswith(JSON):
            raise InternalError("the server's answer is none of the API's")
        return Answer(code, text=text, text_type=kind)
    if code >= 400:
        raise from_status(document["status"], document.get("head"))
    return Answer(code, document.get("head", {}), document.get("body", {}))
