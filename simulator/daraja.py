"""M-Pesa's door for money that comes in: tokens, pushes, C2B and pull.

Each call is a function from a checked body to an answer. Source: daraja.md, sections 2 to 6.
"""

import base64
import binascii
import secrets
from datetime import UTC, timedelta
from typing import Any, cast

from flask import Blueprint, Response, request

from simulator import callbacks, gateway
from simulator.books import Movement, account
from simulator.c2b import AlreadyRegistered, NoSuchShortcode, Urls
from simulator.gateway import BAD_REQUEST_C2B, Answer, Body, Refused, field
from simulator.mpesa import Kind, PushRequest, SubscriberLocked
from simulator.statement import disturbed
from simulator.world import World

KINDS = ("CustomerPayBillOnline", "CustomerBuyGoodsOnline")
AMOUNT_MAX = 250_000  # shillings
REFERENCE_LETTERS_MAX = 12
DESCRIPTION_LETTERS_MAX = 13
PULL_HOURS = 48


def blueprint(world: World) -> Blueprint:
    """Daraja's paths over that world."""
    door = Blueprint("daraja", __name__)

    @door.get("/oauth/v1/generate")
    def generate() -> Response:
        return gateway.answered(lambda: _generate(world))

    @door.post("/mpesa/stkpush/v1/processrequest")
    def push() -> Response:
        return gateway.answered(lambda: _push(world, gateway.read_body(world, "stk")))

    @door.post("/mpesa/stkpushquery/v1/query")
    def query() -> Response:
        return gateway.answered(lambda: _query(world, gateway.read_body(world, "stk")))

    @door.post("/mpesa/c2b/v<int(min=1, max=2):version>/registerurl")
    def register(version: int) -> Response:
        return gateway.answered(lambda: _register(world, gateway.read_body(world, "c2b"), version))

    @door.post("/mpesa/c2b/v<int(min=1, max=2):version>/simulate")
    def simulate(version: int) -> Response:
        del version  # the two differ in what the business is sent, not here
        return gateway.answered(lambda: _simulate(world, gateway.read_body(world, "c2b")))

    @door.post("/pulltransactions/v1/register")
    def pull_register() -> Response:
        return gateway.answered(lambda: _pull_register(world, gateway.read_body(world, "c2b")))

    @door.get("/pulltransactions/v1/query")
    def pull_query() -> Response:
        return gateway.answered(lambda: _pull_query(world, gateway.read_body(world, "c2b")))

    return door


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


# --- STK push and query ---------------------------------------------------------------------


