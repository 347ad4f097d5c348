"""The HTTP application over any Api."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web

from ddstream.api.envelope import JSON, dumps
from ddstream.api.protocol import Api
from ddstream.rest.handlers import Verbs
from ddstream.rest.middleware import edge
from ddstream.rest.openapi import describe
from ddstream.rest.probes import Probes
from ddstream.rest.reply import respond
from ddstream.settings import Settings


def app(api: Api, settings: Settings) -> web.Application:
    """All routes of the API over `api`, its description, and the probes of an operator."""
    application = web.Application(
        client_max_size=settings.max_request_bytes, middlewares=[edge(settings.allow_origin)]
    )
    verbs, operator = Verbs(api, settings.max_request_bytes), Probes(api.health)
    application.add_routes([*verbs.routes(), *operator.routes(), *_documentation()])
    return application


def _documentation() -> list[web.RouteDef]:
    description = dumps(describe())
    page = files("ddstream.rest").joinpath("docs.html").read_bytes()

    async def openapi(request: web.Request) -> web.Response:
        return respond(200, description, JSON)

    async def docs(request: web.Request) -> web.Response:
        return respond(200, page, "text/html; charset=utf-8")

    return [web.get("/openapi.json", openapi), web.get("/docs", docs)]
