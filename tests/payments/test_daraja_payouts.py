"""The adapter for money that goes out: what is sent, and what each answer is taken for."""

import base64
import json
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer

from core.errors import Declined, Unavailable
from core.payout_calls import PayoutAnswer
from core.receipts import Receipt
from payments import daraja as adapter
from payments.daraja import Daraja, security_credential
from tests.payments.test_daraja import TOKEN, envelope, tokens

__all__ = ["tokens"]

PAYOUT = "/mpesa/b2c/v3/paymentrequest"
STATUS = "/mpesa/transactionstatus/v1/query"
REVERSAL = "/mpesa/reversal/v1/request"
BALANCE = "/mpesa/accountbalance/v1/query"
TOP_UP = "/mpesa/b2b/v1/paymentrequest"
PULL = "/pulltransactions/v1/query"
ORIGINATOR = "0193a5c0-0000-7000-8000-000000000001"
PASSWORD = "Sandbox#Initiator1"
ACK = {
    "ConversationID": "AG_20240706_2010",
    "OriginatorConversationID": ORIGINATOR,
    "ResponseCode": "0",
    "ResponseDescription": "Accept the service request successfully.",
}


def certificate_of(key: Any) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def certificate(key: rsa.RSAPrivateKey) -> str:
    return certificate_of(key)


@pytest.fixture
def daraja(
    httpserver: HTTPServer, tokens: list[str], daraja_at: Callable[..., Daraja], certificate: str
) -> Iterator[Daraja]:
    made = daraja_at(httpserver.url_for(""), certificate=certificate)
    made.prepare_payouts()
    return made


def pay_out(daraja: Daraja) -> PayoutAnswer:
    return daraja.pay_out(ORIGINATOR, "+254708374149", 225_000, "Sokoni", TOKEN)


def reverse(daraja: Daraja) -> PayoutAnswer:
    return daraja.reverse_payment("NLJ7RT61SV", 68_100, "Sokoni", TOKEN)


def status(daraja: Daraja) -> PayoutAnswer:
    return daraja.query_payout(ORIGINATOR, False, TOKEN)


def balance(daraja: Daraja) -> PayoutAnswer:
    return daraja.query_balance("b2c", TOKEN)


def top_up(daraja: Daraja) -> PayoutAnswer:
    return daraja.top_up(5_000_000, "FLOAT1", TOKEN)


CALLS = [
    (PAYOUT, pay_out),
    (REVERSAL, reverse),
    (STATUS, status),
    (BALANCE, balance),
    (TOP_UP, top_up),
]
URLS = {
    "ResultURL": f"https://sokoni.example/payments/results/{TOKEN}",
    "QueueTimeOutURL": f"https://sokoni.example/payments/timeouts/{TOKEN}",
}
SENT = {
    PAYOUT: {
        "OriginatorConversationID": ORIGINATOR,
        "InitiatorName": "sokoni-api",
        "CommandID": "BusinessPayment",
        "Amount": "2250",
        "PartyA": "600997",
        "PartyB": "254708374149",
        "Remarks": "Sokoni",
    },
    REVERSAL: {
        "Initiator": "sokoni-api",
        "CommandID": "TransactionReversal",
        "TransactionID": "NLJ7RT61SV",
        "Amount": "681",
        "ReceiverParty": "174379",
        "RecieverIdentifierType": "11",
        "Remarks": "Sokoni",
    },
    STATUS: {
        "Initiator": "sokoni-api",
        "CommandID": "TransactionStatusQuery",
        "OriginalConversationID": ORIGINATOR,
        "PartyA": "600997",
        "IdentifierType": "4",
        "Remarks": "Status",
        "Occasion": "Status",
    },
    BALANCE: {
        "Initiator": "sokoni-api",
        "CommandID": "AccountBalance",
        "PartyA": "600997",
        "IdentifierType": "4",
        "Remarks": "Balance",
    },
    TOP_UP: {
        "Initiator": "sokoni-api",
        "CommandID": "BusinessPayToBulk",
        "SenderIdentifierType": "4",
        "RecieverIdentifierType": "4",
        "Amount": "50000",
        "PartyA": "174379",
        "PartyB": "600997",
        "AccountReference": "FLOAT1",
        "Remarks": "Float",
    },
}


