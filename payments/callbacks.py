"""What M-Pesa tells us: kept as it came and answered at once, read and settled afterwards."""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from core import (
    balances,
    charges,
    float_moves,
    halts,
    inbox,
    incidents,
    payout_calls,
    payout_proofs,
    reply_paths,
    settlements,
    sim_checks,
)
from core.charges import ChargeResult
from core.database import Database, Db
from core.days import EAST_AFRICA_TIME, YEARS
from core.errors import Unavailable
from core.money import CENTS
from core.payout_proofs import PayoutResult
from core.receipts import Receipt
from core.reply_paths import ReplyPath
from payments import insights
from payments.codes import (
    AMOUNT_SHILLINGS_MAX,
    FLOAT_CODE,
    INITIATOR_CODES,
    LIMIT_CODE,
    OUR_CODES,
    PAID_CODE,
    REVERSED_BEFORE,
    STATUSES,
    cents_of,
    code_text,
    failure_of,
    receipt_of,
    reference_of,
    status_verdict_of,
    verdict_of,
)
from payments.wire import load_object

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 64 * 1024  # M-Pesa's own stay below 2 kB; larger ones are not from there: 413
SECONDS_MAX = 3.0  # M-Pesa waits about 5 s for an answer, 8 s in validation

UNREADABLE = "unreadable"  # the code of a body that holds no result


def blueprint(database: Database, *, c2b_secret: str) -> Blueprint:
    """The paths M-Pesa posts to. A wrong token or secret is 404 with an empty body.

    c2b_secret: the secret part of the C2B paths, which are registered once for all payments.
    """
    routes = Blueprint("payments", __name__, url_prefix="/payments")

    @routes.errorhandler(Unavailable)
    def database_away(error: Unavailable) -> tuple[str, int]:
        log.error("callback_not_kept", error=type(error).__name__)
        return "", 503  # so that M-Pesa may send it again

    @routes.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> tuple[str, int]:
        return "", 413

    @routes.post("/stk/<token>")
    def stk(token: str) -> Response | tuple[str, int]:
        if not re.fullmatch(r"[0-9a-f]{32}", token):
            return "", 404
        body = _body()
        with database.begin(seconds=SECONDS_MAX) as db:
            charge = charges.by_token(db, token)
            if charge is None:
                return "", 404
            _keep(db, "stk", str(charge.id), body, database.clock())
        return jsonify({"ResultCode": 0, "ResultDesc": "Accepted"})

    @routes.post("/results/<token>")
    def results(token: str) -> Response | tuple[str, int]:
        return reply("result", token)

    @routes.post("/timeouts/<token>")
    def timeouts(token: str) -> Response | tuple[str, int]:
        return reply("timeout", token)

    def reply(source: str, token: str) -> Response | tuple[str, int]:
        if not re.fullmatch(r"[0-9a-f]{32}", token):
            return "", 404
        body = _body()
        with database.begin(seconds=SECONDS_MAX) as db:
            path = reply_paths.by_token(db, token)
            if path is None:  # somebody who knows the form of our addresses tries them
                log.warning("reply_to_nothing", source=source)
                return "", 404
            _keep(db, source, path.key, body, database.clock())
        return jsonify({"ResultCode": 0, "ResultDesc": "Accepted"})

    @routes.post("/c2b/<secret>/validation")
    def validation(secret: str) -> Response | tuple[str, int]:
        if not _same(secret, c2b_secret):
            return "", 404
        fields = load_object(_body())
        try:
            with database.begin(seconds=SECONDS_MAX) as db:
                refusal = _refusal(db, fields)
        except Unavailable as error:
            # Refusing would lose a sale; whatever comes in is booked when its confirmation comes.
            log.error("payment_not_validated", error=type(error).__name__)
            refusal = None
        if refusal is not None:
            return jsonify({"ResultCode": refusal, "ResultDesc": "Rejected"})
        return jsonify({"ResultCode": "0", "ResultDesc": "Accepted"})

    @routes.post("/c2b/<secret>/confirmation")
    def confirmation(secret: str) -> Response | tuple[str, int]:
        if not _same(secret, c2b_secret):
            return "", 404
        body = _body()
        with database.begin(seconds=SECONDS_MAX) as db:
            receipt = receipt_of(load_object(body).get("TransID"))
            _keep(db, "c2b", receipt or UNREADABLE, body, database.clock())
        return jsonify({"ResultCode": 0, "ResultDesc": "Success"})

    return routes


