"""M-Pesa's door for operators: payouts, status, reversals, balances and top-ups.

Each call is a function from a checked body to an answer. Source: daraja.md, sections 7 to 10.
"""

from collections.abc import Callable

from flask import Blueprint, Response, request

from simulator import gateway
from simulator.gateway import BAD_REQUEST_C2B, Answer, Body, Refused, field
from simulator.operations import DuplicateId, Request
from simulator.world import World

COMMANDS = "BusinessPayment|SalaryPayment|PromotionPayment"
SHORTCODE, PHONE, AMOUNT = r"[0-9]{5,7}", r"254[17][0-9]{8}", r"0*[1-9][0-9]{0,8}"
ID, REMARKS = r"[!-~]{1,100}", r".{2,100}"

Read = Callable[[Body], Request]


def blueprint(world: World) -> Blueprint:
    """The paths over that world."""
    door = Blueprint("daraja_operations", __name__)

    def serve(path: str, family: gateway.Family, read: Read, initiator: str = "Initiator") -> None:
        def answer() -> Response:
            return gateway.answered(
                lambda: _accept(world, gateway.read_body(world, family), read, initiator)
            )

        door.add_url_rule(path, endpoint=read.__name__, view_func=answer, methods=["POST"])

    # Version 1 makes ids of its own, so that a repeat pays twice: it is not offered.
    serve("/mpesa/b2c/v3/paymentrequest", "b2c", _payout, "InitiatorName")
    serve("/mpesa/transactionstatus/v1/query", "c2b", _status)
    serve("/mpesa/reversal/v1/request", "stk", _reversal)
    serve("/mpesa/accountbalance/v1/query", "b2c", _balance)
    serve("/mpesa/b2b/v1/paymentrequest", "b2c", _top_up)
    return door


def _accept(world: World, body: Body, read: Read, initiator: str) -> Answer:
    """Check, accept, acknowledge. A wrong initiator is accepted too: the Result says so."""
    asked = read(body)
    refusal = world.initiator.refusal(
        field(body, initiator, r".+"), field(body, "SecurityCredential", r".+")
    )
    try:
        operation = world.operations.accept(asked, refusal)
    except DuplicateId:
        raise Refused(500, "500.002.1001", "Duplicate OriginatorConversationID.") from None
    return {
        "ConversationID": operation.conversation_id,
        "OriginatorConversationID": operation.originator_id,
        "ResponseCode": "0",
        "ResponseDescription": "Accept the service request successfully.",
    }


def _payout(body: Body) -> Request:
    """B2C: the least and the most are M-Pesa's to judge, and come as results 2 and 3."""
    originator_id = field(body, "OriginatorConversationID", ID)
    field(body, "CommandID", COMMANDS)
    if "Occassion" in body:
        field(body, "Occassion", r".{0,100}")
    return Request(
        "b2c",
        field(body, "PartyA", SHORTCODE),
        gateway.url(body, "ResultURL"),
        gateway.url(body, "QueueTimeOutURL"),
        amount_cents=int(field(body, "Amount", AMOUNT)) * 100,
        party="+" + field(body, "PartyB", PHONE),
        originator_id=originator_id,
        remarks=field(body, "Remarks", REMARKS),
        body=request.get_data(),
    )


def _status(body: Body) -> Request:
    code = BAD_REQUEST_C2B
    field(body, "CommandID", "TransactionStatusQuery", code=code)
    field(body, "IdentifierType", "4", code=code)
    # Older texts name the second one OriginatorConversationID.
    names = ("OriginalConversationID", "OriginatorConversationID")
    asked_id = next((field(body, name, ID, code=code) for name in names if body.get(name)), "")
    by_id = asked_id and not body.get("TransactionID")
    return Request(
        "status",
        field(body, "PartyA", SHORTCODE, code=code),
        gateway.url(body, "ResultURL", code),
        gateway.url(body, "QueueTimeOutURL", code),
        receipt="" if by_id else field(body, "TransactionID", r"[A-Z0-9]{1,20}", code=code),
        asked_id=asked_id if by_id else "",
        remarks=field(body, "Remarks", REMARKS, code=code),
        body=request.get_data(),
    )


def _reversal(body: Body) -> Request:
    field(body, "CommandID", "TransactionReversal")
    field(body, "RecieverIdentifierType", "11")  # the gateway's own spelling
    return Request(
        "reversal",
        field(body, "ReceiverParty", SHORTCODE),
        gateway.url(body, "ResultURL"),
        gateway.url(body, "QueueTimeOutURL"),
        amount_cents=int(field(body, "Amount", AMOUNT)) * 100,
        receipt=field(body, "TransactionID", r"[A-Z0-9]{1,20}"),
        remarks=field(body, "Remarks", REMARKS),
        body=request.get_data(),
    )


def _balance(body: Body) -> Request:
    field(body, "CommandID", "AccountBalance")
    field(body, "IdentifierType", "4")
    return Request(
        "balance",
        field(body, "PartyA", SHORTCODE),
        gateway.url(body, "ResultURL"),
        gateway.url(body, "QueueTimeOutURL"),
        remarks=field(body, "Remarks", REMARKS),
        body=request.get_data(),
    )


def _top_up(body: Body) -> Request:
    field(body, "CommandID", "BusinessPayToBulk")
    field(body, "SenderIdentifierType", "4")
    field(body, "RecieverIdentifierType", "4")
    field(body, "AccountReference", r".{1,13}")
    return Request(
        "topup",
        field(body, "PartyA", SHORTCODE),
        gateway.url(body, "ResultURL"),
        gateway.url(body, "QueueTimeOutURL"),
        amount_cents=int(field(body, "Amount", AMOUNT)) * 100,
        party=field(body, "PartyB", SHORTCODE),
        remarks=field(body, "Remarks", REMARKS),
        body=request.get_data(),
    )
