"""Gateway faults: what goes wrong between a request to a provider and its answer.

A WSGI layer around the doors, because that is where such things happen: in front of the gateway
that acts, or behind it. Served by sockets, a reset is a real one; called in-process, it is raised.
"""

import contextlib
import json
import math
import socket
import struct
import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response
from werkzeug.wsgi import get_input_stream

from simulator.rules import Fault, On
from simulator.world import World

_PATHS: tuple[tuple[str, On], ...] = (
    ("/oauth/v1/generate", "oauth"),
    ("/mpesa/stkpush/v1/processrequest", "push"),
    ("/mpesa/stkpushquery/v1/query", "query"),
    ("/mpesa/c2b/v1/registerurl", "register"),
    ("/mpesa/c2b/v2/registerurl", "register"),
    ("/mpesa/c2b/v1/simulate", "simulate"),
    ("/mpesa/c2b/v2/simulate", "simulate"),
    ("/pulltransactions/v1/", "pull"),
    ("/mpesa/b2c/v3/paymentrequest", "b2c"),
    ("/mpesa/transactionstatus/v1/query", "status"),
    ("/mpesa/reversal/v1/request", "reversal"),
    ("/mpesa/accountbalance/v1/query", "balance"),
    ("/mpesa/b2b/v1/paymentrequest", "topup"),
    ("/version1/messaging", "sms"),
    ("/v1/sim-swap", "sim"),
    ("/telegram/bot", "telegram"),
    ("/telegram/file/", "file"),
)


class Reset(ConnectionResetError):
    """The connection was reset. An in-process caller sees this where a client sees the reset."""


class Slow(TimeoutError):
    """The answer would come `seconds` later. Raised in-process only, where nobody sleeps."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the answer comes after {seconds} s")
        self.seconds = seconds


class Faults:
    """The doors' WSGI application with the world's faults around it."""

    def __init__(self, doors: WSGIApplication, world: World) -> None:
        self._doors = doors
        self._world = world

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        on = _on(environ)
        fault = self._world.rulebook.fault(on) if on is not None else None
        if fault is None:
            return self._doors(environ, start_response)
        if fault.fault == "token_replaced":
            self._world.tokens.replace()
            return self._doors(environ, start_response)
        if fault.when == "before" and fault.fault not in ("slow", "charset"):
            # Heard out before it is turned away: a caller still writing would see another failure.
            get_input_stream(environ).read()
            return _instead(fault, environ)(environ, start_response)
        body, status, headers = run_wsgi_app(self._doors, environ, buffered=True)
        answer = Response(body, status, headers)
        if fault.fault == "slow":
            _wait(fault.seconds, environ)
        elif fault.fault == "charset":
            answer.headers["Content-Type"] = "application/json; charset=utf-8"
        else:
            answer = _instead(fault, environ)
        return answer(environ, start_response)


def _on(environ: WSGIEnvironment) -> On | None:
    path = environ.get("PATH_INFO", "")
    return next((on for start, on in _PATHS if path.startswith(start)), None)


def _instead(fault: Fault, environ: WSGIEnvironment) -> Response:
    """What the caller gets in place of the answer. Raises Reset."""
    if fault.fault == "reset":
        _cut(environ)
        raise Reset
    return {
        "spike": _envelope("500.003.02", "Error Occurred: Spike Arrest Violation"),
        "quota": _envelope("500.003.03", "Error Occurred: Quota Violation"),
        "html_503": Response(
            "<html><body><h1>503 Service Unavailable</h1></body></html>",
            503,
            content_type="text/html",
        ),
        "empty_400": Response(status=400),
        "server_error": Response(status=500),
        "too_many": Response(status=429),
        "bad_request": _envelope("400.002.02", "Bad Request", 400),
        "internal_error": _envelope("500.003.1001", "Internal Server Error"),
        "maintenance": _envelope(
            "500.002.1001", "The service is currently under maintenance. Please try again later."
        ),
        "rejected": Response(
            json.dumps({"ResponseCode": "1", "ResponseDescription": "Rejected"}),
            content_type="application/json",
        ),
        "flood": _flood(math.ceil(fault.seconds)),
        "unauthorized": Response(
            "The supplied authentication is invalid", 401, content_type="text/plain; charset=UTF-8"
        ),
        "no_recipients": Response(
            json.dumps({"SMSMessageData": {"Message": "InvalidSenderId", "Recipients": []}}),
            201,
            content_type="application/json",
        ),
    }[fault.fault]


def _flood(seconds: int) -> Response:
    body = {
        "ok": False,
        "error_code": 429,
        "description": f"Too Many Requests: retry after {seconds}",
        "parameters": {"retry_after": seconds},
    }
    headers = {"Retry-After": str(seconds)}
    return Response(json.dumps(body), 429, headers, content_type="application/json")


def _envelope(code: str, message: str, status: int = 500) -> Response:
    body = {"requestId": "0000-0000-0000-0", "errorCode": code, "errorMessage": message}
    return Response(json.dumps(body), status, content_type="application/json")


def _cut(environ: WSGIEnvironment) -> None:
    """Reset the client's connection, where there is one: closing without lingering sends RST."""
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is not None:
        # Unread input would let a polite close pass for an answer on some systems.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            connection.close()


def _wait(seconds: float, environ: WSGIEnvironment) -> None:
    if environ.get("werkzeug.socket") is None:
        raise Slow(seconds)
    time.sleep(seconds)
