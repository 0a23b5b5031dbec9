"""Insights: Africa's Talking asks a line's network when it last got another SIM card.

The answer to the question is mostly an id; what the network says is posted to us later. Source:
Africa's Talking, Insights, SIM swap state; package africastalking 2.0.3. It is taken down here as
generously as it may be written, and whatever is not plainly an answer is none.
"""

import hmac
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, Protocol

import structlog
from africastalking.Insights import InsightService
from flask import Blueprint, request
from werkzeug.exceptions import RequestEntityTooLarge

from core import inbox
from core.database import Database
from core.errors import Unavailable
from core.sim_checks import SimAnswer
from payments.africastalking import Account, Wire
from payments.wire import Lost, NotSent, load_object
from settings import Settings

log = structlog.get_logger(__name__)

SOURCE: Final = "sim"  # its answers' name in the inbox
BODY_BYTES_MAX: Final = 16 * 1024
SECONDS_MAX: Final = 3.0
NEVER: Final = date(1900, 1, 1)  # how they write that a line never got another SIM

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,128}")
_WORD: Final = re.compile(r"[A-Za-z_ ]{1,40}")
_SWAPPED: Final = "swapped"
_NOT_SWAPPED: Final = "notswapped"


class SimGateway(Protocol):
    """Whoever can be asked for a line's SIM."""

    def check(self, msisdn: str) -> SimAnswer:
        """Ask; may be repeated freely. Raises nothing for what a provider or a network does."""


class Insights:
    """The asker. Safe for threads; one for each process."""

    def __init__(self, account: Account) -> None:
        self._sdk = _Sdk(account, "v1")

    def check(self, msisdn: str) -> SimAnswer:
        """See SimGateway."""
        try:
            answer = self._sdk.check_sim_swap_state([msisdn])
        except ValueError:  # the SDK knows the number for none; its words would name it
            return SimAnswer("no_number")
        except (NotSent, Lost) as error:
            return SimAnswer(error.code)
        return read_acceptance(answer.status, answer.body, msisdn)

    def close(self) -> None:
        """Let go of every connection; no call may be under way."""
        self._sdk.close()


def connect(settings: Settings) -> Insights:
    """The asker for the account that the settings name."""
    return Insights(
        Account(
            base_url=settings.africastalking_insights_url,
            username=settings.africastalking_username,
            api_key=settings.africastalking_api_key.get_secret_value(),
        )
    )


def blueprint(database: Database, *, path_secret: str) -> Blueprint:
    """Where the answers are posted. A wrong secret is 404, empty; what we cannot use is 200."""
    routes = Blueprint("insights", __name__, url_prefix="/payments/sim")

    @routes.errorhandler(Unavailable)
    def database_away(error: Unavailable) -> tuple[str, int]:
        log.error("callback_not_kept", error=type(error).__name__)
        return "", 503

    @routes.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> tuple[str, int]:
        return "", 413

    @routes.post("/<secret>")
    def answered(secret: str) -> tuple[str, int]:
        if not hmac.compare_digest(secret.encode("utf-8", "replace"), path_secret.encode()):
            return "", 404
        request.max_content_length = BODY_BYTES_MAX
        body = request.get_data()
        request_id = read_answer(body).request_id
        if request_id is None:
            log.warning("sim_answer_unreadable")
            return "", 200
        with database.begin(seconds=SECONDS_MAX) as db:
            peer = request.remote_addr or ""
            inbox.keep(db, SOURCE, request_id, body, {}, peer, database.clock())
        return "", 200

    return routes


def read_acceptance(status: int, body: bytes, msisdn: str) -> SimAnswer:
    """What an answer to the question says: of this number, or of nothing at all."""
    if not 200 <= status < 300:
        return SimAnswer(f"http_{status}")
    told = load_object(body)
    listed = told.get("responses")
    if isinstance(listed, list):
        about = [each for each in listed if isinstance(each, dict) and _number(each) == msisdn]
        if len(about) != 1:
            return SimAnswer("another_number")
        return _read({**told, **about[0]})
    return _read(told)


def read_answer(body: bytes) -> SimAnswer:
    """What the network says, posted to us."""
    return _read(load_object(body))


def _read(told: Mapping[str, Any]) -> SimAnswer:
    request_id = told.get("requestId")
    if not (isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id)):
        request_id = None
    word = told.get("status")
    status = word if isinstance(word, str) and _WORD.fullmatch(word) else "unreadable"
    said = status.casefold().replace("_", "").replace(" ", "")
    if said not in (_SWAPPED, _NOT_SWAPPED):
        return SimAnswer(status, request_id=request_id)
    on = _date(told.get("lastSimSwapDate"))
    if said == _SWAPPED:
        return SimAnswer(status, "swapped", None if on == NEVER else on, request_id)
    if on is None:  # no swap, and since when? Half an answer is none
        return SimAnswer(status, request_id=request_id)
    return SimAnswer(status, "clean", None if on == NEVER else on, request_id)


def _date(given: object) -> date | None:
    """As they write it, 21-11-2026, or as everybody does. None: it is none."""
    if not isinstance(given, str):
        return None
    for form in ("%d-%m-%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(given[:10], form).date()  # noqa: DTZ007 - a day, of no zone
        except ValueError:
            continue
    return None


def _number(told: Mapping[str, Any]) -> object:
    """Of which number: written by itself, or as an object that says more of it."""
    number = told.get("phoneNumber")
    return number.get("phoneNumber") if isinstance(number, dict) else number


class _Sdk(Wire, InsightService):  # type: ignore[misc]  # it has no types
    """Their SDK for Insights, without its `initialize`: that one is global."""
