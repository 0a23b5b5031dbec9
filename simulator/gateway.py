"""Daraja's gateway: what every call must show and say, and the envelope that refuses it.

Source: daraja.md, sections 1 to 3. What is wrong with a request is raised as `Refused` and becomes
Daraja's error envelope in one place.
"""

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from flask import Response, jsonify, request

from simulator.clock import EAST_AFRICA
from simulator.world import World

# M-Pesa refuses callback URLs with these words in them, in any case.
FORBIDDEN_WORDS = ("mpesa", "m-pesa", "safaricom", "exe", "exec", "cmd", "sql", "query")
BAD_REQUEST = "400.002.02"
BAD_REQUEST_C2B = "400.003.02"  # of C2B, pull and the status of a transaction

Body = dict[str, Any]
Answer = dict[str, Any]
Family = Literal["stk", "c2b", "b2c"]


class Refused(Exception):
    """The gateway turns a request away: HTTP status, errorCode, errorMessage."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


NOT_FOUND = Refused(404, "404.001.01", "Resource not found")
NOT_ALLOWED = Refused(405, "405.001", "Method Not Allowed")
# Each family of calls refuses a token in its own words. Reversals are with the pushes, the status
# of a transaction is with C2B, balances and top-ups are with B2C.
_NO_TOKEN: dict[Family, tuple[int, str, str]] = {
    "stk": (404, "404.001.03", "Invalid Access Token"),
    "c2b": (400, "400.003.01", "Invalid Access Token"),
    "b2c": (401, "401.002.01", "Error Occurred - Invalid Access Token"),
}


def is_ours(path: str) -> bool:
    """Whether a path is M-Pesa's, so that even a wrong one is refused in its form."""
    return path.startswith(("/oauth/", "/mpesa/", "/pulltransactions/"))


def answered(act: Callable[[], Answer | Response]) -> Response:
    """The act's answer as JSON, or the envelope of what refused it."""
    try:
        answer = act()
    except Refused as refused:
        return refusal(refused)
    return answer if isinstance(answer, Response) else jsonify(answer)


def refusal(refused: Refused) -> Response:
    """Daraja's error envelope."""
    answer = jsonify(requestId=request_id(), errorCode=refused.code, errorMessage=refused.message)
    answer.status_code = refused.status
    return answer


def read_body(world: World, family: Family) -> Body:
    """The request's JSON object, once the token is accepted. Raises Refused."""
    bearer = request.authorization
    if bearer is None or bearer.type != "bearer" or not bearer.token:
        raise Refused(404, "404.001.04", "Invalid Authentication Header")
    if not world.tokens.opens(bearer.token, world.clock.now()):
        raise Refused(*_NO_TOKEN[family])
    if request.mimetype != "application/json":
        return {}  # without the content type every field reads as missing
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise Refused(400, "400.002.05", "Invalid Request Payload")
    return body


def field(body: Body, name: str, pattern: str, *, called: str = "", code: str = BAD_REQUEST) -> str:
    """A field as text, a whole number or a string. Raises Refused where it does not fit.

    called: the name the refusal uses.
    """
    value = body.get(name)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if re.fullmatch(pattern, text) is None:
        raise invalid(called or name, code)
    return text


def moment(text: str, form: str, name: str) -> datetime:
    """A stamp in East Africa Time. Raises Refused for one that no calendar has."""
    try:
        return datetime.strptime(text, form).replace(tzinfo=EAST_AFRICA)
    except ValueError:
        raise invalid(name) from None


def url(body: Body, name: str, code: str = BAD_REQUEST) -> str:
    """Where to call back: M-Pesa takes public HTTPS URLs without certain words.

    This double lives beside the system under test, so plain HTTP is taken too where nothing public
    can be meant: on the same machine, or a host whose name has no dot. Raises Refused.
    """
    text = field(body, name, r".+", code=code)
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        raise invalid(name, code) from None
    is_near = host in ("127.0.0.1", "::1") or (host != "" and "." not in host)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_near):
        raise invalid(name, code)
    said = (host + parts.path).lower()
    if not host or any(word in said for word in FORBIDDEN_WORDS):
        raise invalid(name, code)
    return text


def invalid(name: str, code: str = BAD_REQUEST) -> Refused:
    return Refused(400, code, f"Bad Request - Invalid {name}")


def request_id() -> str:
    return "-".join(secrets.token_hex(count) for count in (2, 2, 2, 9))
