"""A double of the reference's REST client: its methods, its requests, its habits (contract 8.3)."""

from __future__ import annotations

import base64
import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import cv2

Answer = Any
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
"""What HTTP libraries and curl call a body when nobody says better: it is JSON all the same."""


class DDCommunicationError(Exception):
    """The server answered with an HTTP error; `data` is its body."""

    def __init__(self, code: int, reason: str, data: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.data = data


class DD:
    """A connection to a server; every call is an exchange of its own."""

    RETURN_PYTHON = 0
    RETURN_JSON = 1
    RETURN_NONE = 2

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8080,
        proto: int = 0,
        path: str = "",
        apiversion: str = "0.1",
    ) -> None:
        self._host = host
        self._port = port
        self._kind = http.client.HTTPSConnection if proto else http.client.HTTPConnection
        self._path = path
        self.apiversion = apiversion
        self._format = self.RETURN_PYTHON

    def set_return_format(self, format: int) -> None:
        self._format = format

    def get(self, method: str, params: dict[str, Any] | None = None) -> Answer:
        return self._exchange("GET", method, params=params)

    def put(self, method: str, body: dict[str, Any]) -> Answer:
        return self._exchange("PUT", method, body)

    def post(self, method: str, body: dict[str, Any]) -> Answer:
        return self._exchange("POST", method, body)

    def delete(self, method: str, params: dict[str, Any] | None = None) -> Answer:
        return self._exchange("DELETE", method, params=params)

    def info(self) -> Answer:
        return self.get("/info")

    def get_service(self, sname: str) -> Answer:
        return self.get(f"/services/{quote(sname)}")

    def put_service(
        self,
        sname: str,
        model: dict[str, Any],
        description: str,
        mllib: str,
        parameters_input: dict[str, Any],
        parameters_mllib: dict[str, Any],
        parameters_output: dict[str, Any],
        mltype: str = "supervised",
    ) -> Answer:
        body = {
            "description": description,
            "mllib": mllib,
            "type": mltype,
            "parameters": _three(parameters_input, parameters_mllib, parameters_output),
            "model": model,
        }
        return self.put(f"/services/{quote(sname)}", body)

    def delete_service(self, sname: str, clear: str | None = None) -> Answer:
        return self.delete(f"/services/{quote(sname)}", {"clear": clear} if clear else None)

    def post_train(
        self,
        sname: str,
        data: list[str],
        parameters_input: dict[str, Any],
        parameters_mllib: dict[str, Any],
        parameters_output: dict[str, Any],
        jasync: bool = True,
    ) -> Answer:
        body = {
            "service": sname,
            "async": jasync,
            "parameters": _three(parameters_input, parameters_mllib, parameters_output),
            "data": data,
        }
        return self.post("/train", body)

    def get_train(
        self, sname: str, job: int = 1, timeout: int = 0, measure_hist: bool = False
    ) -> Answer:
        params = {"service": sname, "job": str(job), "timeout": str(timeout)}
        if measure_hist:
            params["parameters.output.measure_hist"] = str(measure_hist)
        return self.get("/train", params)

    def delete_train(self, sname: str, job: int = 1) -> Answer:
        return self.delete("/train", {"service": sname, "job": str(job)})

    def post_predict(
        self,
        sname: str,
        data: list[Any],
        parameters_input: dict[str, Any],
        parameters_mllib: dict[str, Any],
        parameters_output: dict[str, Any],
        use_base64: bool = False,
        index_uris: list[str] | None = None,
    ) -> Answer:
        parameters = (parameters_input, parameters_mllib, parameters_output)
        call = self.make_call(sname, data, *parameters, use_base64, index_uris=index_uris)
        return self.post("/predict", call)

    def make_call(
        self,
        sname: str,
        data: list[Any],
        parameters_input: dict[str, Any],
        parameters_mllib: dict[str, Any],
        parameters_output: dict[str, Any],
        use_base64: bool = False,
        parent_id: str | None = None,
        index_uris: list[str] | None = None,
    ) -> dict[str, Any]:
        call: dict[str, Any] = {
            "service": sname,
            "parameters": _three(parameters_input, parameters_mllib, parameters_output),
        }
        if parent_id is not None:
            call["parent_id"] = parent_id
        else:
            arrays = any(not isinstance(element, str) for element in data)
            call["data"] = [_base64(each) for each in data] if use_base64 or arrays else data
        if index_uris:
            call["index_uris"] = index_uris
        return call

    def _exchange(
        self,
        verb: str,
        method: str,
        body: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
    ) -> Answer:
        target = self._path + method + (f"?{urlencode(params)}" if params else "")
        connection = self._kind(self._host, self._port, timeout=2000)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(verb, target, content, FORM if content else {})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise DDCommunicationError(response.status, response.reason, text)
        if self._format == self.RETURN_PYTHON:
            return json.loads(text)
        return text if self._format == self.RETURN_JSON else None


def _base64(element: Any) -> str:
    """A file or an array as the text that the client sends of it."""
    if not isinstance(element, str):
        _, encoded = cv2.imencode(".png", element)
        content = encoded.tobytes()
    else:
        content = Path(element).read_bytes()
    return base64.b64encode(content).decode()


def _three(inputs: dict[str, Any], mllib: dict[str, Any], output: dict[str, Any]) -> dict[str, Any]:
    return {"input": inputs, "mllib": mllib, "output": output}