@pytest.mark.parametrize(("path", "call"), CALLS)
def test_a_call_sends_what_daraja_asks_for(
    httpserver: HTTPServer,
    daraja: Daraja,
    key: rsa.RSAPrivateKey,
    path: str,
    call: Callable[[Daraja], PayoutAnswer],
) -> None:
    httpserver.expect_request(path, method="POST").respond_with_json(ACK)
    answer = call(daraja)
    assert (answer.outcome, answer.code) == ("accepted", "0")
    assert (answer.originator_id, answer.conversation_id) == (ORIGINATOR, "AG_20240706_2010")
    request, _ = httpserver.log[-1]
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer token-1"
    sent = request.get_json()
    credential = base64.b64decode(sent.pop("SecurityCredential"), validate=True)
    assert key.decrypt(credential, padding.PKCS1v15()) == PASSWORD.encode()
    assert sent == {**SENT[path], **URLS}


def test_a_reversal_is_asked_about_at_the_shortcode_that_it_left(
    httpserver: HTTPServer, daraja: Daraja
) -> None:
    httpserver.expect_request(STATUS).respond_with_json(ACK)
    daraja.query_payout(ORIGINATOR, True, TOKEN)
    assert httpserver.log[-1][0].get_json()["PartyA"] == "174379"


REFUSED = [
    (400, "400.002.02", "Bad Request - Invalid Amount"),
    (400, "400.002.05", "Invalid Request Payload"),
    (404, "404.001.01", "Resource not found"),
    (404, "404.001.04", "Invalid Authentication Header"),
    (405, "405.001", "Method Not Allowed"),
    (500, "500.001.1001", "Merchant does not exist"),
    (500, "500.003.02", "Error Occurred: Spike Arrest Violation"),
    (429, "500.003.02", "System is busy. Please try again in few minutes."),
    (500, "500.003.03", "Error Occurred: Quota Violation"),
]
DOUBTFUL = [
    (500, "500.001.1001", "Some words nobody has heard before"),
    (500, "500.002.1001", "Service is under maintenance. Please try again later"),
    (500, "500.003.1001", "Internal Server Error"),
    (500, "599.999.99", "A code nobody has heard of"),
]


@pytest.mark.parametrize(("status_", "code", "message"), REFUSED)
@pytest.mark.parametrize(("path", "call"), CALLS[:2])
def test_a_refusal_before_acting_is_refused(
    httpserver: HTTPServer,
    daraja: Daraja,
    path: str,
    call: Any,
    status_: int,
    code: str,
    message: str,
) -> None:
    httpserver.expect_request(path).respond_with_json(envelope(code, message), status=status_)
    answer = call(daraja)
    assert (answer.outcome, answer.code) == ("refused", code)


@pytest.mark.parametrize(("status_", "code", "message"), DOUBTFUL)
def test_an_error_that_proves_nothing_is_unknown(
    httpserver: HTTPServer, daraja: Daraja, status_: int, code: str, message: str
) -> None:
    httpserver.expect_request(PAYOUT).respond_with_json(envelope(code, message), status=status_)
    assert (pay_out(daraja).outcome, pay_out(daraja).code) == ("unknown", code)


def test_f18_a_repeated_identity_says_that_the_first_call_was_accepted(
    httpserver: HTTPServer, daraja: Daraja
) -> None:
    said = envelope("500.002.1001", "Duplicate OriginatorConversationID.")
    httpserver.expect_request(PAYOUT).respond_with_json(said, status=500)
    answer = pay_out(daraja)
    assert (answer.outcome, answer.code, answer.conversation_id) == (
        "accepted",
        "500.002.1001",
        None,
    )


def test_another_response_code_in_a_200_is_a_refusal(
    httpserver: HTTPServer, daraja: Daraja
) -> None:
    httpserver.expect_request(PAYOUT).respond_with_json({**ACK, "ResponseCode": "1"})
    assert pay_out(daraja).outcome == "refused"


@pytest.mark.parametrize(
    ("status_", "body"),
    [
        (503, "<html>Service Unavailable</html>"),
        (502, ""),
        (400, ""),
        (200, ""),
        (200, "{}"),
        (200, "[]"),
        (200, '{"ResponseCode":NaN}'),
        (200, "[" * 50_000),
        (200, '{"ResponseCode":"' + "0" * 70_000 + '"}'),
        (302, ""),
    ],
)
def test_a_surprise_is_unknown(
    httpserver: HTTPServer, daraja: Daraja, status_: int, body: str
) -> None:
    httpserver.expect_request(PAYOUT).respond_with_data(body, status=status_)
    assert pay_out(daraja).outcome == "unknown"