def parse_stk(body: bytes) -> ChargeResult:
    """What an STK callback says, whatever its form; a body without a result is "unknown".

    A success that contradicts itself is "unknown" too; one that leaves out what it should name
    has None there, and core asks before it believes.
    """
    envelope = load_object(body).get("Body")
    callback = envelope.get("stkCallback") if isinstance(envelope, dict) else None
    if not isinstance(callback, dict):
        callback = {}
    code = code_text(callback.get("ResultCode")) or UNREADABLE
    items = _items(callback)
    contradicts = items is None and code == PAID_CODE
    if items is None:
        items = {}
    return ChargeResult(
        source="callback",
        verdict="unknown" if contradicts else verdict_of(code),
        code="contradiction" if contradicts else code,
        amount_cents=cents_of(items.get("Amount")),
        receipt=receipt_of(items.get("MpesaReceiptNumber")),
        msisdn=_msisdn(items.get("PhoneNumber")),
        push_id=code_text(callback.get("CheckoutRequestID")) or None,
        push_group_id=code_text(callback.get("MerchantRequestID")) or None,
        over_limit=code == LIMIT_CODE,
    )


def parse_confirmation(body: bytes, received_at: datetime) -> Receipt | None:
    """The payment a C2B confirmation names; None: it names no receipt or no amount.

    received_at: stands in where TransTime is missing or nonsense.
    """
    fields = load_object(body)
    receipt, cents = receipt_of(fields.get("TransID")), cents_of(fields.get("TransAmount"))
    if receipt is None or not cents:
        return None
    return Receipt(
        source="c2b",
        receipt=receipt,
        amount_cents=cents,
        reference=reference_of(fields.get("BillRefNumber")),
        at=_time(fields.get("TransTime")) or received_at,
    )


def parse_payout(body: bytes) -> PayoutResult:
    """What the Result of a B2C payment says; a body without one is "unknown"."""
    said = _result(body)
    return PayoutResult(
        source="result",
        verdict=said.verdict,
        code=said.code,
        amount_cents=cents_of(said.one("TransactionAmount")),
        receipt=said.receipt
        if said.receipt == receipt_of(said.one("TransactionReceipt"))
        else None,
        msisdn=_party(said.one("ReceiverPartyPublicName")),
        originator_id=said.originator_id,
        conversation_id=said.conversation_id,
        ours=said.code in OUR_CODES,
        halts=_halts(said.code, "float"),
    )


def parse_reversal(body: bytes) -> PayoutResult:
    """What the Result of a reversal says. A collection float too low stops no payout."""
    said = _result(body)
    return PayoutResult(
        source="result",
        verdict="reversed" if said.code == REVERSED_BEFORE else said.verdict,
        code=said.code,
        amount_cents=cents_of(said.one("Amount")),
        receipt=said.receipt,
        originator_id=said.originator_id,
        conversation_id=said.conversation_id,
        reverses_receipt=receipt_of(said.one("OriginalTransactionID")),
        ours=said.code in OUR_CODES,
        halts=_halts(said.code, None),
    )


def parse_top_up(body: bytes) -> PayoutResult:
    """What the Result of a move between our floats says. Too little to move stops no payout."""
    said = _result(body)
    return PayoutResult(
        source="result",
        verdict=said.verdict,
        code=said.code,
        amount_cents=cents_of(said.one("Amount")),
        receipt=said.receipt,
        originator_id=said.originator_id,
        conversation_id=said.conversation_id,
        ours=said.code in OUR_CODES,
        halts=_halts(said.code, None),
    )


def parse_status(body: bytes, asked_at: datetime) -> PayoutResult:
    """What a Transaction Status says of the payout that it was asked about, at that time.

    Its own code says only whether the question was answered; the ids are the payout's.
    """
    said = _result(body)
    named = said.one("TransactionStatus")
    status = named if isinstance(named, str) and named in STATUSES else ""
    if said.code != PAID_CODE:
        status = ""
    verdict = status_verdict_of(said.code, status) if said.is_final else "pending"
    return PayoutResult(
        source="status",
        verdict=verdict,
        code=status or said.code,
        amount_cents=cents_of(said.one("Amount")),
        receipt=receipt_of(said.one("ReceiptNo")),
        msisdn=_customer(said),
        originator_id=code_text(said.one("OriginatorConversationID")) or None,
        conversation_id=code_text(said.one("ConversationID")) or None,
        charge_cents=_charge_cents(said.one("DebitPartyCharges")),
        ours=verdict == "absent",
        halts=_halts(said.code, None),
        asked_at=asked_at,
    )


