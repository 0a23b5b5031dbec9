"""SMS through Africa's Talking: sending by their SDK, what becomes of each message, what comes in.

Source: Africa's Talking, SMS sending, delivery reports, incoming messages, bulk opt-out; package
africastalking 2.0.3.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeGuard

import structlog
from africastalking.SMS import SMSService
from flask import Blueprint, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from channels import admission, fields
from channels.switchboard import Sms, Switchboard
from core import opt_outs, phone, sendings
from core.database import Database
from core.errors import Invalid, Unavailable
from core.sendings import SendAnswer
from payments.africastalking import Account, Wire
from payments.wire import Answer, Lost, NotSent, load_object
from settings import Settings

log = structlog.get_logger(__name__)

FIELD_CHARACTERS_MAX = 128
TEXT_CHARACTERS_MAX = 1_000  # of an SMS that comes in; seven parts, more than anybody types
REPORT_SECONDS_MAX = 3.0

_ACCEPTED: Final = frozenset({100, 101, 102})
# Nobody's message would be taken: money, contract or account are wrong, and a person must act.
_HALTING: Final = frozenset({401, 402, 405})  # RiskHold, InvalidSenderId, InsufficientBalance
_REFUSED: Final = frozenset({403, 404, 406, 407, 409})  # this number cannot be reached
_LATER: Final = frozenset({500, 501})
_LATER_ONCE = 502  # RejectedByGateway
# By these the server says that it did not act; the first three that it knows us not.
_HALTING_STATUSES: Final = frozenset({401, 403, 404})
_LATER_STATUSES: Final = frozenset({405, 413, 415, 429, 503})

_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}")  # a stranger one the SDK would raise at

_UNDERWAY: Final = frozenset({"sent", "submitted", "buffered"})
_DELIVERED: Final = frozenset({"success"})
_FAILED: Final = frozenset({"rejected", "failed", "absentsubscriber", "expired"})


class AfricasTalking:
    """The sender. Safe for threads; one for each process."""

    def __init__(self, account: Account, sender: str | None = None) -> None:
        """sender: the name that our messages come from; None, their own."""
        self._sender = sender
        self._sdk = _Sdk(account, "version1")

    def send(self, msisdn: str, text: str) -> SendAnswer:
        """Send one message. See channels.sms.Sender."""
        return self.send_all([msisdn], text)[msisdn]

    def send_all(self, msisdns: Sequence[str], text: str) -> Mapping[str, SendAnswer]:
        """The same to several. A number the SDK does not know for one is refused by itself."""
        known = [msisdn for msisdn in msisdns if _NUMBER.fullmatch(msisdn)]
        answers = self._call(known, text) if known else {}
        return {
            msisdn: answers.get(msisdn) or SendAnswer("refused", "InvalidPhoneNumber")
            for msisdn in msisdns
        }

    def _call(self, msisdns: Sequence[str], text: str) -> Mapping[str, SendAnswer]:
        try:
            answer: Answer = self._sdk.send(text, list(msisdns), self._sender, enqueue=True)
        except NotSent as error:
            return dict.fromkeys(msisdns, SendAnswer("later", error.code))
        except Lost as error:
            return dict.fromkeys(msisdns, SendAnswer("unknown", error.code))
        return read_answers(answer.status, answer.body, msisdns)

    def close(self) -> None:
        """Let go of every connection; no call may be under way."""
        self._sdk.close()


def connect(settings: Settings) -> AfricasTalking:
    """The sender for the account that the settings name."""
    account = Account(
        base_url=settings.africastalking_base_url,
        username=settings.africastalking_username,
        api_key=settings.africastalking_api_key.get_secret_value(),
    )
    return AfricasTalking(account, settings.africastalking_sender)


def blueprint(database: Database, switchboard: Switchboard, *, secret: str) -> Blueprint:
    """Where messages, delivery reports and opt-outs are posted. A wrong secret is 404, empty.

    What we cannot use is answered 200 all the same: sent again it would be no better. What we
    could not keep is 503: they repeat it each minute, for 12 hours.
    """
    routes = Blueprint("sms_africastalking", __name__, url_prefix="/channels/sms/africastalking")
    admission.guard(routes, secret)

    @routes.errorhandler(Unavailable)
    def database_away(error: Unavailable) -> tuple[str, int]:
        log.error("callback_not_kept", error=type(error).__name__)
        return "", 503

    @routes.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> tuple[str, int]:
        return "", 413

    @routes.post("/<secret>/delivery")
    def delivery() -> tuple[str, int]:
        report = read_report(fields.form(request))
        if report is not None:
            with database.begin(seconds=REPORT_SECONDS_MAX) as db:
                now = database.clock()
                known = sendings.report(db, report.provider_id, report.state, report.failure, now)
            if known == "early":  # normal where it overtakes the answer to our sending
                log.info("report_of_unknown_message", state=report.state)
        return "", 200

    @routes.post("/<secret>/incoming")
    def incoming() -> tuple[str, int]:
        sms = read_incoming(fields.form(request))
        return ("", 200) if sms is None or switchboard.hear(sms) else ("", 503)

    @routes.post("/<secret>/optout")
    def opted_out() -> tuple[str, int]:
        msisdn = _sender(fields.form(request).get("phoneNumber", ""))
        if msisdn is not None:
            with database.begin(seconds=REPORT_SECONDS_MAX) as db:
                opt_outs.bar(db, msisdn, database.clock())
        return "", 200

    return routes


def read_incoming(form: MultiDict[str, str]) -> Sms | None:
    """The message in a request, named by its date and text if it has no id. None: no phone's."""
    msisdn = _sender(form.get("from", ""))
    if msisdn is None:
        return None
    text, given = form.get("text", "")[:TEXT_CHARACTERS_MAX], form.get("id", "")
    return Sms(given if _is_name(given) else f"{form.get('date', '')}\0{text}", msisdn, text)


