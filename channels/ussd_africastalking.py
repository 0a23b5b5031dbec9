"""USSD through Africa's Talking: cumulative text in a form, CON and END in plain text.

Source: Africa's Talking, USSD session callback and end-of-session notification.
"""

from collections.abc import Mapping

import structlog
from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from channels import admission, fields
from channels.ussd import Hopper
from channels.web import Screen
from core import phone
from core.errors import Invalid
from flows import run
from flows.conversations import Ended
from flows.run import History, Inbound

log = structlog.get_logger(__name__)

STATUSES = frozenset({"Success", "Incomplete", "Failed"})


def blueprint(
    hopper: Hopper,
    *,
    secret: str,
    room_septets: int,
    rooms: Mapping[str, int],
    dialled_ahead: bool = True,
) -> Blueprint:
    """The two addresses registered with the gateway. A wrong secret is 404 with an empty body.

    room_septets: of a screen after the prefix; rooms: of networks that have another, by code.
    """
    routes = Blueprint("ussd_africastalking", __name__, url_prefix="/channels/ussd/africastalking")
    admission.guard(routes, secret)

    @routes.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> Response:
        return _end(run.sorry("unclear", None))

    @routes.post("/<secret>")
    def hop() -> Response:
        try:
            inbound = parse(fields.form(request), room_septets, rooms, dialled_ahead)
        except Invalid as error:
            log.warning("hop_unreadable", reason=error.hint)
            return _end(run.sorry("unclear", None))
        reply = hopper.answer(inbound)
        return draw(reply)

    @routes.post("/<secret>/events")
    def ended() -> tuple[str, int]:
        notice = _ended(fields.form(request))
        if notice is not None:
            hopper.ended(notice)
        return "", 200

    return routes


def parse(
    form: MultiDict[str, str],
    room_septets: int,
    rooms: Mapping[str, int],
    dialled_ahead: bool = True,
) -> Inbound:
    """The hop in a request. rooms: by network code, where a network's is not room_septets.

    Raises Invalid, naming the field that is missing, doubled or wrong.
    """
    msisdn = phone.parse(fields.one(form, "phoneNumber"))
    text = fields.one(form, "text", fields.HISTORY_CHARACTERS_MAX)
    return Inbound(
        channel="ussd",
        address=msisdn,
        msisdn=msisdn,
        session=fields.identifier(form, "sessionId"),
        service_code=fields.identifier(form, "serviceCode"),
        said=History(text.replace("\0", "\N{REPLACEMENT CHARACTER}"), dialled_ahead),
        room_septets=rooms.get(form.get("networkCode", ""), room_septets),
    )


def draw(reply: run.Reply) -> Response:
    """CON or END, one space, the screen; the state's name for the gateway's own dashboard."""
    if reply.ends:
        return _end(reply.text, reply.label)
    return _plain(f"CON {reply.text}", reply.label)


def _ended(form: MultiDict[str, str]) -> Ended | None:
    """The notice: without the session's input, nor the last screen it repeats."""
    try:
        session, status = fields.identifier(form, "sessionId"), fields.identifier(form, "status")
    except Invalid as error:
        log.warning("session_end_unreadable", reason=error.hint)
        return None
    if status not in STATUSES:
        log.warning("session_end_unknown_status")
        status = "Unknown"
    return Ended(
        session,
        status,
        hops=_count(form, "hopsCount"),
        milliseconds=_count(form, "durationInMillis"),
        cost=_note(form, "cost"),
        network=_note(form, "networkCode"),
        error=_note(form, "errorMessage"),
    )


def _count(form: MultiDict[str, str], name: str) -> int | None:
    given = form.get(name, "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= 9 else None


def _note(form: MultiDict[str, str], name: str) -> str:
    return "".join(c for c in form.get(name, "")[: fields.CHARACTERS_MAX] if c.isprintable())


def _end(text: str, label: str = "refused") -> Response:
    return _plain(f"END {text}", label)


def _plain(body: str, label: str) -> Response:
    return Screen(body, {"at-ussd-hop-metadata": label})