def parse_balances(body: bytes) -> dict[str, int] | None:
    """What lies on each account of a shortcode, in cents, by its name; None: it does not say.

    Of each account the current amount; Charges Paid stands below zero.
    """
    told = _result(body).one("AccountBalance")
    found = {}
    for line in told.split("&") if isinstance(told, str) else []:
        name, currency, current, *_ = [*line.split("|"), "", "", ""]
        cents = cents_of(current.removeprefix("-"))
        if cents is None or currency != "KES" or not re.fullmatch("[ -~]{1,64}", name):
            return None
        found[name] = -cents if current.startswith("-") else cents
    return found or None


def settle(db: Db, kept: inbox.Item, now: datetime) -> str:
    """Read what was kept and tell core; what came of it, in a word for the inbox's row."""
    if kept.source == "stk":
        return settlements.settle(db, UUID(kept.key), parse_stk(kept.body), now)
    if kept.source in ("result", "timeout"):
        path = reply_paths.by_key(db, kept.key)
        assert path is not None, f"{kept.key} came by no path of ours"
        return _settle_reply(db, kept, path, now)
    if kept.source == insights.SOURCE:
        return sim_checks.answered(db, insights.read_answer(kept.body), now)
    assert kept.source == "c2b", f"nobody reads the inbox's source {kept.source}"
    receipt = parse_confirmation(kept.body, kept.received_at)
    if receipt is None:  # it may be money all the same: a person must read it
        incidents.open(db, "confirmation_unreadable", kept.id, now)
        return UNREADABLE
    return settlements.receive(db, receipt, now)


def settle_plain(db: Db, kept: Sequence[inbox.Item], now: datetime) -> dict[UUID, str]:
    """Of what was kept, the callbacks that simply pay, all at once; what came of each, by its id.

    All others are left as they are, for `settle`.
    """
    by_charge: dict[UUID, inbox.Item] = {}
    for item in kept:
        if item.source == "stk":
            by_charge.setdefault(UUID(item.key), item)
    results = {charge_id: parse_stk(item.body) for charge_id, item in by_charge.items()}
    settled = settlements.settle_plain(db, results, now)
    return {by_charge[charge_id].id: outcome for charge_id, outcome in settled.items()}


def _settle_reply(db: Db, kept: inbox.Item, path: ReplyPath, now: datetime) -> str:
    if kept.source == "timeout":
        match path.kind:
            case "payout" | "reversal":
                return payout_calls.record_timeout(db, path.subject_id, now)
            case "top_up":
                return float_moves.record_timeout(db, path.subject_id, now)
        return "not_answered"  # a question: it is asked again
    match path.kind:
        case "payout":
            return payout_proofs.settle(db, path.subject_id, parse_payout(kept.body), now)
        case "reversal":
            return payout_proofs.settle(db, path.subject_id, parse_reversal(kept.body), now)
        case "payout_query":
            status = parse_status(kept.body, path.opened_at)
            return payout_proofs.settle(db, path.subject_id, status, now)
        case "top_up":
            return float_moves.settle(db, path.subject_id, parse_top_up(kept.body), now)
        case "top_up_query":
            status = parse_status(kept.body, path.opened_at)
            return float_moves.settle(db, path.subject_id, status, now)
    assert path.kind == "balance", f"nobody reads a reply to a {path.kind}"
    why = _halts(_result(kept.body).code, None)
    if why is not None:
        halts.halt(db, why, _result(kept.body).code, now)
    return balances.hear(db, path.subject_id, parse_balances(kept.body), now)


@dataclass(frozen=True)
class _Result:
    """A Result as it came. transaction id and parameters prove nothing unless the code is 0.

    parameters: in their order, since a name may come twice.
    """

    code: str
    is_final: bool
    originator_id: str | None
    conversation_id: str | None
    receipt: str | None
    parameters: Sequence[tuple[str, object]]

    @property
    def verdict(self) -> Literal["paid", "failed", "pending", "unknown"]:
        if not self.is_final:
            return "pending"
        if self.code == PAID_CODE:
            return "paid"
        return failure_of(self.code)

    def all(self, name: str) -> list[object]:
        return [value for key, value in self.parameters if key == name]

    def one(self, name: str) -> object:
        """None: it is not there, or has two values."""
        found = self.all(name)
        return found[0] if found and all(value == found[0] for value in found) else None


