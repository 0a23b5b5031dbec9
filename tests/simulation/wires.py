"""Wires: requests between the system and the pretend world, without a network between them."""

import io
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit
from wsgiref.types import WSGIApplication

import requests
import urllib3
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from channels import sms_africastalking
from payments import daraja, insights
from payments.africastalking import Account
from payments.wire import Sessions
from simulator.faults import Reset, Slow
from tests.simulation.fate import Fate

# The last part of each path, for a boundary's name.
CALLS: Mapping[str, str] = {
    "/oauth/": "token",
    "/mpesa/stkpush/": "push",
    "/mpesa/stkpushquery/": "push query",
    "/mpesa/b2c/": "payout",
    "/mpesa/transactionstatus/": "status",
    "/mpesa/reversal/": "reversal",
    "/mpesa/accountbalance/": "balance",
    "/mpesa/b2b/": "top-up",
    "/pulltransactions/": "pull",
    "/simulator/api/certificate": "certificate",
    "/simulator/api/statement": "statement",
    "/version1/messaging": "sms",
    "/v1/sim-swap": "sim",
}


def answer(
    application: WSGIApplication, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """What the application says: status, headers, body."""
    parts = urlsplit(url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(parts.path, "latin-1"),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": parts.hostname,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    environ["CONTENT_LENGTH"] = str(len(body))
    said: dict[str, Any] = {}

    def start_response(status: str, response_headers: list[tuple[str, str]], *_: Any) -> Any:
        said.update(status=int(status[:3]), headers=dict(response_headers))

    chunks = application(environ, start_response)
    try:
        text = b"".join(chunks)
    finally:
        getattr(chunks, "close", lambda: None)()
    return said["status"], said["headers"], text


class Wire(BaseAdapter):
    """Requests' transport straight into an application, past the boundaries of fate.

    wait: lets the seconds pass that somebody waits for an answer in vain.
    """

    def __init__(
        self, application: WSGIApplication, fate: Fate, wait: Callable[[float], None]
    ) -> None:
        super().__init__()
        self._application = application
        self._fate = fate
        self._wait = wait

    def send(
        self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **__: Any
    ) -> requests.Response:
        job = self._fate.job
        name = next((name for path, name in CALLS.items() if path in str(request.url)), "call")
        if job is not None:
            job.calls += 1
            if self._fate.passes(job, "before call", job.calls, name) is not None:
                raise _unreached(request)
        body = request.body or b""
        try:
            status, headers, text = answer(
                self._application,
                str(request.method),
                str(request.url),
                request.headers,
                body.encode() if isinstance(body, str) else body,
            )
        except Slow:
            self._wait(timeout[1])
            raise requests.ReadTimeout(request=request) from None
        except Reset:
            raise requests.ConnectionError(request=request) from None
        if job is not None and self._fate.passes(job, "after call", job.calls, name) is not None:
            raise requests.ConnectionError(request=request)
        response = requests.Response()
        response.status_code = status
        response.headers = CaseInsensitiveDict(headers)
        response.raw = io.BytesIO(text)
        response.url = str(request.url)
        response.request = request
        return response

    def close(self) -> None:
        pass


def _unreached(request: requests.PreparedRequest) -> requests.ConnectionError:
    refused = urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]
    reason = urllib3.exceptions.MaxRetryError(None, "", refused)  # type: ignore[arg-type]
    return requests.ConnectionError(reason, request=request)


class WiredDaraja(daraja.Daraja):
    """The real adapter on our wire."""

    def __init__(self, account: daraja.Account, wire: Wire, **given: Any) -> None:
        super().__init__(account, redis_url=None, **given)
        _put_on(wire, self._sessions)


class WiredSms(sms_africastalking.AfricasTalking):
    """The real sender on our wire."""

    def __init__(self, account: Account, sender: str, wire: Wire) -> None:
        super().__init__(account, sender)
        _put_on(wire, self._sdk._sessions)


class WiredInsights(insights.Insights):
    """The real asker for SIM cards on our wire."""

    def __init__(self, account: Account, wire: Wire) -> None:
        super().__init__(account)
        _put_on(wire, self._sdk._sessions)


def _put_on(wire: Wire, sessions: Sessions) -> None:
    own = sessions.mine

    def mine() -> requests.Session:
        found = own()
        found.mount("http://", wire)
        return found

    sessions.mine = mine  # type: ignore[method-assign]
