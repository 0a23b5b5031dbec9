"""What M-Pesa tells us: kept as it came and answered at once, read and settled afterwards."""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from core import charges, inbox, incidents
from core.charges import ChargeResult, Receipt
from core.database import Database, Db
from core.days import EAST_AFRICA_TIME
from core.errors import Unavailable
from core.money import CENTS
from payments.daraja import (
    AMOUNT_SHILLINGS_MAX,
    PAID_CODE,
    code_text,
    load_json,
    verdict_of,
)

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 64 * 1024  # M-Pesa's own stay below 2 kB; larger ones are not from there: 413
SECONDS_MAX = 3.0  # M-Pesa waits about 5 s for an answer, 8 s in validation
AMOUNT_CENTS_MAX = 10**12  # far beyond any limit of M-Pesa: more is nonsense, not money

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

    @routes.post("/c2b/<secret>/validation")
    def validation(secret: str) -> Response | tuple[str, int]:
        if not _same(secret, c2b_secret):
            return "", 404
        fields = load_json(_body())
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
            receipt = _receipt_text(load_json(body).get("TransID"))
            _keep(db, "c2b", receipt or UNREADABLE, body, database.clock())
        return jsonify({"ResultCode": 0, "ResultDesc": "Success"})

    return routes


def parse_stk(body: bytes) -> ChargeResult:
    """What an STK callback says, whatever its form; a body without a result is "unknown".

    A success that contradicts itself is "unknown" too; one that leaves out what it should name
    has None there, and core asks before it believes.
    """
    envelope = load_json(body).get("Body")
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
        amount_cents=_cents(items.get("Amount")),
        receipt=_receipt_text(items.get("MpesaReceiptNumber")),
        msisdn=_msisdn(items.get("PhoneNumber")),
        push_id=code_text(callback.get("CheckoutRequestID")) or None,
        push_group_id=code_text(callback.get("MerchantRequestID")) or None,
    )


def parse_confirmation(body: bytes, received_at: datetime) -> Receipt | None:
    """The payment a C2B confirmation names; None: it names no receipt or no amount.

    received_at: stands in where TransTime is missing or nonsense.
    """
    fields = load_json(body)
    receipt, cents = _receipt_text(fields.get("TransID")), _cents(fields.get("TransAmount"))
    if receipt is None or not cents:
        return None
    return Receipt(
        source="c2b",
        receipt=receipt,
        amount_cents=cents,
        reference=_reference(fields),
        at=_time(fields.get("TransTime")) or received_at,
    )


def settle(db: Db, kept: inbox.Item, now: datetime) -> str:
    """Read what was kept and tell core; what came of it, in a word for the inbox's row."""
    if kept.source == "stk":
        return charges.settle(db, UUID(kept.key), parse_stk(kept.body), now)
    assert kept.source == "c2b", f"nobody reads the inbox's source {kept.source}"
    receipt = parse_confirmation(kept.body, kept.received_at)
    if receipt is None:  # it may be money all the same: a person must read it
        incidents.open(db, "confirmation_unreadable", kept.id, now)
        return UNREADABLE
    return charges.receive(db, receipt, now)


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
    charge = charges.by_reference(db, _reference(fields))
    if charge is None or charge.state in ("paid", "reversed"):
        return "C2B00012"
    cents = _cents(fields.get("TransAmount"))
    if cents is None or cents % CENTS or not 1 <= cents // CENTS <= AMOUNT_SHILLINGS_MAX:
        return "C2B00013"
    return None


def _reference(fields: Mapping[str, Any]) -> str:
    """The account as the payer typed it, without the blanks and dashes people add."""
    return re.sub(r"[\W_]", "", str(fields.get("BillRefNumber") or "")[:64])


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


def _cents(value: object) -> int | None:
    """An amount in shillings, a number or text, as cents; None for what is no sane amount."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,6})?", value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if not 0 <= value <= AMOUNT_CENTS_MAX // CENTS:  # before arithmetic: 1E999999 is a number too
        return None
    cents = Fraction(value) * CENTS if Decimal(value).adjusted() > -12 else None
    return int(cents) if cents is not None and cents.denominator == 1 else None


def _receipt_text(value: object) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text if re.fullmatch(r"[A-Z0-9]{6,20}", text) else None


def _msisdn(value: object) -> str | None:
    """+254…, or None: masked, hashed or missing, so not to be compared."""
    digits = code_text(value)
    return f"+{digits}" if re.fullmatch(r"[0-9]{12}", digits) else None


def _time(value: object) -> datetime | None:
    """YYYYMMDDHHmmss, East Africa Time."""
    try:
        return datetime.strptime(code_text(value), "%Y%m%d%H%M%S").replace(tzinfo=EAST_AFRICA_TIME)
    except ValueError:
        return None
