"""The adapter against scripted answers: what each row of Daraja's error table is taken for."""

import base64
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from time import monotonic, sleep

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from core.errors import Unavailable
from payments.codes import verdict_of
from payments.daraja import Daraja, password

PUSH = "/mpesa/stkpush/v1/processrequest"
QUERY = "/mpesa/stkpushquery/v1/query"
TOKEN = "0123456789abcdef0123456789abcdef"
ACK = {
    "MerchantRequestID": "29115-34620561-1",
    "CheckoutRequestID": "ws_CO_170820261404032708374149",
    "ResponseCode": "0",
    "ResponseDescription": "Success. Request accepted for processing",
    "CustomerMessage": "Success. Request accepted for processing",
}


def envelope(code: str, message: str) -> dict[str, str]:
    return {"requestId": "1c5b-4ba8-815c-ac45c57a3db0", "errorCode": code, "errorMessage": message}


@pytest.fixture
def tokens(httpserver: HTTPServer) -> Iterator[list[str]]:
    """The tokens given so far, the last one in force."""
    given: list[str] = []

    def generate(request: Request) -> Response:
        assert request.authorization is not None
        assert request.authorization.username == "sandbox-consumer-key"
        assert request.authorization.password == "sandbox-consumer-secret"
        given.append(f"token-{len(given) + 1}")
        return Response(
            json.dumps({"access_token": given[-1], "expires_in": "3599"}),
            content_type="application/json",
        )

    httpserver.expect_request(
        "/oauth/v1/generate", query_string={"grant_type": "client_credentials"}
    ).respond_with_handler(generate)
    yield given
    httpserver.check()


@pytest.fixture
def daraja(httpserver: HTTPServer, tokens: list[str], daraja_at: Callable[..., Daraja]) -> Daraja:
    return daraja_at(httpserver.url_for(""))


def push(daraja: Daraja):
    return daraja.request_payment("+254708374149", 225_000, "ABCD2345", "Sokoni", TOKEN)


def query(daraja: Daraja):
    return daraja.query_payment("ws_CO_170820261404032708374149")


def test_a_push_sends_what_daraja_asks_for(
    httpserver: HTTPServer, daraja: Daraja, now: datetime
) -> None:
    httpserver.expect_request(PUSH, method="POST").respond_with_json(ACK)
    answer = push(daraja)
    assert (answer.outcome, answer.push_id, answer.push_group_id) == (
        "accepted",
        "ws_CO_170820261404032708374149",
        "29115-34620561-1",
    )
    request, _ = httpserver.log[-1]
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer token-1"
    stamp = "20261121120000"  # 09:00 UTC is noon in Nairobi
    assert now == datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    assert request.get_json() == {
        "BusinessShortCode": "174379",
        "Password": password("174379", _PASSKEY, stamp),
        "Timestamp": stamp,
        "TransactionType": "CustomerPayBillOnline",
        "Amount": "2250",
        "PartyA": "254708374149",
        "PartyB": "174379",
        "PhoneNumber": "254708374149",
        "CallBackURL": f"https://sokoni.example/payments/stk/{TOKEN}",
        "AccountReference": "ABCD2345",
        "TransactionDesc": "Sokoni",
    }


_PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"


def test_the_password_is_that_of_safaricoms_test_vector() -> None:
    assert password("174379", _PASSKEY, "20160216165627") == (
        "MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZiNzJhZGExZWQy"
        "YzkxOTIwMTYwMjE2MTY1NjI3"
    )


@pytest.mark.parametrize("call", [push, query])
def test_f24_password_and_timestamp_are_of_one_instant(
    httpserver: HTTPServer, tokens, now, call, daraja_at
) -> None:
    daraja = daraja_at(httpserver.url_for(""))
    ticking = iter(now.replace(second=second) for second in range(1, 60))
    daraja._clock = lambda: next(ticking)
    httpserver.expect_request(PUSH).respond_with_json(ACK)
    httpserver.expect_request(QUERY).respond_with_json(
        {"ResponseCode": "0", "ResultCode": "0", "ResultDesc": "ok"}
    )
    call(daraja)
    sent = httpserver.log[-1][0].get_json()
    assert base64.b64decode(sent["Password"]).decode().endswith(sent["Timestamp"])