def _sender(given: str) -> str | None:
    """The phone that it came from. None: a short code or a name, which answers nobody."""
    try:
        return phone.parse(given)
    except Invalid:
        log.warning("sms_of_no_phone")
        return None


@dataclass(frozen=True)
class Report:
    """The final word on one message."""

    provider_id: str
    state: Literal["delivered", "failed"]
    failure: str | None


def read_report(form: MultiDict[str, str]) -> Report | None:
    """The report in a request; None: it is not final, or nothing we could use."""
    provider_id, status = form.get("id", ""), form.get("status", "")
    if not _is_name(provider_id) or not _is_name(status):
        log.warning("report_unreadable")
        return None
    known = status.lower()
    if known in _DELIVERED:
        return Report(provider_id, "delivered", None)
    if known in _FAILED:
        reason = form.get("failureReason", "")
        return Report(provider_id, "failed", reason if _is_name(reason) else status)
    if known not in _UNDERWAY:
        log.warning("report_of_unknown_status", status=status)
    return None


def read_answers(status: int, body: bytes, msisdns: Sequence[str]) -> dict[str, SendAnswer]:
    """What an answer to a sending proves, by number. Whatever it does not prove is "unknown"."""
    if not 200 <= status < 300:
        return dict.fromkeys(msisdns, _read_status(status))
    told = load_object(body).get("SMSMessageData")
    listed = told.get("Recipients") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(listed, list):
        return dict.fromkeys(msisdns, SendAnswer("unknown", "unreadable"))
    if not listed:  # nobody was sent to; "InvalidSenderId" says why
        said = told.get("Message")
        code = said if _is_name(said) else "no_recipients"
        return dict.fromkeys(msisdns, SendAnswer("later", code, halts=True))
    found: dict[object, list[Mapping[str, Any]]] = {}
    for each in listed:
        if isinstance(each, dict):
            found.setdefault(str(each.get("number")), []).append(each)
    return {msisdn: _read_recipients(found.get(msisdn, [])) for msisdn in msisdns}


def _read_status(status: int) -> SendAnswer:
    code = f"http_{status}"
    if status in _HALTING_STATUSES:
        return SendAnswer("later", code, halts=True)
    if status in _LATER_STATUSES:
        return SendAnswer("later", code)
    return SendAnswer("refused" if status == 400 else "unknown", code)


def _read_recipients(found: Sequence[Mapping[str, Any]]) -> SendAnswer:
    """What is said of one number: once, or it proves nothing."""
    return _read_recipient(found[0]) if len(found) == 1 else SendAnswer("unknown", "another_number")


def _read_recipient(told: Mapping[str, Any]) -> SendAnswer:
    number = told.get("statusCode")
    name = told.get("status")
    if not isinstance(number, int):
        return SendAnswer("unknown", "no_code")
    code = name if _is_name(name) else f"code_{number}"
    if number in _ACCEPTED:
        provider_id, cost = told.get("messageId"), told.get("cost")
        return SendAnswer(
            "accepted",
            code,
            provider_id if _is_name(provider_id) and provider_id != "None" else None,
            cost if _is_name(cost) else None,
        )
    if number in _HALTING:
        return SendAnswer("later", code, halts=True)
    if number in _REFUSED:
        return SendAnswer("refused", code)
    if number in _LATER:
        return SendAnswer("later", code)
    if number == _LATER_ONCE:
        return SendAnswer("later", code, twice_is_final=True)
    return SendAnswer("unknown", code)


def _is_name(value: object) -> TypeGuard[str]:
    """A code, an id or an amount as it may be kept and logged: short, printable, not empty."""
    return isinstance(value, str) and 0 < len(value) <= FIELD_CHARACTERS_MAX and value.isprintable()


class _Sdk(Wire, SMSService):  # type: ignore[misc]  # it has no types
    """Their SDK for SMS, without its `initialize`: that one is global."""
