"""USSD through Advanta: a GET with all that was dialled and typed, CON and END in plain text.

Source: Advanta Africa, USSD integration guide (2025-09).
"""

import re

import structlog
from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from channels import admission, fields
from channels.ussd import Hopper
from core import phone
from core.errors import Invalid
from flows import run
from flows.run import History, Inbound, Reply

log = structlog.get_logger(__name__)

# On later hops the # that closed the dialled code may stand where it stood or at the end of all:
# the guide does not say. One that was typed there cannot be told from it, and goes too.
_CLOSING = re.compile(r"#+(?=\*|\Z)")


def blueprint(
    hopper: Hopper,
    *,
    secret: str,
    service_code: str,
    room_septets: int,
    dialled_ahead: bool = True,
) -> Blueprint:
    """The address registered with the gateway. A wrong secret is 404 with an empty body.

    service_code: as it is dialled, with our extension where the code is shared: *415*33#.
    room_septets: of a screen after the prefix.
    """
    routes = Blueprint("ussd_advanta", __name__, url_prefix="/channels/ussd/advanta")
    admission.guard(routes, secret)

    @routes.get("/<secret>")
    def hop() -> Response:
        if request.method == "HEAD":  # it comes with every GET, and would take a turn unseen
            return Response(status=405)
        try:
            inbound = parse(request.args, service_code, room_septets, dialled_ahead)
        except Invalid as error:
            log.warning("hop_unreadable", reason=error.hint)
            return _plain(f"END {run.sorry('unclear', None)}")
        return draw(hopper.answer(inbound))

    return routes


def parse(
    query: MultiDict[str, str], service_code: str, room_septets: int, dialled_ahead: bool = True
) -> Inbound:
    """The hop in a request. Raises Invalid, naming the field that is missing, doubled or wrong."""
    msisdn = phone.parse(fields.one(query, "MSISDN"))
    text = history(fields.one(query, "INPUT", fields.HISTORY_CHARACTERS_MAX), service_code)
    return Inbound(
        channel="ussd",
        address=msisdn,
        msisdn=msisdn,
        session=f"advanta:{fields.identifier(query, 'SESSIONID')}",  # theirs are short numbers
        service_code=fields.identifier(query, "USSDCODE"),
        said=History(text.replace("\0", "\N{REPLACEMENT CHARACTER}"), dialled_ahead),
        room_septets=room_septets,
    )


def history(given: str, service_code: str) -> str:
    """What was typed, joined by stars: "1*2" of "*415*33*1*2#" where *415*33# is ours.

    Raises Invalid("INPUT"): another code was dialled.
    """
    ours = service_code.strip("*#")
    whole = _CLOSING.sub("", given).removeprefix("*")
    if whole == ours:
        return ""
    if not whole.startswith(f"{ours}*"):
        raise Invalid("INPUT")
    return whole.removeprefix(f"{ours}*")


def draw(reply: Reply) -> Response:
    """CON or END, one space, the screen."""
    return _plain(f"{'END' if reply.ends else 'CON'} {reply.text}")


def _plain(body: str) -> Response:
    response = Response(body, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"  # whatever lies between, the next hop is ours
    return response