REFUSED = [
    (400, "400.002.02", "Bad Request - Invalid Amount"),
    (400, "400.002.05", "Invalid Request Payload"),
    (400, "400.003.02", "Bad Request"),
    (404, "404.001.01", "Resource not found"),
    (404, "404.002.01", "Resource not found"),
    (404, "404.003.01", "Resource not found"),
    (404, "404.001.04", "Invalid Authentication Header"),
    (405, "405.001", "Method Not Allowed"),
    (500, "500.001.1001", "Merchant does not exist"),
    (500, "500.001.1001", "Wrong credentials"),
    (500, "500.001.1001", "[MerchantValidate] - Wrong credentials"),
    (500, "500.001.1001", "Unable to lock subscriber, a transaction is already in process"),
    (500, "500.003.02", "Error Occurred: Spike Arrest Violation"),
    (429, "500.003.02", "System is busy. Please try again in few minutes."),
    (500, "500.003.03", "Error Occurred: Quota Violation"),
]
DOUBTFUL = [
    (500, "500.001.1001", "The transaction is being processed"),
    (500, "500.001.1001", "Some words nobody has heard before"),
    (500, "500.003.1001", "Internal Server Error"),
    (500, "500.002.1001", "Duplicate OriginatorConversationID."),
    (500, "599.999.99", "A code nobody has heard of"),
    (400, "499.999.99", "A code nobody has heard of"),
]


@pytest.mark.parametrize(("status", "code", "message"), REFUSED)
def test_a_refusal_before_acting_is_refused(
    httpserver: HTTPServer, daraja: Daraja, status: int, code: str, message: str
) -> None:
    httpserver.expect_request(PUSH).respond_with_json(envelope(code, message), status=status)
    answer = push(daraja)
    assert (answer.outcome, answer.code, answer.push_id) == ("refused", code, None)


@pytest.mark.parametrize(("status", "code", "message"), DOUBTFUL)
def test_an_error_that_proves_nothing_is_unknown(
    httpserver: HTTPServer, daraja: Daraja, status: int, code: str, message: str
) -> None:
    httpserver.expect_request(PUSH).respond_with_json(envelope(code, message), status=status)
    answer = push(daraja)
    assert (answer.outcome, answer.code) == ("unknown", code)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, "<html><body>Service Unavailable</body></html>"),
        (502, ""),
        (500, ""),
        (400, ""),
        (408, ""),
        (200, ""),
        (200, "<html>welcome</html>"),
        (200, "[]"),
        (200, "null"),
        (200, "{}"),
        (200, '{"ResponseCode":"0"}'),
        (200, '{"ResponseCode":0,"CheckoutRequestID":{"a":1}}'),
        (200, '{"ResponseCode":NaN,"CheckoutRequestID":"ws_CO_1"}'),
        (200, "[" * 50_000),
        (200, '{"ResponseCode":"' + "0" * 70_000 + '"}'),
        (302, ""),
        (204, ""),
    ],
)
def test_a_surprise_on_a_push_is_unknown(
    httpserver: HTTPServer, daraja: Daraja, status: int, body: str
) -> None:
    headers = {"Location": httpserver.url_for("/elsewhere")} if status == 302 else {}
    for path in (PUSH, QUERY):
        httpserver.expect_request(path).respond_with_data(body, status=status, headers=headers)
    assert push(daraja).outcome == "unknown"
    assert [request.path for request, _ in httpserver.log].count(PUSH) == 1
    with pytest.raises(Unavailable):
        query(daraja)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 413, 415, 429])
