"""Delivery of a prediction: its template is rendered, its network sink is pushed to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ddstream.api.envelope import JSON, TEXT, Answer, Json, Relay, dumps
from ddstream.api.predict import NetworkOutput, OutputParameters
from ddstream.errors import Severity, SinkError
from ddstream.outputs.sinks import Sinks
from ddstream.outputs.template import parse, render

_LATER = (408, 429)
"""Codes below 500 by which a sink asks for another try."""


def wants_delivery(output: OutputParameters) -> bool:
    """Whether the answer needs more than its JSON."""
    return bool(output.template) or output.network is not None


def check_delivery(output: OutputParameters, sinks: Sinks) -> None:
    """Raise ParameterError for a broken template or an unknown scheme, before any work is done."""
    if output.template:
        parse(output.template)
    if output.network is not None:
        sinks.sink(output.network.url)


class SinkDown(SinkError):
    """The sink takes nothing now; `answer` is the prediction with what the sink said."""

    severity: Severity = "transient"

    def __init__(self, answer: Answer, relay: Relay) -> None:
        text = relay.content[:200].decode(errors="replace")
        super().__init__(f"HTTP status {relay.code}: {text}")
        self.answer = replace(answer, relay=relay)


async def deliver(answer: Answer, output: OutputParameters, sinks: Sinks) -> Answer:
    """The answer with its rendered text and the sink's answer, as `output` asks.

    Raises ParameterError for a template or URL that cannot be used, SinkError for a failed push,
    SinkDown for a sink that says to come back later.
    """
    document = _document(answer, output)
    if output.template:
        text = await asyncio.to_thread(render, output.template, document)
        answer = replace(answer, text=text, text_type=_media_type(output.network) or TEXT)
    if output.network is not None:
        relay = await _pushed(answer, document, output.network, sinks)
        if relay.code >= 500 or relay.code in _LATER:
            raise SinkDown(answer, relay)
        answer = replace(answer, relay=relay)
    return answer


async def _pushed(answer: Answer, document: Json, network: NetworkOutput, sinks: Sinks) -> Relay:
    if answer.text is not None:
        content, kind = answer.text.encode(), answer.text_type
    else:
        content, kind = dumps(document), _media_type(network) or JSON
    return await sinks.push(network.url, network.http_method, content, kind)


def _document(answer: Answer, output: OutputParameters) -> Json:
    # The reference shows the two options to templates and sinks beside the answer (contract 1.9).
    document = answer.json()
    if output.template:
        document["template"] = output.template
    if output.network is not None:
        document["network"] = output.network.model_dump(exclude_unset=True)
    return document


def _media_type(network: NetworkOutput | None) -> str:
    # The document's default is the whole header line, so a line is taken too.
    line = network.content_type if network is not None else ""
    name, colon, value = line.partition(":")
    return (value if colon and name.strip().lower() == "content-type" else line).strip()
