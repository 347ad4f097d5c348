"""The HTTP application over any Api."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web

from ddstream.api.envelope import JSON, dumps
from ddstream.api.protocol import Api
from ddstream.rest.bodies import Bodies
from ddstream.rest.handlers import Verbs
from ddstream.rest.keys import ApiKeys
from ddstream.rest.middleware import edge, guard
from ddstream.rest.openapi import describe
from ddstream.rest.probes import Notes, Probes
from ddstream.rest.rates import Rates
from ddstream.rest.reply import respond
from ddstream.rest.server import READ_TIMEOUT
from ddstream.rest.tracing import traced
from ddstream.settings import Settings


def app(api: Api, settings: Settings, notes: Notes = tuple) -> web.Application:
    """All routes of the API over `api`, its description, and the probes of an operator."""
    rates = Rates(settings.rate_limit, settings.rate_burst) if settings.rate_limit else None
    layers = [traced(), edge(settings.allow_origin), guard(ApiKeys.of(settings.api_keys), rates)]
    application = web.Application(client_max_size=settings.max_request_bytes, middlewares=layers)
    application[READ_TIMEOUT] = settings.read_timeout
    verbs, operator = Verbs(api, Bodies(settings)), Probes(api.health, notes)
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