def _result(body: bytes) -> _Result:
    """Whatever its form; "unreadable" for what holds no Result.

    Of a failure its transaction id is no receipt, whatever it looks like.
    """
    found = load_object(body).get("Result")
    said: Mapping[str, Any] = found if isinstance(found, dict) else {}
    parameters = said.get("ResultParameters")
    listed = parameters.get("ResultParameter") if isinstance(parameters, dict) else None
    code = code_text(said.get("ResultCode")) or UNREADABLE
    return _Result(
        code=code,
        is_final=code_text(said.get("ResultType")) in ("0", ""),
        originator_id=code_text(said.get("OriginatorConversationID")) or None,
        conversation_id=code_text(said.get("ConversationID")) or None,
        receipt=receipt_of(said.get("TransactionID")) if code == PAID_CODE else None,
        parameters=[
            (code_text(each.get("Key")), each["Value"])
            for each in (listed if isinstance(listed, list) else [listed])
            if isinstance(each, dict) and "Value" in each
        ],
    )


def _halts(code: str, float_is: Literal["float"] | None) -> halts.Halt | None:
    if code in INITIATOR_CODES:
        return "initiator"
    return float_is if code == FLOAT_CODE else None


def _customer(said: _Result) -> str | None:
    """The party that is a person: the sample names both by the same word. None: masked."""
    parties = [*said.all("DebitPartyName"), *said.all("CreditPartyName")]
    people = [msisdn for msisdn in map(_party, parties) if msisdn is not None]
    return people[-1] if people else None


def _party(value: object) -> str | None:
    """The number in "254708374149 - JOHN DOE"; None where there is none, or it is masked."""
    found = re.match(r"([0-9]{12})\b", value) if isinstance(value, str) else None
    return f"+{found[1]}" if found else None


def _charge_cents(value: object) -> int | None:
    """What "Fee For B2C Payment|KES|22.40" names."""
    _, _, amount = value.rpartition("|KES|") if isinstance(value, str) else ("", "", "")
    return cents_of(amount)


def _body() -> bytes:
    request.max_content_length = BODY_BYTES_MAX
    return request.get_data(cache=False)


def _keep(db: Db, source: str, key: str, body: bytes, now: datetime) -> None:
    headers = {
        name: value.replace("\0", "")[:500]
        for name, value in request.headers.items()
        if name.lower() not in ("authorization", "cookie")
    }
    inbox.keep(db, source, key, body, headers, request.remote_addr or "", now)


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _refusal(db: Db, fields: Mapping[str, Any]) -> str | None:
    """M-Pesa's code for a payment we do not want, or None.

    Any sane amount is welcome: too little waits in the buyer's balance for the rest.
    """
    if not charges.is_awaited(db, reference_of(fields.get("BillRefNumber"))):
        return "C2B00012"
    cents = cents_of(fields.get("TransAmount"))
    if cents is None or cents % CENTS or not 1 <= cents // CENTS <= AMOUNT_SHILLINGS_MAX:
        return "C2B00013"
    return None


def _items(callback: Mapping[str, Any]) -> dict[str, Any] | None:
    """The callback's metadata by name; None when one name has two values."""
    metadata = callback.get("CallbackMetadata")
    listed = metadata.get("Item") if isinstance(metadata, dict) else None
    found: dict[str, Any] = {}
    for item in listed if isinstance(listed, list) else [listed]:
        if not isinstance(item, dict) or "Value" not in item:
            continue  # Balance comes without a Value
        name = code_text(item.get("Name"))
        if found.setdefault(name, item["Value"]) != item["Value"]:
            return None
    return found


def _msisdn(value: object) -> str | None:
    """+254…, or None: masked, hashed or missing, so not to be compared."""
    digits = code_text(value)
    return f"+{digits}" if re.fullmatch(r"[0-9]{12}", digits) else None


def _time(value: object) -> datetime | None:
    """YYYYMMDDHHmmss, East Africa Time."""
    try:
        found = datetime.strptime(code_text(value), "%Y%m%d%H%M%S")  # noqa: DTZ007 - said below
    except ValueError:
        return None
    return found.replace(tzinfo=EAST_AFRICA_TIME) if found.year in YEARS else None
