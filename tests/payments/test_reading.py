"""Reading callbacks: whatever form they come in, nothing is believed that is not there."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.charges import ChargeResult
from core.receipts import Receipt
from payments.callbacks import UNREADABLE, parse_confirmation, parse_stk

PAYLOADS = Path(__file__).parent.parent / "payloads" / "daraja"
RECEIVED = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def payload(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def paid_with(*items: Any, code: object = 0) -> bytes:
    return json.dumps(
        {"Body": {"stkCallback": {"ResultCode": code, "CallbackMetadata": {"Item": items}}}}
    ).encode()


def item(name: str, value: object) -> dict[str, object]:
    return {"Name": name, "Value": value}


def test_a_payment_is_read_as_documented() -> None:
    assert parse_stk(payload("stk_paid")) == ChargeResult(
        source="callback",
        verdict="paid",
        code="0",
        amount_cents=225_000,
        receipt="NLJ7RT61SV",
        msisdn="+254708374149",
        push_id="ws_CO_170820261404032708374149",
        push_group_id="29115-34620561-1",
    )


def test_f15_strings_another_order_and_no_balance_say_the_same() -> None:
    result = parse_stk(payload("stk_paid_reordered_strings"))
    assert (result.verdict, result.amount_cents, result.receipt, result.msisdn) == (
        "paid",
        225_000,
        "NLJ7RT61SV",
        "+254708374149",
    )
    assert result.push_group_id == "1a9f-4ee1-b033-7c2a9e51d04b88f213"


def test_f15_a_masked_phone_is_no_phone() -> None:
    result = parse_stk(payload("stk_paid_masked"))
    assert (result.verdict, result.amount_cents, result.msisdn) == ("paid", 225_000, None)


def test_a_failure_has_no_metadata() -> None:
    result = parse_stk(payload("stk_cancelled"))
    assert (result.verdict, result.code, result.amount_cents) == ("failed", "1032", None)


def test_f15_a_code_that_is_a_word_is_read() -> None:
    result = parse_stk(payload("stk_messaging_fault"))
    assert (result.verdict, result.code) == ("failed", "BW-JMS-100039")


@pytest.mark.parametrize("code", [7777, "7777", -1, "OK", 0.5])
def test_f15_an_unknown_code_is_unknown(code: object) -> None:
    assert parse_stk(paid_with(code=code)).verdict == "unknown"


@pytest.mark.parametrize(
    "code", ["1E9999999", "-1E9999999", "1E99999999999999999999", "1E-9999999"]
)
def test_f15_a_code_beyond_all_numbers_is_unreadable(code: str) -> None:
    result = parse_stk(paid_with(code=77).replace(b"77,", f"{code},".encode()))
    assert (result.verdict, result.code) == ("unknown", UNREADABLE)


@pytest.mark.parametrize("code", [0, "0", 0.0, " 0 "])
def test_f15_zero_is_paid_however_it_is_written(code: object) -> None:
    assert parse_stk(paid_with(code=code)).verdict == "paid"


@pytest.mark.parametrize("push_id", ["ws_\x00CO", "ws_\ud800CO", "ws CO", "x" * 65, "", [], None])
def test_an_id_that_is_none_is_left_out(push_id: object) -> None:
    body = {"Body": {"stkCallback": {"ResultCode": 1032, "CheckoutRequestID": push_id}}}
    assert parse_stk(json.dumps(body).encode()).push_id is None


@pytest.mark.parametrize("code", [False, None, [], {}, "", "00", "0x0", "zero", 0.25])
def test_what_only_looks_like_zero_is_not_paid(code: object) -> None:
    assert parse_stk(paid_with(code=code)).verdict == "unknown"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Bad gateway</body></html>",
        b"null",
        b"[]",
        b"0",
        b'"Body"',
        b"{}",
        b'{"Body":[]}',
        b'{"Body":{"stkCallback":0}}',
        b'{"Body":{"stkCallback":{}}}',
        b"\x00\xff\xfe",
        b"[" * 60_000,
        b'{"Body":{"stkCallback":{"ResultCode":' + b"1" * 5000 + b"}}}",
    ],
)
def test_f15_a_body_without_a_result_is_unreadable_and_unknown(body: bytes) -> None:
    result = parse_stk(body)
    assert (result.verdict, result.code) == ("unknown", UNREADABLE)


@pytest.mark.parametrize(
    ("value", "cents"),
    [
        (1, 100),
        (1.0, 100),
        ("1.00", 100),
        ("2250", 225_000),
        (2250.5, 225_050),
        (0, 0),
        (-5, None),
        ("-5", None),
        (True, None),
        (None, None),
        ("", None),
        ("1,000", None),
        ("1e3", None),
        ("٣", None),
        (0.001, None),
        (10**20, None),
        ([1], None),
    ],
)
def test_an_amount_is_exact_or_missing(value: object, cents: int | None) -> None:
    assert parse_stk(paid_with(item("Amount", value))).amount_cents == cents


@pytest.mark.parametrize("number", ["1E3", "1e3", "100e1", "1000.00000"])
def test_an_amount_with_an_exponent_is_its_value(number: str) -> None:
    body = paid_with(item("Amount", 77)).replace(b"77", number.encode())
    assert parse_stk(body).amount_cents == 100_000


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1E999999999", "1E-999999999", "1E99999999999999999999"],
)
def test_a_number_beyond_sense_is_no_amount(number: str) -> None:
    body = paid_with(item("Amount", 77)).replace(b"77", number.encode())
    assert parse_stk(body).amount_cents is None


def test_an_item_that_says_two_things_is_not_believed() -> None:
    result = parse_stk(paid_with(item("Amount", 1), item("Amount", 2250)))
    assert (result.verdict, result.code) == ("unknown", "contradiction")


def test_an_item_that_says_one_thing_twice_is_believed() -> None:
    result = parse_stk(paid_with(item("Amount", 1), item("Amount", 1.0)))
    assert (result.verdict, result.amount_cents) == ("paid", 100)


@pytest.mark.parametrize("items", [None, 5, "x", {"Name": "Amount", "Value": 5}, [5, None, []]])
def test_metadata_in_another_form_does_no_harm(items: object) -> None:
    body = {"Body": {"stkCallback": {"ResultCode": 0, "CallbackMetadata": {"Item": items}}}}
    result = parse_stk(json.dumps(body).encode())
    assert result.verdict == "paid"
    assert result.receipt is None


@pytest.mark.parametrize(
    "receipt", ["", "short", "nlj7rt61sv", "NLJ7RT61SV; --", 5, None, "A" * 21]
)
def test_what_is_no_receipt_is_left_out(receipt: object) -> None:
    assert parse_stk(paid_with(item("MpesaReceiptNumber", receipt))).receipt is None


def test_a_confirmation_is_read_as_documented() -> None:
    assert parse_confirmation(payload("c2b_confirmation"), RECEIVED) == Receipt(
        source="c2b",
        receipt="RKL51ZDR4F",
        amount_cents=500,
        reference="ORD7K2",
        at=datetime(2023, 11, 21, 9, 13, 25, tzinfo=UTC),
    )


def test_a_confirmation_with_missing_items_and_a_hash_is_read() -> None:
    receipt = parse_confirmation(payload("c2b_confirmation_hashed"), RECEIVED)
    assert receipt is not None
    assert (receipt.receipt, receipt.amount_cents, receipt.reference) == (
        "RKL51ZDR4F",
        500,
        "ord7k2",
    )


@pytest.mark.parametrize("stamp", ["", "yesterday", "20231399000000", "00010101000000", 5, None])
def test_a_confirmation_without_a_sane_time_has_that_of_its_coming(stamp: object) -> None:
    body = {**json.loads(payload("c2b_confirmation")), "TransTime": stamp}
    receipt = parse_confirmation(json.dumps(body).encode(), RECEIVED)
    assert receipt is not None
    assert receipt.at == RECEIVED


@pytest.mark.parametrize(
    "wrong",
    [
        {"TransID": ""},
        {"TransID": None},
        {"TransID": "drop table"},
        {"TransAmount": "0"},
        {"TransAmount": "-5.00"},
        {"TransAmount": "five"},
        {"TransAmount": None},
    ],
)
def test_a_confirmation_of_no_receipt_or_no_money_is_no_receipt(wrong: dict[str, object]) -> None:
    body = {**json.loads(payload("c2b_confirmation")), **wrong}
    assert parse_confirmation(json.dumps(body).encode(), RECEIVED) is None


def test_a_reference_keeps_nothing_the_database_cannot_hold() -> None:
    body = {**json.loads(payload("c2b_confirmation")), "BillRefNumber": "A\x00B\ud800C " + "D" * 99}
    receipt = parse_confirmation(json.dumps(body).encode(), RECEIVED)
    assert receipt is not None
    assert receipt.reference == "ABC" + "D" * 58


NAMES = [
    "Body",
    "stkCallback",
    "ResultCode",
    "CallbackMetadata",
    "Item",
    "Name",
    "Value",
    "CheckoutRequestID",
    "TransID",
    "TransAmount",
    "TransTime",
    "BillRefNumber",
]
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
def test_no_body_makes_the_reader_fail(body: bytes) -> None:
    result = parse_stk(body)
    assert result.verdict in ("paid", "failed", "pending", "unknown")
    assert (result.verdict == "paid") == (result.code == "0")
    receipt = parse_confirmation(body, RECEIVED)
    assert receipt is None or receipt.amount_cents > 0


@given(st.integers(min_value=0, max_value=250_000 * 100))
def test_every_amount_in_cents_is_read_to_the_cent(cents: int) -> None:
    text = f"{cents // 100}.{cents % 100:02}"
    body = paid_with(item("Amount", 77)).replace(b"77", text.encode())
    assert parse_stk(body).amount_cents == cents
    assert parse_stk(paid_with(item("Amount", text))).amount_cents == cents
