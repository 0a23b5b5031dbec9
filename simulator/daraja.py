"""M-Pesa's HTTP door: Daraja's paths, checks and answers. Source: daraja.md, sections 1 to 6.

Each call is a function from a checked body to an answer; what is wrong with a request is raised as
`Refused` and becomes Daraja's error envelope in one place.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from simulator import callbacks
from simulator.books import Movement, Shortcode
from simulator.c2b import AlreadyRegistered, NoSuchShortcode, Urls
from simulator.clock import EAST_AFRICA
from simulator.mpesa import Kind, PushRequest, SubscriberLocked
from simulator.world import World

KINDS = ("CustomerPayBillOnline", "CustomerBuyGoodsOnline")
AMOUNT_MAX = 250_000  # shillings
REFERENCE_LETTERS_MAX = 12
DESCRIPTION_LETTERS_MAX = 13
PULL_HOURS = 48
# M-Pesa refuses callback URLs with these words in them, in any case.
FORBIDDEN_WORDS = ("mpesa", "m-pesa", "safaricom", "exe", "exec", "cmd", "sql", "query")

Body = dict[str, Any]
Answer = dict[str, Any]


class Refused(Exception):
    """The gateway turns a request away: HTTP status, errorCode, errorMessage."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


# Each family of calls refuses a token by its own status and code.
NO_TOKEN = {"stk": (404, "404.001.03"), "c2b": (400, "400.003.01")}


def blueprint(world: World) -> Blueprint:
    """Daraja's paths over that world."""
    door = Blueprint("daraja", __name__)

    @door.get("/oauth/v1/generate")
    def generate() -> Response:
        return _answered(lambda: _generate(world))

    @door.post("/mpesa/stkpush/v1/processrequest")
    def push() -> Response:
        return _answered(lambda: _push(world, _body(world, "stk")))

    @door.post("/mpesa/stkpushquery/v1/query")
    def query() -> Response:
        return _answered(lambda: _query(world, _body(world, "stk")))

    @door.post("/mpesa/c2b/v<int(min=1, max=2):version>/registerurl")
    def register(version: int) -> Response:
        return _answered(lambda: _register(world, _body(world, "c2b"), version))

    @door.post("/mpesa/c2b/v<int(min=1, max=2):version>/simulate")
    def simulate(version: int) -> Response:
        del version  # the two differ in what the business is sent, not here
        return _answered(lambda: _simulate(world, _body(world, "c2b")))

    @door.post("/pulltransactions/v1/register")
    def pull_register() -> Response:
        return _answered(lambda: _pull_register(world, _body(world, "c2b")))

    @door.get("/pulltransactions/v1/query")
    def pull_query() -> Response:
        return _answered(lambda: _pull_query(world, _body(world, "c2b")))

    return door


def is_ours(path: str) -> bool:
    """Whether a path is M-Pesa's, so that even a wrong one is refused in its form."""
    return path.startswith(("/oauth/", "/mpesa/", "/pulltransactions/"))


def refusal(refused: Refused) -> Response:
    """Daraja's error envelope."""
    answer = jsonify(requestId=_request_id(), errorCode=refused.code, errorMessage=refused.message)
    answer.status_code = refused.status
    return answer


NOT_FOUND = Refused(404, "404.001.01", "Resource not found")
NOT_ALLOWED = Refused(405, "405.001", "Method Not Allowed")


def _answered(act: Callable[[], Answer | Response]) -> Response:
    try:
        answer = act()
    except Refused as refused:
        return refusal(refused)
    return answer if isinstance(answer, Response) else jsonify(answer)


# --- token ----------------------------------------------------------------------------------


def _generate(world: World) -> Answer | Response:
    basic = request.authorization
    if basic is None or basic.type != "basic":
        raise Refused(400, "400.008.01", "Invalid Authentication passed")
    if request.args.get("grant_type") != "client_credentials":
        raise Refused(400, "400.008.02", "Invalid grant type passed")
    place = world.place
    given, right = (basic.username, basic.password), (place.consumer_key, place.consumer_secret)
    if given != right:
        return Response(status=400)  # live gateways answer foreign keys with an empty body
    with world.journal.change():
        lifetime = world.rulebook.rules.token_seconds
        token = world.tokens.mint(world.clock.now(), lifetime)
    return {"access_token": token, "expires_in": str(int(lifetime) - 1)}


def _body(world: World, family: str) -> Body:
    """The request's JSON object, once the token is accepted. Raises Refused."""
    bearer = request.authorization
    if bearer is None or bearer.type != "bearer" or not bearer.token:
        raise Refused(404, "404.001.04", "Invalid Authentication Header")
    if not world.tokens.opens(bearer.token, world.clock.now()):
        raise Refused(*NO_TOKEN[family], "Invalid Access Token")
    if request.mimetype != "application/json":
        return {}  # without the content type every field reads as missing
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise Refused(400, "400.002.05", "Invalid Request Payload")
    return body


