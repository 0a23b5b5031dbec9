"""USSD through Hubtel: JSON with the newest reply only, and a life cycle told in words.

Source: Hubtel, programmable services (2026-02).
"""

import json
from collections.abc import Sequence
from typing import Any

import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from channels import admission, fields
from channels.ussd import Hopper
from core import phone
from core.errors import Invalid
from flows import engine, run
from flows.conversations import Ended
from flows.run import Answer, Begin, Inbound, Reply

log = structlog.get_logger(__name__)

TITLE = "Sokoni"  # above our screens in Hubtel's app and on its web pages
HOPS_MAX = 10_000  # of a session, by its own count; a session lasts minutes
NAVIGATION = frozenset({engine.BACK, engine.HOME_KEY, engine.MORE})

Fields = MultiDict[str, Any]


def blueprint(
    hopper: Hopper,
    *,
    secret: str,
    service_code: str,
    room_septets: int,
    dialled_ahead: bool = True,
) -> Blueprint:
    """The address registered with the gateway. A wrong secret is 404 with an empty body.

    service_code: without star and hash, with our extension where the code is shared: 713*9597.
    """
    routes = Blueprint("ussd_hubtel", __name__, url_prefix="/channels/ussd/hubtel")
    admission.guard(routes, secret)

    @routes.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> Response:
        return _release("", run.sorry("unclear", None))

    @routes.post("/<secret>")
    def hop() -> Response:
        session = ""
        try:
            asked = read(request.get_data())
            session = fields.identifier(asked, "SessionId")
            if fields.one(asked, "Type") == "Timeout":
                hopper.ended(_ended(asked))
                return _release(session, "")
            inbound = parse(asked, service_code, room_septets, dialled_ahead)
        except Invalid as error:
            log.warning("hop_unreadable", reason=error.hint)
            return _release(session, run.sorry("unclear", None))
        return draw(session, hopper.answer(inbound))

    return routes


def read(body: bytes) -> Fields:
    """The request's fields; one that comes twice stays twofold. Raises Invalid: no JSON object."""
    try:
        found = json.loads(body, object_pairs_hook=MultiDict)
    except (ValueError, RecursionError):
        raise Invalid("body") from None
    if not isinstance(found, MultiDict):
        raise Invalid("body")
    return found


def parse(
    asked: Fields, service_code: str, room_septets: int, dialled_ahead: bool = True
) -> Inbound:
    """The hop in a request, Timeout aside. ClientState is not looked at: anybody may fill it.

    Raises Invalid, naming the field that is missing, doubled or wrong.
    """
    msisdn = _msisdn(asked)
    message = fields.one(asked, "Message", fields.HISTORY_CHARACTERS_MAX)
    key = str(_sequence(asked))
    said: Begin | Answer
    match fields.one(asked, "Type"):
        case "Initiation":
            said = Begin(key, ahead=dialled(message, service_code) if dialled_ahead else ())
        case "Response":
            said = Answer(key, message)
        case _:
            raise Invalid("Type")
    return Inbound(
        channel="ussd",
        address=msisdn,
        msisdn=msisdn,
        session=_session(asked),
        service_code=fields.identifier(asked, "ServiceCode"),
        said=said,
        room_septets=room_septets,
    )


def dialled(message: str, service_code: str) -> Sequence[str]:
    """The answers that came with the code: 2 and 1 of "*713*2*1#". None after another code."""
    ours = f"*{service_code}*"
    ahead = message.rstrip("#")
    if not ahead.startswith(ours) or ahead == ours:
        return ()
    return ahead.removeprefix(ours).split("*")


def draw(session: str, reply: Reply) -> Response:
    """The screen in all six fields that Hubtel demands, also of a plain phone."""
    if reply.ends:
        return _release(session, reply.text)
    # A repeat has lost its parts, and "text" takes all that "number" does.
    numbered = reply.screen is not None and any(
        key not in NAVIGATION for key, _label in reply.screen.lines
    )
    return _answer(session, "response", reply.text, "input", "number" if numbered else "text")


def _release(session: str, text: str) -> Response:
    return _answer(session, "release", text, "display", "text")


def _answer(session: str, kind: str, text: str, data_type: str, field_type: str) -> Response:
    return jsonify(
        {
            "SessionId": session,
            "Type": kind,
            "Message": text,
            "Label": TITLE,
            "DataType": data_type,
            "FieldType": field_type,
        }
    )


def _ended(asked: Fields) -> Ended:
    """The notice that the session ran out of time."""
    session, msisdn, operator = _session(asked), _msisdn(asked), asked.get("Operator")
    network = operator if isinstance(operator, str) and operator.isprintable() else ""
    return Ended(session, "Incomplete", network=network[: fields.CHARACTERS_MAX], address=msisdn)


def _session(asked: Fields) -> str:
    """Apart from the sessions of other gateways, which name theirs as they like."""
    return f"hubtel:{fields.identifier(asked, 'SessionId')}"


def _msisdn(asked: Fields) -> str:
    """Numbers come in full, without their plus."""
    return phone.parse(f"+{fields.one(asked, 'Mobile').removeprefix('+')}")


def _sequence(asked: Fields) -> int:
    """The hop's number in its session, by which a repeat is known."""
    given = asked.getlist("Sequence")
    # type(), since True is an int as well
    if len(given) != 1 or type(given[0]) is not int or not 1 <= given[0] <= HOPS_MAX:
        raise Invalid("Sequence")
    return given[0]