def test_a_status_that_nothing_behind_the_gateway_gives_is_refused(
    httpserver: HTTPServer, daraja: Daraja, status: int
) -> None:
    httpserver.expect_request(PUSH).respond_with_data("<html>no</html>", status=status)
    answer = push(daraja)
    assert (answer.outcome, answer.code) == ("refused", f"http_{status}")


@pytest.mark.parametrize("code", ["1", "17", 1, "SFC_IC0003"])
def test_an_ack_with_another_response_code_than_0_is_refused(
    httpserver: HTTPServer, daraja: Daraja, code: object
) -> None:
    httpserver.expect_request(PUSH).respond_with_json({**ACK, "ResponseCode": code})
    answer = push(daraja)
    assert (answer.outcome, answer.code) == ("refused", str(code))


def test_a_response_code_that_is_a_number_is_read_too(httpserver: HTTPServer, daraja) -> None:
    httpserver.expect_request(PUSH).respond_with_json({**ACK, "ResponseCode": 0})
    assert push(daraja).outcome == "accepted"


def test_an_answer_that_does_not_come_in_time_is_unknown(
    httpserver: HTTPServer, tokens, daraja_at
) -> None:
    daraja = daraja_at(httpserver.url_for(""), read_seconds=1)
    done = threading.Event()

    def hang(request: Request) -> Response:
        done.wait(10)
        return Response("{}")

    httpserver.expect_request(PUSH).respond_with_handler(hang)
    answer = push(daraja)
    done.set()
    assert (answer.outcome, answer.code) == ("unknown", "timeout")


def test_an_answer_that_trickles_for_ever_is_given_up(
    httpserver: HTTPServer, tokens, daraja_at
) -> None:
    daraja = daraja_at(httpserver.url_for(""), connect_seconds=1, read_seconds=1)

    def trickle(request: Request) -> Response:
        def pieces() -> Iterator[bytes]:
            for _ in range(40):
                yield b" " * 9000
                sleep(0.3)

        return Response(pieces(), content_type="application/json")

    httpserver.expect_request(PUSH).respond_with_handler(trickle)
    begun = monotonic()
    answer = push(daraja)
    assert (answer.outcome, answer.code) == ("unknown", "endless")
    assert monotonic() - begun < 9  # it would trickle for twelve


