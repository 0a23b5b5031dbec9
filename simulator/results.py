"""The Results that M-Pesa posts for what an operator asked. Source: daraja.md, sections 7 to 10."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from simulator.callbacks import money, stamp
from simulator.clock import EAST_AFRICA
from simulator.outbound import JSON
from simulator.rulebook import Operated
from simulator.rules import Rules

Parameter = dict[str, Any]

BUSY = "26"
DESCRIPTIONS: dict[str, str] = {
    "0": "The service request is processed successfully.",
    "1": "The balance is insufficient for the transaction.",
    "2": "Declined due to limit rule: less than the minimum transaction amount.",
    "3": "Declined due to limit rule: greater than the maximum transaction amount.",
    "4": "Declined due to limit rule: would exceed the daily transfer limit.",
    "8": "Declined due to limit rule: would exceed the maximum balance.",
    "11": "The DebitParty is in an invalid state.",
    "15": "Duplicate Detected.",
    "17": "System internal error.",
    "18": "The initiator credential check failed.",
    "20": "Unresolved Initiator.",
    "21": "The initiator is not allowed to initiate this request.",
    BUSY: "System busy. Traffic blocking condition in place.",
    "2001": "The initiator information is invalid.",
    "2006": "Declined due to account rule: The account status does not allow this transaction.",
    "2028": "The request is not permitted according to product assignment.",
    "2032": "The transaction receipt number does not exist.",
    "2040": "Credit Party customer type (Unregistered or Registered Customer) can't be supported "
    "by the service.",
    "8006": "The security credential is locked.",
    "R000001": "The transaction has already been reversed.",
    "R000002": "The OriginalTransactionID is invalid.",
    "SFC_IC0003": "The operator does not exist.",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say of a transaction. Parties as "254712345678 - WANJIKU".

    receipt and ended_at are None while it is not final; charge_cents: what the business owes.
    """

    status: str
    amount_cents: int
    debit_party: str
    credit_party: str
    reason: str
    receipt: str | None
    originator_id: str
    conversation_id: str
    begun_at: datetime
    ended_at: datetime | None
    charge_cents: int = 0


def result(
    kind: Operated,
    code: str,
    parameters: list[Parameter],
    *,
    originator_id: str,
    conversation_id: str,
    transaction_id: str,
    timeout_url: str,
    rules: Rules,
    is_final: bool = True,
) -> tuple[bytes, str]:
    """A Result: body and content type. parameters: said where code is "0" only."""
    if rules.result_body == "html":
        return b"<html><body><h1>504 Gateway Time-out</h1></body></html>", "text/html"
    if rules.result_body == "empty":
        return b"", JSON
    if rules.result_body == "not_json":
        return b'{"Result":{"ResultType":', JSON
    # Account balances have their numbers in strings.
    is_number = rules.result_code_form == "number" and kind != "balance"
    result_type = 0 if is_final else 1
    said: dict[str, Any] = {
        "ResultType": result_type if is_number else str(result_type),
        "ResultCode": int(code) if code.isdigit() and is_number else code,
        "ResultDesc": DESCRIPTIONS.get(code, "The service request could not be processed."),
        "OriginatorConversationID": originator_id,
        "ConversationID": conversation_id,
        "TransactionID": transaction_id,
    }
    if code == "0" and is_final:
        said["ResultParameters"] = {"ResultParameter": parameters}
    item = _parameter("QueueTimeoutURL", timeout_url)
    if rules.reference_form != "absent":
        items = item if rules.reference_form == "object" else [item]
        said["ReferenceData"] = {"ReferenceItem": items}
    return _json({"Result": said}), JSON


def b2c(
    facts: Facts, receipt: str, *, utility_cents: int, working_cents: int, charges_cents: int
) -> list[Parameter]:
    ended = (facts.ended_at or facts.begun_at).astimezone(EAST_AFRICA)
    return [
        _parameter("TransactionAmount", facts.amount_cents // 100),
        _parameter("TransactionReceipt", receipt),
        _parameter("ReceiverPartyPublicName", facts.credit_party),
        _parameter("TransactionCompletedDateTime", ended.strftime("%d.%m.%Y %H:%M:%S")),
        _parameter("B2CUtilityAccountAvailableFunds", utility_cents / 100),
        _parameter("B2CWorkingAccountAvailableFunds", working_cents / 100),
        _parameter("B2CRecipientIsRegisteredCustomer", "Y"),
        _parameter("B2CChargesPaidAccountAvailableFunds", charges_cents / 100),
    ]


def status(facts: Facts, rules: Rules) -> list[Parameter]:
    """With DebitPartyName twice, and TransactionReason without a value, as in the real ones."""
    second = "DebitPartyName" if rules.status_party == "debit_again" else "CreditPartyName"
    charges = f"Fee For B2C Payment|KES|{money(facts.charge_cents)}" if facts.charge_cents else None
    return [
        _parameter("DebitPartyName", facts.debit_party),
        _parameter(second, facts.credit_party),
        _parameter("OriginatorConversationID", rules.result_originator or facts.originator_id),
        _parameter("InitiatedTime", int(stamp(facts.begun_at))),
        _parameter("DebitAccountType", "Utility Account"),
        _parameter("DebitPartyCharges", charges),
        _parameter("TransactionReason", None),
        _parameter("ReasonType", facts.reason),
        _parameter("TransactionStatus", rules.status_says or facts.status),
        _parameter("FinalisedTime", int(stamp(facts.ended_at)) if facts.ended_at else None),
        _parameter("Amount", str(facts.amount_cents // 100)),
        _parameter("ConversationID", facts.conversation_id),
        _parameter("ReceiptNo", rules.result_receipt or facts.receipt),
    ]


def reversal(facts: Facts, original: str, utility_cents: int) -> list[Parameter]:
    return [
        _parameter("DebitAccountBalance", _account("Utility Account", utility_cents)),
        _parameter("Amount", facts.amount_cents // 100),
        _parameter("TransCompletedTime", int(stamp(facts.ended_at or facts.begun_at))),
        _parameter("OriginalTransactionID", original),
        _parameter("Charge", 0),
        _parameter("CreditPartyPublicName", facts.credit_party),
        _parameter("DebitPartyPublicName", facts.debit_party),
    ]


def top_up(facts: Facts, utility_cents: int) -> list[Parameter]:
    return [
        _parameter("DebitAccountBalance", _account("Utility Account", utility_cents)),
        _parameter("Amount", money(facts.amount_cents)),
        _parameter("TransCompletedTime", stamp(facts.ended_at or facts.begun_at)),
        _parameter("DebitPartyCharges", ""),
        _parameter("ReceiverPartyPublicName", facts.credit_party),
        _parameter("Currency", "KES"),
    ]


def balance(accounts: list[tuple[str, int]], at: datetime) -> list[Parameter]:
    """accounts: names and cents."""
    return [
        _parameter("AccountBalance", "&".join(_account(name, cents) for name, cents in accounts)),
        _parameter("BOCompletedTime", int(stamp(at))),
    ]


def _account(name: str, cents: int) -> str:
    """Name, currency, current, available, reserved, uncleared."""
    return f"{name}|KES|{money(cents)}|{money(cents)}|0.00|0.00"


def _parameter(key: str, value: Any) -> Parameter:
    return {"Key": key} if value is None else {"Key": key, "Value": value}


def _json(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
