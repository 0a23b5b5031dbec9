"""Reading Results: whatever form they come in, nothing is believed that is not there."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.payout_proofs import PayoutResult
from payments.callbacks import (
    UNREADABLE,
    parse_balances,
    parse_payout,
    parse_reversal,
    parse_status,
    parse_top_up,
)
from payments.codes import INITIATOR_CODES, OUR_CODES

PAYLOADS = Path(__file__).parent.parent / "payloads" / "daraja"
ASKED = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ORIGINATOR = "0193a5c0-0000-7000-8000-000000000001"


def payload(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def changed(name: str, **changes: Any) -> bytes:
    """The payload with some of its Result, or of its parameters, said otherwise; None: unsaid."""
    body = json.loads(payload(name))
    result = body["Result"]
    listed = result.get("ResultParameters", {}).get("ResultParameter", [])
    for key, value in changes.items():
        if key.startswith("Result") or key in ("TransactionID", "ConversationID", "Originator"):
            result[key] = value
            continue
        found = [each for each in listed if each["Key"] == key]
        for each in found:
            if value is None:
                listed.remove(each)
            else:
                each["Value"] = value
    return json.dumps(body).encode()


PAID = PayoutResult(
    source="result",
    verdict="paid",
    code="0",
    amount_cents=1_000,
    receipt="SG632NMUAB",
    msisdn="+254708374149",
    originator_id=ORIGINATOR,
    conversation_id="AG_20240706_2010",
)


def test_a_payout_that_was_paid_is_read_as_documented() -> None:
    assert parse_payout(payload("b2c_paid")) == PAID


@pytest.mark.parametrize("amount", ["10", "10.00", 10.0])
def test_an_amount_is_the_same_in_every_form(amount: object) -> None:
    assert parse_payout(changed("b2c_paid", TransactionAmount=amount)) == PAID


@pytest.mark.parametrize(
    "amount", ["1e309", float("nan"), float("inf"), -10, "-10", "ten", None, True, {"a": 1}, "10,0"]
)
def test_an_amount_that_is_none_is_not_there(amount: object) -> None:
    assert parse_payout(changed("b2c_paid", TransactionAmount=amount)).amount_cents is None


@pytest.mark.parametrize(
    "party", ["2547*****149 - JOHN", "JOHN DOE", None, 254708374149, "0708374149 - JOHN", ""]
)
def test_a_masked_party_is_no_number(party: object) -> None:
    assert parse_payout(changed("b2c_paid", ReceiverPartyPublicName=party)).msisdn is None


@pytest.mark.parametrize(
    "changes",
    [{"TransactionID": "SG632NMUAC"}, {"TransactionReceipt": None}, {"TransactionID": None}],
)
def test_two_receipts_in_one_result_are_none(changes: dict[str, Any]) -> None:
    assert parse_payout(changed("b2c_paid", **changes)).receipt is None


def test_the_transaction_id_of_a_failure_is_no_receipt() -> None:
    failed = parse_payout(payload("b2c_failed"))
    assert (failed.verdict, failed.code, failed.receipt) == ("failed", "2040", None)
    assert (failed.ours, failed.halts, failed.originator_id) == (False, None, ORIGINATOR)


@pytest.mark.parametrize("code", sorted(INITIATOR_CODES))
@pytest.mark.parametrize("parse", [parse_payout, parse_reversal])
def test_a_wrong_initiator_halts_everything(parse: Any, code: str) -> None:
    result = parse(changed("b2c_failed", ResultCode=int(code)))
    assert (result.verdict, result.ours, result.halts) == ("failed", True, "initiator")
    assert parse_status(changed("status_completed", ResultCode=code), ASKED).halts == "initiator"


def test_an_empty_float_halts_payouts_and_no_reversals() -> None:
    assert parse_payout(changed("b2c_failed", ResultCode=1)).halts == "float"
    assert parse_reversal(changed("b2c_failed", ResultCode=1)).halts is None
    assert OUR_CODES > INITIATOR_CODES


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (2, "failed"),
        ("SFC_IC0003", "failed"),
        (17, "pending"),
        (26, "pending"),
        (15, "unknown"),
        (9876, "unknown"),
        ("0x0", "unknown"),
        (True, "unknown"),
        (None, "unknown"),
        ({"a": 0}, "unknown"),
    ],
)
def test_only_a_code_known_to_be_final_is_final(code: object, verdict: str) -> None:
    assert parse_payout(changed("b2c_failed", ResultCode=code)).verdict == verdict


def test_more_to_come_is_not_final() -> None:
    assert parse_payout(changed("b2c_paid", ResultType=1)).verdict == "pending"
    assert parse_status(changed("status_completed", ResultType="1"), ASKED).verdict == "pending"


STATUS = PayoutResult(
    source="status",
    verdict="paid",
    code="Completed",
    amount_cents=1_000,
    receipt="SG632NMUAB",
    msisdn="+254708374149",
    originator_id=ORIGINATOR,
    conversation_id="AG_20240706_2010",
    charge_cents=2_240,
    asked_at=ASKED,
)


def test_a_status_is_read_of_the_payout_and_not_of_the_question() -> None:
    assert parse_status(payload("status_completed"), ASKED) == STATUS


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("Cancelled", "failed"),
        ("Declined", "failed"),
        ("Expired", "failed"),
        ("Initiated", "pending"),
        ("Authorized", "pending"),
        ("Pending Authorized", "pending"),
        ("completed", "unknown"),
        ("", "unknown"),
        (0, "unknown"),
        (["Completed"], "unknown"),
        (None, "unknown"),
    ],
)
def test_code_0_of_a_status_is_no_payment(status: object, verdict: str) -> None:
    result = parse_status(changed("status_completed", TransactionStatus=status), ASKED)
    assert result.verdict == verdict


def test_no_such_transaction_is_said_with_the_time_of_the_question() -> None:
    result = parse_status(changed("status_completed", ResultCode="2032"), ASKED)
    assert (result.verdict, result.asked_at, result.ours) == ("absent", ASKED, True)


def test_a_reversal_is_read_with_the_receipt_it_reverses() -> None:
    assert parse_reversal(payload("reversal_done")) == PayoutResult(
        source="result",
        verdict="paid",
        code="0",
        amount_cents=68_100,
        receipt="SG640REVAB",
        originator_id="71840-27539181-07",
        conversation_id="AG_20240706_4000",
        reverses_receipt="NLJ7RT61SV",
    )


@pytest.mark.parametrize(("code", "verdict"), [("R000001", "reversed"), ("R000002", "failed")])
def test_a_reversals_codes_are_text(code: str, verdict: str) -> None:
    assert parse_reversal(changed("b2c_failed", ResultCode=code)).verdict == verdict


@pytest.mark.parametrize("parse", [parse_payout, parse_reversal, parse_top_up])
@pytest.mark.parametrize("code", ["R000001", "R000002", "1", "2040"])
def test_of_what_was_not_done_the_transaction_id_is_no_receipt(
    parse: Callable[[bytes], PayoutResult], code: str
) -> None:
    assert parse(changed("b2c_failed", ResultCode=code)).receipt is None


def test_balances_are_read_by_the_accounts_names() -> None:
    assert parse_balances(payload("balance")) == {
        "Working Account": 70_000_000,
        "Float Account": 0,
        "Utility Account": 22_803_700,
        "Charges Paid Account": -154_000,
        "Organization Settlement Account": 0,
    }


@pytest.mark.parametrize(
    "said",
    ["", "Utility Account", "A|KES|ten", "A|USD|1.00", "A\0|KES|1", "\ud800|KES|1", "&&", 5, None],
)
def test_a_balance_that_says_nothing_is_none(said: object) -> None:
    assert parse_balances(changed("balance", AccountBalance=said)) is None


PARSERS = (
    parse_payout,
    parse_reversal,
    parse_balances,
    lambda body: parse_status(body, ASKED),
)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\xff", b"<html>", b"[]", b"null", b'{"Result":7}', b'{"Result":{}}', b"[" * 60_000],
)
def test_a_body_without_a_result_proves_nothing(parse: Any, body: bytes) -> None:
    result = parse(body)
    assert result is None or (result.verdict, result.code) == ("unknown", UNREADABLE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"Result": JSON | st.fixed_dictionaries({"ResultCode": JSON, "ResultParameters": JSON})}
    )
)
def test_nothing_that_can_be_said_breaks_the_reader(body: Any) -> None:
    for parse in PARSERS:
        result = parse(json.dumps(body).encode())
        assert result is None or getattr(result, "verdict", "") != "paid" or result.receipt is None