# --- STK push and query ---------------------------------------------------------------------


def _push(world: World, body: Body) -> Answer:
    shortcode = _field(body, "BusinessShortCode", r"[0-9]{5,7}")
    password = _field(body, "Password", r".+")
    timestamp = _field(body, "Timestamp", r"[0-9]{14}")
    _moment(timestamp, "%Y%m%d%H%M%S", "Timestamp")
    kind = cast(Kind, _field(body, "TransactionType", "|".join(KINDS)))
    amount = _amount(body)
    _field(body, "PartyA", r"254[17][0-9]{8}")
    party_b = _field(body, "PartyB", r"[0-9]{5,7}")
    phone = _field(body, "PhoneNumber", r"254[17][0-9]{8}")
    url = _field(body, "CallBackURL", r".+")
    _check_url(url, "CallBackURL", _invalid)
    reference = _field(body, "AccountReference", rf".{{1,{REFERENCE_LETTERS_MAX}}}")
    description = _field(
        body, "TransactionDesc", rf".{{1,{DESCRIPTION_LETTERS_MAX}}}", called="Remarks"
    )
    _merchant(world, shortcode, password, timestamp)
    wish = PushRequest(
        shortcode, kind, amount * 100, "+" + phone, party_b, url, reference, description
    )
    try:
        push = world.mpesa.push(wish)
    except SubscriberLocked:
        raise Refused(
            500,
            "500.001.1001",
            "Unable to lock subscriber, a transaction is already in process for the current "
            "subscriber",
        ) from None
    accepted = "Success. Request accepted for processing"
    return {
        "MerchantRequestID": push.merchant_id,
        "CheckoutRequestID": push.checkout_id,
        "ResponseCode": "0",
        "ResponseDescription": accepted,
        "CustomerMessage": accepted,
    }


def _query(world: World, body: Body) -> Answer:
    shortcode = _field(body, "BusinessShortCode", r"[0-9]{5,7}")
    password = _field(body, "Password", r".+")
    timestamp = _field(body, "Timestamp", r"[0-9]{14}")
    _moment(timestamp, "%Y%m%d%H%M%S", "Timestamp")
    checkout_id = _field(body, "CheckoutRequestID", r".+")
    _merchant(world, shortcode, password, timestamp)
    push = world.mpesa.find(checkout_id)
    if push is None or push.request.shortcode != shortcode:
        raise _invalid("CheckoutRequestID")
    if push.result is not None:
        code, description = push.result, callbacks.describe(push.result)
    elif world.rulebook.rules.pending_form == "4999":
        code, description = "4999", "The transaction is still under processing"
    else:
        raise Refused(500, "500.001.1001", "The transaction is being processed")
    return {
        "ResponseCode": "0",
        "ResponseDescription": "The service request has been accepted successfully",
        "MerchantRequestID": push.merchant_id,
        "CheckoutRequestID": push.checkout_id,
        "ResultCode": code,
        "ResultDesc": description,
    }


def _merchant(world: World, shortcode: str, password: str, timestamp: str) -> Shortcode:
    """The shortcode, if it exists and the password is its own. Raises Refused."""
    merchant = world.books.shortcodes.get(shortcode)
    if merchant is None:
        raise Refused(500, "500.001.1001", "Merchant does not exist")
    right = base64.b64encode(f"{shortcode}{merchant.passkey}{timestamp}".encode())
    try:
        same = secrets.compare_digest(base64.b64decode(password), base64.b64decode(right))
    except (binascii.Error, ValueError):
        same = False
    if not same:
        raise Refused(500, "500.001.1001", "Wrong credentials")
    return merchant


# --- C2B and pull ---------------------------------------------------------------------------


def _register(world: World, body: Body, version: int) -> Answer:
    urls = Urls(
        _known_shortcode(world, body),
        version,
        cast(Any, _field(body, "ResponseType", "Completed|Cancelled", family="400.003.02")),
        _field(body, "ConfirmationURL", r".+", family="400.003.02"),
        _field(body, "ValidationURL", r".+", family="400.003.02"),
    )
    _check_url(urls.confirmation_url, "ConfirmationURL", _invalid_c2b)
    _check_url(urls.validation_url, "ValidationURL", _invalid_c2b)
    try:
        world.c2b.register(urls)
    except AlreadyRegistered:
        raise Refused(500, "500.003.1001", "Urls are already registered") from None
    return _c2b_accepted("Success")


def _simulate(world: World, body: Body) -> Answer:
    shortcode = _field(body, "ShortCode", r"[0-9]{5,7}", family="400.003.02")
    _field(body, "CommandID", "|".join(KINDS), family="400.003.02")
    amount = _amount(body, family="400.003.02")
    payer = "+" + _field(body, "Msisdn", r"254[17][0-9]{8}", family="400.003.02")
    reference = body.get("BillRefNumber")
    try:
        world.c2b.pay_later(
            payer, shortcode, "" if reference is None else str(reference), amount * 100
        )
    except NoSuchShortcode:
        raise _invalid_c2b("ShortCode") from None
    return _c2b_accepted("Accept the service request successfully.")


