"""The routes of the HTTP edge: each takes care of what is HTTP's, then asks the Api."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from ddstream.api.envelope import Answer
from ddstream.api.incoming import loads
from ddstream.api.parameters import ParameterObject, envelope
from ddstream.api.predict import PredictRequest
from ddstream.api.protocol import Api
from ddstream.api.service import ServiceDefinition, clear_mode, service_name
from ddstream.api.train import JobQuery, JobStop, TrainRequest
from ddstream.errors import BadRequest, ServiceExists, ServiceNotFound
from ddstream.rest.bodies import Bodies
from ddstream.rest.query import boolean, query_json, unread
from ddstream.rest.reply import answered

P = TypeVar("P", bound=ParameterObject)

_LONG = 1 << 20
"""Bytes of a body from which parsing it would hold up the other requests."""


class Verbs:
    """The eight verbs of an Api over HTTP."""

    def __init__(self, api: Api, bodies: Bodies) -> None:
        self._api = api
        self._bodies = bodies

    def routes(self) -> list[web.RouteDef]:
        """The route table (contract 1.1); PUT and POST are alike."""
        return [
            web.get("/info", self.info),
            *_written("/services/{name}", self.create_service),
            web.get("/services/{name}", self.get_service),
            web.delete("/services/{name}", self.delete_service),
            *_written("/train", self.train),
            web.get("/train", self.get_job),
            web.delete("/train", self.delete_job),
            *_written("/predict", self.predict),
        ]

    async def info(self, request: web.Request) -> web.Response:
        """GET /info."""
        answer = await self._api.info(status=boolean(request.query, "status", False))
        return answered(request, _noting(answer, unread(request.query, ("status",))))

    async def create_service(self, request: web.Request) -> web.Response:
        """PUT /services/{name}."""
        name = service_name(request.match_info["name"])
        try:
            definition = await self._body(request, ServiceDefinition)
        except BadRequest:
            # The reference looks for the name before it parses the body (contract 1.3).
            if await self._exists(name):
                raise ServiceExists from None
            raise
        return answered(request, await self._api.create_service(name, definition))

    async def get_service(self, request: web.Request) -> web.Response:
        """GET /services/{name}."""
        query = request.query
        answer = await self._api.get_service(
            service_name(request.match_info["name"]),
            status=boolean(query, "status", True),
            labels=boolean(query, "labels", False),
        )
        return answered(request, _noting(answer, unread(query, ("status", "labels"))))

    async def delete_service(self, request: web.Request) -> web.Response:
        """DELETE /services/{name}."""
        name = service_name(request.match_info["name"])
        clear = clear_mode(query_json(request.query).get("clear", "mem"))
        answer = await self._api.delete_service(name, clear)
        return answered(request, _noting(answer, unread(request.query, ("clear",))))

    async def train(self, request: web.Request) -> web.Response:
        """POST /train."""
        asked = await self._body(request, TrainRequest)
        return answered(request, _noting(await self._api.train(asked), _unknown(asked)))

    async def get_job(self, request: web.Request) -> web.Response:
        """GET /train."""
        query = envelope(JobQuery, query_json(request.query))
        return answered(request, _noting(await self._api.get_job(query), _unknown(query)))

    async def delete_job(self, request: web.Request) -> web.Response:
        """DELETE /train."""
        stop = envelope(JobStop, query_json(request.query))
        return answered(request, _noting(await self._api.delete_job(stop), _unknown(stop)))

    async def predict(self, request: web.Request) -> web.Response:
        """POST /predict."""
        asked = await self._body(request, PredictRequest)
        return answered(request, _noting(await self._api.predict(asked), _unknown(asked)))

    async def _exists(self, name: str) -> bool:
        try:
            await self._api.get_service(name, status=False)
        except ServiceNotFound:
            return False
        return True

    async def _body(self, request: web.Request, model: type[P]) -> P:
        content = await self._bodies.read(request)
        if len(content) > _LONG:
            return await asyncio.to_thread(_parsed, content, model)
        return _parsed(content, model)


def _parsed(content: bytes, model: type[P]) -> P:
    return envelope(model, loads(content))


def _written(path: str, route: Handler) -> tuple[web.RouteDef, web.RouteDef]:
    return web.put(path, route), web.post(path, route)


def _unknown(asked: ParameterObject) -> list[str]:
    return [line.removeprefix(".") for line in asked.unknown("")]


def _noting(answer: Answer, warnings: list[str]) -> Answer:
    if not warnings:
        return answer
    told = answer.head.get("warnings", ())
    return answer.with_head(warnings=list(dict.fromkeys([*told, *warnings])))
