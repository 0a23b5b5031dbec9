"""USSD through Africa's Talking: cumulative text in a form, CON and END in plain text.

Source: Africa's Talking, USSD session callback and end-of-session notification.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime

import structlog
from flask import Blueprint, Response, g, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from channels.ussd import Hopper
from core import phone
from core.database import Database, Db
from core.errors import Invalid, Unavailable
from flows import conversations, run
from flows.run import Inbound
from flows.words import common

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 64 * 1024
TEXT_CHARACTERS_MAX = 4_000  # of a whole session; a reply has at most 160
FIELD_CHARACTERS_MAX = 128
STATUSES = frozenset({"Success", "Incomplete", "Failed"})
EVENT_SECONDS_MAX = 3.0


def blueprint(
    database: Database,
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

    @routes.url_value_preprocessor
    def take_secret(_endpoint: str | None, values: dict[str, str] | None) -> None:
        g.path_secret = (values or {}).pop("secret", "")

    @routes.before_request
    def admit() -> tuple[str, int] | None:
        request.max_content_length = BODY_BYTES_MAX
        given = g.path_secret.encode("utf-8", "replace")
        return None if hmac.compare_digest(given, secret.encode()) else ("", 404)

    @routes.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> Response:
        return _end(_in_all_languages("unclear"))

    @routes.post("/<secret>")
    def hop() -> Response:
        try:
            inbound = parse(request.form, room_septets, rooms, dialled_ahead)
        except Invalid as error:
            log.warning("hop_unreadable", reason=error.hint)
            return _end(_in_all_languages("unclear"))
        reply = hopper.answer(inbound)
        return draw(reply)

    @routes.post("/<secret>/events")
    def ended() -> tuple[str, int]:
        try:
            with database.begin(seconds=EVENT_SECONDS_MAX) as db:
                _keep_end(db, request.form, database.clock())
        except Unavailable as error:
            log.warning("session_end_not_kept", reason=type(error).__name__)
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
    msisdn = phone.parse(_field(form, "phoneNumber"))
    text = _field(form, "text", characters_max=TEXT_CHARACTERS_MAX)
    return Inbound(
        channel="ussd",
        address=msisdn,
        msisdn=msisdn,
        session=_named(form, "sessionId"),
        service_code=_named(form, "serviceCode"),
        text=text.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        room_septets=rooms.get(form.get("networkCode", ""), room_septets),
        dialled_ahead=dialled_ahead,
    )


def draw(reply: run.Reply) -> Response:
    """CON or END, one space, the screen; the state's name for the gateway's own dashboard."""
    if reply.ends:
        return _end(reply.text, reply.label)
    return _plain(f"CON {reply.text}", reply.label)


def _keep_end(db: Db, form: MultiDict[str, str], now: datetime) -> None:
    """A notice that a session is over: without its input, nor the last screen it repeats."""
    try:
        session, status = _named(form, "sessionId"), _named(form, "status")
    except Invalid as error:
        log.warning("session_end_unreadable", reason=error.hint)
        return
    if status not in STATUSES:
        log.warning("session_end_unknown_status")
        status = "Unknown"
    conversations.end_session(
        db,
        session,
        status=status,
        hops=_count(form, "hopsCount"),
        milliseconds=_count(form, "durationInMillis"),
        cost=_note(form, "cost"),
        network=_note(form, "networkCode"),
        error=_note(form, "errorMessage"),
        now=now,
    )


def _count(form: MultiDict[str, str], name: str) -> int | None:
    given = form.get(name, "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= 9 else None


def _note(form: MultiDict[str, str], name: str) -> str:
    return "".join(c for c in form.get(name, "")[:FIELD_CHARACTERS_MAX] if c.isprintable())


def _end(text: str, label: str = "refused") -> Response:
    return _plain(f"END {text}", label)


def _plain(body: str, label: str) -> Response:
    response = Response(body, content_type="text/plain; charset=utf-8")
    response.headers["at-ussd-hop-metadata"] = label
    return response


def _in_all_languages(words: str) -> str:
    shared = common()
    return "\n".join(shared.texts[words][language] for language in shared.languages)


def _field(form: MultiDict[str, str], name: str, characters_max: int = FIELD_CHARACTERS_MAX) -> str:
    """Exactly one, not too long."""
    given = form.getlist(name)
    if len(given) != 1 or len(given[0]) > characters_max:
        raise Invalid(name)
    return given[0]


def _named(form: MultiDict[str, str], name: str) -> str:
    """An identifier: neither empty nor unprintable."""
    value = _field(form, name)
    if not value or not value.isprintable():
        raise Invalid(name)
    return value