@pytest.fixture
def rude_server(daraja_at) -> Iterator[str]:
    """Gives a token, then reads each request and cuts the connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    if b"/oauth/" in connection.recv(65536):
                        body = b'{"access_token":"t","expires_in":"3599"}'
                        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
                        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_a_connection_cut_after_the_request_is_unknown(rude_server: str, daraja_at) -> None:
    daraja = daraja_at(rude_server)
    answer = push(daraja)
    assert (answer.outcome, answer.code) == ("unknown", "reset")
    with pytest.raises(Unavailable):
        query(daraja)


def test_a_push_that_found_nobody_listening_is_refused(
    httpserver: HTTPServer, daraja: Daraja
) -> None:
    daraja.prepare()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    daraja._account = type(daraja._account)(
        **{**daraja._account.__dict__, "base_url": f"http://127.0.0.1:{port}"}
    )
    answer = push(daraja)
    assert (answer.outcome, answer.code) == ("refused", "no_connection")


@pytest.mark.parametrize(
    ("status", "code"), [(404, "404.001.03"), (401, "401.002.01"), (400, "400.003.01")]
)
@pytest.mark.parametrize("call", [push, query])
def test_f17_a_token_replaced_elsewhere_is_refreshed_once_and_the_call_repeated_once(
    httpserver: HTTPServer, daraja: Daraja, tokens: list[str], status: int, code: str, call
) -> None:
    def handle(request: Request) -> Response:
        if request.headers["Authorization"] != "Bearer token-2":
            body, given = envelope(code, "Invalid Access Token"), status
        else:
            body, given = {**ACK, "ResultCode": "1032"}, 200
        return Response(json.dumps(body), given, content_type="application/json")

    httpserver.expect_request(PUSH).respond_with_handler(handle)
    httpserver.expect_request(QUERY).respond_with_handler(handle)
    answer = call(daraja)
    assert getattr(answer, "outcome", None) == "accepted" or answer.verdict == "failed"
    assert len(tokens) == 2
    assert len(httpserver.log) == 4


def test_f17_a_token_refused_twice_is_not_tried_a_third_time(
    httpserver: HTTPServer, daraja: Daraja, tokens: list[str]
) -> None:
    invalid = envelope("404.001.03", "Invalid Access Token")
    httpserver.expect_request(PUSH).respond_with_json(invalid, status=404)
    assert push(daraja).outcome == "refused"
    assert len(tokens) == 2
    assert [request.path for request, _ in httpserver.log].count(PUSH) == 2


def test_f17_many_threads_of_two_processes_settle_on_one_new_token(
    httpserver: HTTPServer, tokens: list[str], daraja_at, store
) -> None:
    """As at Safaricom, each new token ends the one before it."""

    def handle(request: Request) -> Response:
        if request.headers["Authorization"] != f"Bearer {tokens[-1]}":
            body, status = envelope("404.001.03", "Invalid Access Token"), 404
        else:
            body, status = ACK, 200
        return Response(json.dumps(body), status, content_type="application/json")

    httpserver.expect_request(PUSH).respond_with_handler(handle)
    processes = [daraja_at(httpserver.url_for(""), redis_url=store.url) for _ in range(2)]
    for each in processes:
        each.prepare()
    assert len(tokens) == 1
    tokens.append("minted by somebody else")
    with ThreadPoolExecutor(8) as pool:
        outcomes = [a.outcome for a in pool.map(push, processes * 8)]
    assert outcomes == ["accepted"] * 16
    assert len(tokens) == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, ""),
        (500, "<html>"),
        (200, "{}"),
        (200, '{"access_token":"with a\\nnew line","expires_in":"3599"}'),
        (200, '{"access_token":5,"expires_in":"3599"}'),
        (400, json.dumps(envelope("400.008.01", "Invalid Authentication passed"))),
    ],
)
def test_without_a_token_nothing_is_sent(
    httpserver: HTTPServer, daraja_at, status: int, body: str
) -> None:
    httpserver.expect_request("/oauth/v1/generate").respond_with_data(body, status=status)
    daraja = daraja_at(httpserver.url_for(""))
    with pytest.raises(Unavailable):
        daraja.prepare()
    answer = push(daraja)
    assert (answer.outcome, answer.code) == ("refused", "no_token")
    with pytest.raises(Unavailable):
        query(daraja)
    assert {request.path for request, _ in httpserver.log} == {"/oauth/v1/generate"}


@pytest.mark.parametrize("expires_in", ['"3599"', "3599", "3599.0"])
def test_a_life_given_as_number_or_text_is_understood(
    httpserver: HTTPServer, daraja_at, expires_in: str
) -> None:
    httpserver.expect_request("/oauth/v1/generate").respond_with_data(
        f'{{"access_token":"t","expires_in":{expires_in}}}'
    )
    assert daraja_at(httpserver.url_for(""))._fetch_token().seconds == 3599


FINAL = {
    "ResponseCode": "0",
    "ResponseDescription": "The service request has been accepted successfully",
    "MerchantRequestID": "22205-34066-1",
    "CheckoutRequestID": "ws_CO_170820261404032708374149",
}


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("0", "paid"),
        (0, "paid"),
        ("1032", "failed"),
        (1037, "failed"),
        ("SFC_IC0003", "failed"),
        ("BW-JMS-100039", "failed"),
        ("4999", "pending"),
        ("7777", "unknown"),
        ("", None),
        (None, None),
        (True, None),
    ],
)
def test_a_query_reads_the_result_code_and_not_the_response_code(
    httpserver: HTTPServer, daraja: Daraja, code: object, verdict: str | None
) -> None:
    httpserver.expect_request(QUERY).respond_with_json({**FINAL, "ResultCode": code})
    if verdict is None:
        with pytest.raises(Unavailable):
            query(daraja)
        return
    result = query(daraja)
    assert (result.source, result.verdict, result.code) == ("query", verdict, str(code))
    assert (result.amount_cents, result.receipt, result.msisdn) == (None, None, None)
    assert result.push_group_id == "22205-34066-1"
    sent = httpserver.log[-1][0].get_json()
    assert sent.keys() == {"BusinessShortCode", "Password", "Timestamp", "CheckoutRequestID"}


def test_f16_a_query_of_an_open_prompt_is_pending_in_the_form_of_an_error_too(
    httpserver: HTTPServer, daraja: Daraja
) -> None:
    body = envelope("500.001.1001", "The transaction is being processed")
    httpserver.expect_request(QUERY).respond_with_json(body, status=500)
    assert query(daraja).verdict == "pending"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, envelope("500.001.1001", "Wrong credentials")),
        (500, envelope("500.003.02", "Error Occurred: Spike Arrest Violation")),
        (400, envelope("400.002.02", "Bad Request - Invalid CheckoutRequestID")),
        (200, {"ResponseCode": "1", "ResultCode": "0"}),
        (200, {"ResponseCode": "0"}),
        (500, {"ResponseCode": "0", "ResultCode": "0"}),
    ],
)
def test_a_query_that_says_nothing_of_the_push_is_asked_again_later(
    httpserver: HTTPServer, daraja: Daraja, status: int, body: dict[str, str]
) -> None:
    httpserver.expect_request(QUERY).respond_with_json(body, status=status)
    with pytest.raises(Unavailable):
        query(daraja)


def test_a_code_never_seen_before_is_neither_paid_nor_failed() -> None:
    assert {verdict_of(code) for code in ("7777", "00", "-0", "", "O", "paid", "0.0")} == {
        "unknown"
    }


def test_neither_the_environments_proxy_nor_its_passwords_are_used(
    httpserver: HTTPServer, daraja: Daraja, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {httpserver.host} login thief password thief\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    httpserver.expect_request(PUSH).respond_with_json(ACK)
    assert push(daraja).outcome == "accepted"


@pytest.mark.parametrize(
    "wrong",
    [
        {"msisdn": "0708374149"},
        {"msisdn": "+447911123456"},
        {"amount_cents": 25_000_100},
        {"amount_cents": 150},
        {"amount_cents": 0},
        {"reference": "LONGERTHAN12C"},
        {"reference": "abc"},
        {"description": ""},
        {"description": "fourteen chars"},
        {"token": "0123"},
    ],
)
def test_what_daraja_would_refuse_is_our_own_mistake_and_not_sent(
    httpserver: HTTPServer, daraja: Daraja, wrong: dict[str, object]
) -> None:
    right = {
        "msisdn": "+254708374149",
        "amount_cents": 100,
        "reference": "ABCD2345",
        "description": "Sokoni",
        "token": TOKEN,
    }
    with pytest.raises(AssertionError) as raised:
        daraja.request_payment(**{**right, **wrong})
    assert "708374149" not in str(raised.value)
    assert httpserver.log == []


def test_nothing_personal_or_secret_is_logged_or_shown(
    httpserver: HTTPServer, daraja: Daraja, caplog, capsys
) -> None:
    caplog.set_level(logging.DEBUG, logger="payments")
    httpserver.expect_request(PUSH).respond_with_json(
        envelope("500.001.1001", "Unable to lock subscriber 254708374149"), status=500
    )
    httpserver.expect_request(QUERY).respond_with_json(FINAL | {"ResultCode": "0"})
    shown = f"{push(daraja)!r} {query(daraja)!r} {daraja._account!r}"
    shown += push(daraja).detail + caplog.text + "".join(capsys.readouterr())
    for secret in ("708374149", "token-1", TOKEN, "sandbox-consumer-secret", _PASSKEY):
        assert secret not in shown