def test_nobody_at_the_address_is_a_refusal_and_silence_is_unknown(daraja: Daraja) -> None:
    daraja._account = replace(daraja._account, base_url="http://127.0.0.1:9")
    assert (pay_out(daraja).outcome, pay_out(daraja).code) == ("refused", "no_connection")
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:  # takes calls, never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        daraja._account = replace(daraja._account, base_url=url, read_seconds=0.1)
        assert (pay_out(daraja).outcome, pay_out(daraja).code) == ("unknown", "timeout")


@pytest.mark.parametrize(
    ("code", "status_"), [("401.002.01", 401), ("404.001.03", 404), ("400.003.01", 400)]
)
@pytest.mark.parametrize(("path", "call"), CALLS)
def test_f17_a_token_replaced_elsewhere_is_refreshed_once(
    httpserver: HTTPServer,
    daraja: Daraja,
    tokens: list[str],
    path: str,
    call: Any,
    code: str,
    status_: int,
) -> None:
    httpserver.expect_request(path, headers={"Authorization": "Bearer token-1"}).respond_with_json(
        envelope(code, "Invalid Access Token"), status=status_
    )
    httpserver.expect_request(path, headers={"Authorization": "Bearer token-2"}).respond_with_json(
        ACK
    )
    assert call(daraja).outcome == "accepted"
    assert len(tokens) == 2


# --- the credential -------------------------------------------------------------------------------


def test_a_credential_is_the_password_alone_and_differs_each_time(
    key: rsa.RSAPrivateKey, certificate: str
) -> None:
    made = {security_credential(PASSWORD, certificate) for _ in range(2)}
    assert len(made) == 2
    for credential in made:
        assert key.decrypt(base64.b64decode(credential), padding.PKCS1v15()) == PASSWORD.encode()


def test_a_certificate_without_an_rsa_key_is_our_own_mistake() -> None:
    other = certificate_of(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(AssertionError, match="no RSA key"):
        security_credential(PASSWORD, other)


def test_a_certificate_is_given_as_pem_or_as_a_file(tmp_path: Path, certificate: str) -> None:
    file = tmp_path / "mpesa.pem"
    file.write_text(certificate)
    assert adapter._certificate_of(certificate) == certificate
    assert adapter._certificate_of(str(file)) == certificate
    assert adapter._certificate_of(None) is None


def test_without_one_it_is_the_pretend_worlds_and_fetched_anew(
    httpserver: HTTPServer, tokens: list[str], daraja_at: Callable[..., Daraja], certificate: str
) -> None:
    daraja = daraja_at(httpserver.url_for(""))
    httpserver.expect_request(PAYOUT).respond_with_json(ACK)
    with pytest.raises(Unavailable):  # nobody serves one yet
        daraja.prepare_payouts()
    httpserver.expect_request("/simulator/api/certificate").respond_with_data(certificate)
    for _ in range(2):
        daraja.prepare_payouts()
    assert pay_out(daraja).outcome == "accepted"
    fetched = [request.path for request, _ in httpserver.log]
    assert fetched.count("/simulator/api/certificate") == 3
    httpserver.clear_assertions()


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_cents": 0},
        {"amount_cents": 900},
        {"amount_cents": 25_000_100},
        {"amount_cents": 1_050},
        {"amount_cents": -100_000},
        {"msisdn": "0708374149"},
        {"msisdn": "+255708374149"},
        {"token": "0"},
        {"token": "G" * 32},
    ],
    ids=str,
)
def test_what_daraja_would_refuse_is_our_own_mistake_and_not_sent(
    httpserver: HTTPServer, daraja: Daraja, wrong: dict[str, Any]
) -> None:
    before = len(httpserver.log)
    right = {
        "originator_id": ORIGINATOR,
        "msisdn": "+254708374149",
        "amount_cents": 100_000,
        "remarks": "Sokoni",
        "token": TOKEN,
    }
    with pytest.raises(AssertionError) as raised:
        daraja.pay_out(**{**right, **wrong})
    assert "708374149" not in str(raised.value)
    assert len(httpserver.log) == before


def test_nothing_personal_or_secret_is_logged_or_shown(
    httpserver: HTTPServer,
    daraja: Daraja,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG, logger="payments")
    httpserver.expect_request(PAYOUT).respond_with_json(
        envelope("400.002.02", "Invalid PartyB 254708374149"), status=400
    )
    answer = pay_out(daraja)
    shown = f"{answer!r} {answer.detail} {daraja._account!r}"
    shown += caplog.text + "".join(capsys.readouterr())
    for secret in ("708374149", "token-1", TOKEN, PASSWORD):
        assert secret not in shown