def _pull_register(world: World, body: Body) -> Answer:
    shortcode = _known_shortcode(world, body)
    _field(body, "RequestType", "Pull", family="400.003.02")
    _field(body, "NominatedNumber", r"(254|0)?[17][0-9]{8}", family="400.003.02")
    _check_url(_field(body, "CallBackURL", r".+", family="400.003.02"), "CallBackURL", _invalid_c2b)
    is_new = world.c2b.start_pulling(shortcode)
    return {
        "ResponseRefID": _request_id(),
        "ResponseStatus": "1000" if is_new else "1001",
        "ShortCode": shortcode,
        "ResponseDescription": "Success" if is_new else "ShortCode already registered",
    }


def _pull_query(world: World, body: Body) -> Answer:
    shortcode = _known_shortcode(world, body)
    form = "%Y-%m-%d %H:%M:%S"
    since = _moment(_field(body, "StartDate", r".+", family="400.003.02"), form, "StartDate")
    until = _moment(_field(body, "EndDate", r".+", family="400.003.02"), form, "EndDate")
    offset = int(_field(body, "OffSetValue", r"[0-9]{1,9}", family="400.003.02"))
    if not world.c2b.may_pull(shortcode):
        raise Refused(400, "400.003.02", "Bad Request - ShortCode is not registered")
    oldest = world.clock.now() - timedelta(hours=PULL_HOURS)
    found = world.c2b.received(shortcode, max(since, oldest), until)[offset:]
    business = world.books.shortcodes[shortcode].business
    return {
        "ResponseRefID": _request_id(),
        "ResponseCode": "1000" if found else "1001",
        "ResponseMessage": "Success" if found else "No transactions found",
        "Response": [[_row(paid, business) for paid in found]],
    }


def _row(paid: Movement, business: str) -> Answer:
    return {
        "transactionId": paid.receipt,
        "trxDate": paid.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "msisdn": int(paid.source.removeprefix("+254")),
        "sender": "",
        "transactiontype": "c2b-pay-bill-debit",
        "billreference": paid.reference,
        "amount": callbacks.money(paid.amount_cents),
        "organizationname": business,
    }


def _c2b_accepted(description: str) -> Answer:
    return {
        "OriginatorCoversationID": _request_id(),  # the gateway's own spelling
        "ResponseCode": "0",
        "ResponseDescription": description,
    }


# --- fields ---------------------------------------------------------------------------------


def _field(
    body: Body, name: str, pattern: str, *, called: str = "", family: str = "400.002.02"
) -> str:
    """A field as text, a whole number or a string. Raises Refused where it does not fit.

    called: the name the refusal uses; family: its errorCode.
    """
    value = body.get(name)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if re.fullmatch(pattern, text) is None:
        raise Refused(400, family, f"Bad Request - Invalid {called or name}")
    return text


def _amount(body: Body, family: str = "400.002.02") -> int:
    """Whole shillings, 1 to 250,000."""
    shillings = int(_field(body, "Amount", r"[0-9]{1,6}", family=family))
    if not 1 <= shillings <= AMOUNT_MAX:
        raise Refused(400, family, "Bad Request - Invalid Amount")
    return shillings


def _moment(text: str, form: str, name: str) -> datetime:
    """A stamp in East Africa Time. Raises Refused for one that no calendar has."""
    try:
        return datetime.strptime(text, form).replace(tzinfo=EAST_AFRICA)
    except ValueError:
        raise _invalid(name) from None


def _known_shortcode(world: World, body: Body) -> str:
    shortcode = _field(body, "ShortCode", r"[0-9]{5,7}", family="400.003.02")
    if shortcode not in world.books.shortcodes:
        raise _invalid_c2b("ShortCode")
    return shortcode


def _check_url(url: str, name: str, refused: Callable[[str], Refused]) -> None:
    """M-Pesa takes public HTTPS URLs without certain words. This double lives beside the system
    under test, so plain HTTP is taken too where nothing public can be meant: on the same machine,
    or a host whose name has no dot. Raises Refused."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise refused(name) from None
    is_near = host in ("127.0.0.1", "::1") or (host != "" and "." not in host)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_near):
        raise refused(name)
    said = (host + parts.path).lower()
    if not host or any(word in said for word in FORBIDDEN_WORDS):
        raise refused(name)


def _invalid(name: str) -> Refused:
    return Refused(400, "400.002.02", f"Bad Request - Invalid {name}")


def _invalid_c2b(name: str) -> Refused:
    return Refused(400, "400.003.02", f"Bad Request - Invalid {name}")


def _request_id() -> str:
    return "-".join(secrets.token_hex(count) for count in (2, 2, 2, 9))
