"""No line says who somebody is; generated are the forms that people and providers really write."""

import io
import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import logs

SUBSCRIBER = st.from_regex(r"[17][0-9]{8}", fullmatch=True)
GAP = st.sampled_from(["", " ", "-", ".", "\u00a0", " - "])


@st.composite
def phones(draw):
    """The ways to write a Kenyan number, and its last three digits."""
    digits, gap = draw(SUBSCRIBER), draw(GAP)
    prefix = draw(st.sampled_from(["+254", "254", "00254", "0", "+254 (0)", ""]))
    spaced = gap.join([digits[:3], digits[3:6], digits[6:]]) if prefix else digits
    return prefix + (gap if prefix not in ("0", "") else "") + spaced, digits


SECRETS = st.from_regex(r"[A-Za-z0-9_-]{8,40}", fullmatch=True)
HEX32 = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
WORDS = st.lists(
    st.sampled_from(["order", "of", "paid", "by", "sent", "to", "Swala:", "(retry)", "KSh", "at"]),
    max_size=4,
).map(" ".join)


def around(before: str, middle: str, after: str) -> str:
    return f"{before} {middle} {after}"


@given(phones(), WORDS, WORDS)
def test_a_phone_number_is_masked_however_it_is_written(phone, before, after):
    written, digits = phone
    for text in (around(before, written, after), f"call={written}", f"[{written}]", written):
        shown = logs.mask_text(text)
        assert logs.MASK in shown
        assert digits not in "".join(filter(str.isdigit, shown))
        assert digits[-6:] not in "".join(filter(str.isdigit, shown))


@given(SUBSCRIBER, st.sampled_from(["", "%2B", "+"]))
def test_a_form_as_the_gateway_sends_it_loses_its_number_and_its_text(digits, plus):
    body = (
        f"sessionId=ATUid_{'ab' * 16}&phoneNumber={plus}254{digits}&text=1*2*4821&networkCode=63902"
    )
    shown = logs.mask_text(body)
    assert digits not in shown
    assert "4821" not in shown


@given(SUBSCRIBER)
def test_a_number_that_comes_as_a_number_is_masked(digits):
    assert logs.mask({"value": [int(f"254{digits}")]}) == {"value": [logs.MASK]}


@given(SUBSCRIBER, st.from_regex(r"[0-9]{17}", fullmatch=True))
def test_a_checkout_request_id_is_masked_for_it_ends_with_the_phone(digits, moment):
    assert digits not in logs.mask_text(f"query of ws_CO_{moment}{digits} failed")


@given(
    st.sampled_from(
        [
            "pin",
            "PIN",
            "Password",
            "passkey",
            "api_key",
            "access_token",
            "FirstName",
            "name",
            "msisdn",
            "PhoneNumber",
            "text",
            "body",
            "address",
            "Authorization",
            "telegram_secret",
            "pin_pepper",
        ]
    ),
    SECRETS,
    st.sampled_from(["{}={}", "{}: {}", "'{}': '{}'", '"{}": "{}"', "{} = '{}'", "{}={}&x=1"]),
)
def test_what_a_telling_label_announces_is_masked(label, secret, form):
    assert secret not in logs.mask_text(f"failed with {form.format(label, secret)} (again)")


@given(
    st.from_regex(r"[0-9]{4}", fullmatch=True), st.sampled_from(["PIN {}", "pin is {}", "PIN: {}"])
)
def test_a_pin_in_a_sentence_is_masked(pin, sentence):
    assert pin not in logs.mask_text(sentence.format(pin))


@given(
    st.sampled_from(
        [
            "pin",
            "pins",
            "token",
            "secretKey",
            "first_name",
            "FirstName",
            "names",
            "text",
            "raw_body",
            "payload",
            "msisdn",
            "buyer_msisdn",
            "PhoneNumber",
            "PartyA",
            "address",
            "telegram-token",
            "apiKey",
            "headers.Authorization",
            "to_phone",
            "PIN",
            "userName",
        ]
    ),
    st.one_of(SECRETS, st.integers(), st.lists(SECRETS), st.dictionaries(SECRETS, SECRETS)),
)
def test_what_stands_under_a_telling_key_goes_whole_at_any_depth(key, value):
    assert logs.mask({"a": [{"b": {key: value}}]}) == {"a": [{"b": {key: logs.MASK}}]}


@given(HEX32, st.sampled_from(["/payments/stk/{}", "token {} is unknown", "x{}", "{}?a=1"]))
def test_a_path_token_is_masked(token, form):
    assert token not in logs.mask_text(form.format(token))