# --- pulling --------------------------------------------------------------------------------------

ROW = {
    "transactionId": "RKL51ZDR4F",
    "trxDate": "2026-11-20T10:05:00Z",
    "msisdn": 708374149,
    "sender": "",
    "transactiontype": "c2b-pay-bill-debit",
    "billreference": "ORD7K2",
    "amount": "681.00",
    "organizationname": "SOKONI",
}
LINE = Receipt("pull", "RKL51ZDR4F", 68_100, "ORD7K2", datetime(2026, 11, 20, 10, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([[ROW]], [LINE]),
        ([ROW], [LINE]),
        ([[]], []),
        (None, []),
        ("nothing", []),
        ([[ROW, {**ROW, "amount": "1e309"}, {**ROW, "transactionId": None}, 7, None]], [LINE]),
        ([[{**ROW, "trxDate": "yesterday"}, {**ROW, "amount": -5}]], []),
        ([[{**ROW, "trxDate": "0001-01-01T00:00:00Z"}]], []),
        ([[{**ROW, "billreference": "ORD\0\ud8007K2"}]], [LINE]),
        (
            [[{**ROW, "amount": 681, "billreference": None}]],
            [Receipt("pull", "RKL51ZDR4F", 68_100, "", LINE.at)],
        ),
    ],
)
def test_pulled_rows_are_read_and_what_cannot_be_is_left_out(
    httpserver: HTTPServer, daraja: Daraja, now: datetime, rows: Any, lines: list[Receipt]
) -> None:
    body = {"ResponseCode": "1000", "Response": rows}
    httpserver.expect_request(PULL, method="GET").respond_with_json(body)
    assert daraja.pull(now - timedelta(hours=24), now) == lines
    asked = [json.loads(request.data) for request, _ in httpserver.log if request.path == PULL]
    assert asked[0] == {
        "ShortCode": "174379",
        "StartDate": "2026-11-20 12:00:00",
        "EndDate": "2026-11-21 12:00:00",
        "OffSetValue": "0",
    }


def test_all_is_pulled_page_by_page(httpserver: HTTPServer, daraja: Daraja, now: datetime) -> None:
    rows = [{**ROW, "transactionId": f"RKL51ZDR{n}F"} for n in range(5)]
    rows[1]["amount"] = "none"  # left out, and counted: the next page begins after it
    for page in (rows[:2], rows[2:4], rows[4:], []):
        body = {"ResponseCode": "1000" if page else "1001", "Response": [page]}
        httpserver.expect_ordered_request(PULL).respond_with_json(body)
    found = daraja.pull(now - timedelta(hours=24), now)
    assert found is not None
    assert [line.receipt[-2] for line in found] == ["0", "2", "3", "4"]
    asked = [json.loads(request.data) for request, _ in httpserver.log if request.path == PULL]
    assert [each["OffSetValue"] for each in asked] == ["0", "2", "4", "5"]


def test_who_may_not_pull_asks_for_nothing(
    httpserver: HTTPServer, daraja_at: Callable[..., Daraja], now: datetime
) -> None:
    assert daraja_at(httpserver.url_for(""), pulls=False).pull(now, now) is None
    assert httpserver.log == []


def test_nothing_to_pull_is_no_error_and_an_error_is_not_nothing(
    httpserver: HTTPServer, daraja: Daraja, now: datetime
) -> None:
    httpserver.expect_ordered_request(PULL).respond_with_json({"ResponseCode": "1001"})
    httpserver.expect_ordered_request(PULL).respond_with_json({}, status=500)
    assert daraja.pull(now, now) == []
    with pytest.raises(Unavailable):
        daraja.pull(now, now)


def test_pulling_is_registered_once(httpserver: HTTPServer, daraja: Daraja) -> None:
    path = "/pulltransactions/v1/register"
    for answer in ({"ResponseStatus": "1000"}, {"ResponseStatus": "1001"}, {"errorCode": "400"}):
        httpserver.expect_ordered_request(path).respond_with_json(answer)
    assert daraja.register_pull("+254700000000", "secret-path") == "registered"
    assert daraja.register_pull("+254700000000", "secret-path") == "registered_before"
    with pytest.raises(Declined):
        daraja.register_pull("+254700000000", "secret-path")
    (told,) = {json.loads(request.data)["CallBackURL"] for request, _ in httpserver.log[1:]}
    assert told == "https://sokoni.example/payments/c2b/secret-path/confirmation"
