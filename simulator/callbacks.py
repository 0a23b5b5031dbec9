"""The bodies M-Pesa posts to a business: the outcome of a push, and a payment that came in."""

import hashlib
import json
from datetime import datetime
from typing import Any

from simulator import msisdn as numbers
from simulator.books import Movement, Subscriber
from simulator.clock import EAST_AFRICA
from simulator.rules import Rules

# json writes 5.00 as 5.0; the real callback has two decimals, so they are put in afterwards.
_AMOUNT_MARK = "@amount@"

DESCRIPTIONS: dict[str, str] = {
    "0": "The service request is processed successfully.",
    "1": "The balance is insufficient for the transaction.",
    "2": "The amount is less than the minimum transaction value.",
    "3": "The amount is more than the maximum transaction value.",
    "4": "The amount would exceed the daily transfer limit.",
    "8": "The amount would exceed the receiver's balance limit.",
    "17": "Rule limited.",
    "26": "System busy. Traffic blocking condition in place.",
    "1001": "Unable to lock subscriber, a transaction is already in process for the current "
    "subscriber",
    "1019": "Transaction has expired",
    "1025": "An error occurred while sending a push request",
    "1031": "Request cancelled by user",
    "1032": "Request cancelled by user",
    "1037": "DS timeout user cannot be reached",
    "2001": "The initiator information is invalid.",
    "2026": "The channel session ID has expired.",
    "2028": "The request is not permitted according to product assignment.",
    "8006": "The security credential is locked.",
    "9999": "An error occurred while sending a push request",
}


def describe(code: str) -> str:
    """M-Pesa's words for a result code."""
    return DESCRIPTIONS.get(code, "The service request could not be processed.")


def stamp(at: datetime) -> str:
    """YYYYMMDDHHmmss in East Africa Time."""
    return at.astimezone(EAST_AFRICA).strftime("%Y%m%d%H%M%S")


def stk(
    *,
    merchant_id: str,
    checkout_id: str,
    code: str,
    amount_cents: int,
    receipt: str,
    balance_cents: int,
    msisdn: str,
    at: datetime,
    rules: Rules,
) -> tuple[bytes, str]:
    """The callback of a push: body and content type. Source: Daraja, STK callback.

    receipt, amount and the rest are said only where code is "0".
    """
    if rules.body_form == "html":
        return b"<html><body><h1>504 Gateway Time-out</h1></body></html>", "text/html"
    if rules.body_form == "empty":
        return b"", "application/json"
    if rules.body_form == "not_json":
        return b'{"Body":{"stkCallback":', "application/json"
    outcome: dict[str, Any] = {
        "MerchantRequestID": merchant_id,
        "CheckoutRequestID": checkout_id,
        "ResultCode": int(code) if code.isdigit() and rules.code_form == "number" else code,
        "ResultDesc": describe(code),
    }
    if rules.claimed_amount is not None:
        amount_cents = rules.claimed_amount * 100
    shillings = f"{amount_cents // 100}"
    amount = shillings if rules.amount_form == "integer" else shillings + ".00"
    if code == "0":
        outcome["CallbackMetadata"] = {
            "Item": [
                {"Name": "Amount", "Value": _AMOUNT_MARK},
                {"Name": "MpesaReceiptNumber", "Value": receipt},
                *_balance_item(balance_cents, rules.balance_form),
                {"Name": "TransactionDate", "Value": int(stamp(at))},
                *_phone_item(rules.claimed_phone or msisdn, rules.phone_form),
            ]
        }
    text = json.dumps({"Body": {"stkCallback": outcome}}, separators=(",", ":"))
    return text.replace(f'"{_AMOUNT_MARK}"', amount).encode(), "application/json"


def c2b(
    payment: Movement,
    payer: Subscriber,
    *,
    shortcode: str,
    version: int,
    is_till: bool,
    balance_cents: int | None,
) -> bytes:
    """Validation (balance_cents None: not moved yet) and confirmation. All values are strings.

    version: 1 sends a hash of the payer's number, 2 the number masked.
    """
    digits = payer.msisdn.removeprefix("+")
    body = {
        "TransactionType": "Buy Goods" if is_till else "Pay Bill",
        "TransID": payment.receipt,
        "TransTime": stamp(payment.at),
        "TransAmount": money(payment.amount_cents),
        "BusinessShortCode": shortcode,
        "BillRefNumber": payment.reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": "" if balance_cents is None else money(balance_cents),
        "ThirdPartyTransID": "",
        "MSISDN": _hash(digits) if version == 1 else numbers.masked(payer.msisdn),
        "FirstName": payer.first_name,
        "MiddleName": "",
        "LastName": "",
    }
    return json.dumps(body, separators=(",", ":")).encode()


def money(cents: int) -> str:
    """ "5.00"; a debt is "-5.00"."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"


def _balance_item(balance_cents: int, form: str) -> list[dict[str, Any]]:
    if form == "absent":
        return []
    return [
        {"Name": "Balance", "Value": balance_cents / 100}
        if form == "value"
        else {"Name": "Balance"}
    ]


def _phone_item(msisdn: str, form: str) -> list[dict[str, Any]]:
    digits = msisdn.removeprefix("+")
    if form == "absent":
        return []
    value: Any = {
        "number": int(digits) if digits.isdigit() else digits,
        "string": digits,
        "masked": numbers.masked(msisdn),
        "hashed": _hash(digits),
    }[form]
    return [{"Name": "PhoneNumber", "Value": value}]


def _hash(digits: str) -> str:
    return hashlib.sha256(digits.encode()).hexdigest()