@given(
    SECRETS,
    st.sampled_from(
        [
            "/channels/ussd/africastalking/{}",
            "/channels/ussd/africastalking/{}/events",
            "/channels/sms/africastalking/{}/incoming",
            "/channels/ussd/hubtel/{}",
            "/channels/ussd/advanta/{}",
            "/channels/telegram/{}",
            "/payments/c2b/{}/validation",
            "https://api.telegram.org/bot123456789:{}abcdefgh/sendMessage",
            "postgresql://sokoni:{}@db.example/sokoni",
            "redis://:{}@cache",
            "GET /x?msisdn={} HTTP/1.1",
            "https://x.example/y?token={}",
            "Authorization: Bearer {}",
            "basic {}==",
        ]
    ),
)
def test_secrets_in_addresses_and_headers_are_masked(secret, form):
    assert secret not in logs.mask_text(f'"POST {form.format(secret)}" 404')


@given(
    st.uuids(),
    st.datetimes(timezones=st.just(UTC)),
    st.integers(1000, 999_999),
    st.integers(0, 99_999_999),
    st.decimals(0, 10_000, places=2),
)
def test_ids_times_order_numbers_and_amounts_survive(key, at, number, cents, shillings):
    text = f"order {number} ({key}) of KSh {shillings:,} = {cents} cents at {at.isoformat()}"
    assert logs.mask_text(text) == text
    event = {
        "order": number,
        "amount_cents": cents,
        "charge_id": key,
        "at": at,
        "outcome": "paid",
        "due": at.isoformat(),
        "id": str(key),
        "shillings": shillings,
        "open": True,
        "none": None,
        "seconds": 0.25,
        "queue": "money",
        "task_name": "stk_push",
        "pinned": 1,
        "mapping": "x",
    }
    kept = {**event, "charge_id": str(key), "at": str(at), "shillings": str(shillings)}
    assert logs.mask(event) == kept


@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(),
            st.binary(),
            st.just(UUID(int=1)),
            st.just(Decimal("1.5")),
            st.just(datetime(2026, 1, 1, tzinfo=UTC)),
            st.just(object()),
        ),
        lambda inner: st.one_of(
            st.lists(inner),
            st.dictionaries(st.text(), inner),
            st.dictionaries(st.integers(), inner),
            st.sets(st.integers()),
        ),
    )
)
def test_every_value_becomes_one_line_of_json(value):
    line = logs._render(None, "", {"event": "x", "value": value})
    assert "\n" not in line
    assert json.loads(line)["event"] == "x"


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_line_carries_its_context_its_level_and_its_time(said):
    with structlog.contextvars.bound_contextvars(conversation="c1"):
        structlog.get_logger().info("hop", outcome="advanced", msisdn="+254712345678")
    (line,) = lines(said)
    assert line["event"] == "hop"
    assert (line["conversation"], line["level"], line["outcome"]) == ("c1", "info", "advanced")
    assert line["msisdn"] == logs.MASK
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


def test_a_traceback_is_kept_and_masked(said):
    try:
        raise ValueError("no member with +254712345678, {'pin': '4821'}")
    except ValueError:
        structlog.get_logger().exception("hop_failed")
        logging.getLogger("celery.worker").exception("task failed for 0712345678")
    ours, theirs = lines(said)
    for line in (ours, theirs):
        assert "ValueError: no member with" in line["exception"]
        assert "test_logs.py" in line["exception"]
    assert "712345678" not in said.getvalue()
    assert "4821" not in said.getvalue()


def test_a_row_that_postgresql_quotes_in_an_error_is_cut_out():
    text = (
        'duplicate key value violates unique constraint "uq_members_msisdn"\n'
        "DETAIL:  Key (name, village)=(Amina Wanjiru, Gikomba) already exists."
    )
    assert "Amina" not in logs.mask_text(text)
    assert "uq_members_msisdn" in logs.mask_text(text)


@pytest.mark.parametrize(
    "library", ["werkzeug", "granian.access", "celery", "httpx", "urllib3", "sqlalchemy"]
)
def test_what_a_library_logs_goes_through_the_same_mask(said, library):
    logging.getLogger(library).warning(
        "POST %s for %s", "/payments/stk/" + "ab" * 16, "+254712345678"
    )
    (line,) = lines(said)
    assert line["logger"] == library
    assert "712345678" not in said.getvalue()
    assert "abab" not in said.getvalue()


def test_libraries_stay_quiet_below_warning_and_we_below_the_level_set(said):
    logging.getLogger("httpx").info("HTTP Request: GET https://x")
    structlog.get_logger().debug("detail")
    assert said.getvalue() == ""


def test_an_error_that_nobody_caught_is_one_masked_line(said):
    try:
        raise RuntimeError("lost 0712 345 678")
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    (line,) = lines(said)
    assert (line["event"], line["level"]) == ("uncaught", "critical")
    assert "345 678" not in said.getvalue()


def test_the_seeded_leaks_are_really_there_without_the_mask():
    """Guards the tests above: were their data harmless, they could not fail."""
    try:
        raise ValueError("no member with +254712345678, {'pin': '4821'}")
    except ValueError as error:
        shown = "".join(traceback.format_exception(error))
    assert "254712345678" in shown
    assert "4821" in shown