def _push(world: World, body: Body) -> Answer:
    shortcode = field(body, "BusinessShortCode", r"[0-9]{5,7}")
    password = field(body, "Password", r".+")
    timestamp = field(body, "Timestamp", r"[0-9]{14}")
    gateway.moment(timestamp, "%Y%m%d%H%M%S", "Timestamp")
    kind = cast(Kind, field(body, "TransactionType", "|".join(KINDS)))
    amount = _amount(body)
    field(body, "PartyA", r"254[17][0-9]{8}")
    party_b = field(body, "PartyB", r"[0-9]{5,7}")
    phone = field(body, "PhoneNumber", r"254[17][0-9]{8}")
    url = gateway.url(body, "CallBackURL")
    reference = field(body, "AccountReference", rf".{{1,{REFERENCE_LETTERS_MAX}}}")
    description = field(
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
    shortcode = field(body, "BusinessShortCode", r"[0-9]{5,7}")
    password = field(body, "Password", r".+")
    timestamp = field(body, "Timestamp", r"[0-9]{14}")
    gateway.moment(timestamp, "%Y%m%d%H%M%S", "Timestamp")
    checkout_id = field(body, "CheckoutRequestID", r".+")
    _merchant(world, shortcode, password, timestamp)
    push = world.mpesa.find(checkout_id)
    if push is None or push.request.shortcode != shortcode:
        raise gateway.invalid("CheckoutRequestID")
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


def _merchant(world: World, shortcode: str, password: str, timestamp: str) -> None:
    """Make sure that the shortcode takes payments and the password is its own. Raises Refused."""
    merchant = world.books.shortcodes.get(shortcode)
    if merchant is None or merchant.passkey is None:
        raise Refused(500, "500.001.1001", "Merchant does not exist")
    right = base64.b64encode(f"{shortcode}{merchant.passkey}{timestamp}".encode())
    try:
        same = secrets.compare_digest(base64.b64decode(password), base64.b64decode(right))
    except (binascii.Error, ValueError):
        same = False
    if not same:
        raise Refused(500, "500.001.1001", "Wrong credentials")


# --- C2B and pull ---------------------------------------------------------------------------


def _register(world: World, body: Body, version: int) -> Answer:
    urls = Urls(
        _known_shortcode(world, body),
        version,
        cast(Any, field(body, "ResponseType", "Completed|Cancelled", code=BAD_REQUEST_C2B)),
        gateway.url(body, "ConfirmationURL", BAD_REQUEST_C2B),
        gateway.url(body, "ValidationURL", BAD_REQUEST_C2B),
    )
    try:
        world.c2b.register(urls)
    except AlreadyRegistered:
        raise Refused(500, "500.003.1001", "Urls are already registered") from None
    return _c2b_accepted("Success")


def _simulate(world: World, body: Body) -> Answer:
    shortcode = field(body, "ShortCode", r"[0-9]{5,7}", code=BAD_REQUEST_C2B)
    field(body, "CommandID", "|".join(KINDS), code=BAD_REQUEST_C2B)
    amount = _amount(body, code=BAD_REQUEST_C2B)
    payer = "+" + field(body, "Msisdn", r"254[17][0-9]{8}", code=BAD_REQUEST_C2B)
    reference = body.get("BillRefNumber")
    try:
        world.c2b.pay_later(
            payer, shortcode, "" if reference is None else str(reference), amount * 100
        )
    except NoSuchShortcode:
        raise gateway.invalid("ShortCode", BAD_REQUEST_C2B) from None
    return _c2b_accepted("Accept the service request successfully.")


def _pull_register(world: World, body: Body) -> Answer:
    shortcode = _known_shortcode(world, body)
    field(body, "RequestType", "Pull", code=BAD_REQUEST_C2B)
    field(body, "NominatedNumber", r"(254|0)?[17][0-9]{8}", code=BAD_REQUEST_C2B)
    gateway.url(body, "CallBackURL", BAD_REQUEST_C2B)
    is_new = world.c2b.start_pulling(shortcode)
    return {
        "ResponseRefID": gateway.request_id(),
        "ResponseStatus": "1000" if is_new else "1001",
        "ShortCode": shortcode,
        "ResponseDescription": "Success" if is_new else "ShortCode already registered",
    }


def _pull_query(world: World, body: Body) -> Answer:
    shortcode = _known_shortcode(world, body)
    form = "%Y-%m-%d %H:%M:%S"
    since = gateway.moment(field(body, "StartDate", r".+", code=BAD_REQUEST_C2B), form, "StartDate")
    until = gateway.moment(field(body, "EndDate", r".+", code=BAD_REQUEST_C2B), form, "EndDate")
    offset = int(field(body, "OffSetValue", r"[0-9]{1,9}", code=BAD_REQUEST_C2B))
    if not world.c2b.may_pull(shortcode):
        raise Refused(400, "400.003.02", "Bad Request - ShortCode is not registered")
    now = world.clock.now()
    true = world.c2b.received(shortcode, max(since, now - timedelta(hours=PULL_HOURS)), until)
    lies = [each for each in world.rulebook.rules.statement_differences if each.where == "pull"]
    said = disturbed(true, lies, account(shortcode, "Utility"), now)
    found = [each.moved for each in said[offset:]]
    business = world.books.shortcodes[shortcode].business
    return {
        "ResponseRefID": gateway.request_id(),
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
        "OriginatorCoversationID": gateway.request_id(),  # the gateway's own spelling
        "ResponseCode": "0",
        "ResponseDescription": description,
    }


# --- fields ---------------------------------------------------------------------------------


def _amount(body: Body, code: str = gateway.BAD_REQUEST) -> int:
    """Whole shillings, 1 to 250,000."""
    shillings = int(field(body, "Amount", r"[0-9]{1,6}", code=code))
    if not 1 <= shillings <= AMOUNT_MAX:
        raise gateway.invalid("Amount", code)
    return shillings


def _known_shortcode(world: World, body: Body) -> str:
    shortcode = field(body, "ShortCode", r"[0-9]{5,7}", code=BAD_REQUEST_C2B)
    if not world.books.is_paybill(shortcode):
        raise gateway.invalid("ShortCode", BAD_REQUEST_C2B)
    return shortcode
