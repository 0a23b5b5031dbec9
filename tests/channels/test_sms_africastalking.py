"""SMS through Africa's Talking: what each answer of theirs proves, and their reports on ours."""

import io
import json
import random
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from africastalking.SMS import SMSService
from flask.testing import FlaskClient
from pytest_httpserver import HTTPServer
from werkzeug import Response

import logs
from channels.sms_africastalking import Account, AfricasTalking, connect
from core import messages, sendings
from core.database import Database
from core.errors import Unavailable
from core.sendings import SendAnswer
from settings import Settings
from simulator.server import Server, listen
from simulator.world import World
from tests.core.people import member

SEND = "/version1/messaging"
DELIVERY = "/channels/sms/africastalking/sandbox-path-secret/delivery"
AMINA = "+254711000001"
TEXT = "Order 1042: KSh 500. Weka PIN & ’ €"
ID = "ATXid_0123456789abcdef0123456789abcdef"


@pytest.fixture
def sender_at() -> Iterator[Callable[..., AfricasTalking]]:
    made: list[AfricasTalking] = []

    def make(base_url: str, sender: str | None = None, **other: Any) -> AfricasTalking:
        account = {"username": "sandbox", "api_key": "sandbox-api-key"}
        made.append(AfricasTalking(Account(base_url=base_url, **{**account, **other}), sender))
        return made[-1]

    yield make
    for sender in made:
        sender.close()


@pytest.fixture
def sender(httpserver: HTTPServer, sender_at: Callable[..., AfricasTalking]) -> AfricasTalking:
    return sender_at(httpserver.url_for("").rstrip("/"))


def recipient(code: int = 101, name: str = "Success", **other: Any) -> dict[str, Any]:
    accepted = code in (100, 101, 102)
    return {
        "number": AMINA,
        "status": name,
        "statusCode": code,
        "cost": "KES 0.8000" if accepted else "0",
        "messageId": ID if accepted else "None",
        **other,
    }


def told(*recipients: Any, message: str = "Sent to 1/1 Total Cost: KES 0.8000") -> dict[str, Any]:
    return {"SMSMessageData": {"Message": message, "Recipients": list(recipients)}}


def answers(httpserver: HTTPServer, body: Any, status: int = 201, **headers: str) -> None:
    httpserver.expect_request(SEND, method="POST").respond_with_data(
        body if isinstance(body, str) else json.dumps(body),
        status=status,
        content_type=headers.get("content_type", "application/json"),
    )


# What is sent.


def test_what_goes_out_is_what_the_sdk_itself_sends(
    httpserver: HTTPServer, sender_at: Callable[..., AfricasTalking]
) -> None:
    answers(httpserver, told(recipient()))
    base_url = httpserver.url_for("").rstrip("/")
    sdk = SMSService("sandbox", "sandbox-api-key")
    sdk._baseUrl = f"{base_url}/version1"
    sdk.send(TEXT, [AMINA], "SOKONI", enqueue=True)
    sender_at(base_url, sender="SOKONI").send(AMINA, TEXT)
    (theirs, _), (ours, _) = httpserver.log
    assert ours.form.to_dict() == theirs.form.to_dict()
    assert ours.form.to_dict() == {
        "username": "sandbox",
        "to": AMINA,
        "message": TEXT,
        "from": "SOKONI",
        "bulkSMSMode": "1",
        "enqueue": "1",
    }
    for name in ("apiKey", "Accept", "Content-Type", "User-Agent"):
        assert ours.headers[name] == theirs.headers[name]


def test_without_a_sender_of_our_own_none_is_named(
    httpserver: HTTPServer, sender: AfricasTalking
) -> None:
    answers(httpserver, told(recipient()))
    sender.send(AMINA, TEXT)
    ((request, _),) = httpserver.log
    assert "from" not in request.form


def test_two_messages_take_one_connection(sender_at: Callable[..., AfricasTalking]) -> None:
    body = json.dumps(told(recipient())).encode()
    head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def answer_two(listener: socket.socket) -> int:
        """Both requests come on the one connection that is taken; how many came."""
        connection, _ = listener.accept()
        connection.settimeout(5)
        with closing(connection):
            for _ in range(2):
                while not connection.recv(65536).endswith(b"enqueue=1"):
                    pass
                connection.sendall(head + body)
        return 2

    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
        ThreadPoolExecutor(1) as pool,
    ):
        answered = pool.submit(answer_two, listener)
        sender = sender_at(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert [sender.send(AMINA, TEXT).outcome for _ in range(2)] == ["accepted"] * 2
        assert answered.result(60) == 2


def test_the_machines_proxies_are_not_asked(
    httpserver: HTTPServer, sender: AfricasTalking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answers(httpserver, told(recipient()))
    assert sender.send(AMINA, TEXT).outcome == "accepted"


def test_the_settings_make_a_sender() -> None:
    made = connect(Settings(africastalking_base_url="https://api.example/", sokoni_env="test"))
    assert made._sdk._baseUrl == "https://api.example/version1"


def test_neither_key_nor_number_is_in_a_log_line(
    httpserver: HTTPServer, sender: AfricasTalking, said: io.StringIO
) -> None:
    answers(httpserver, "The supplied authentication is invalid", 401)
    logs.configure("DEBUG")
    answer = sender.send(AMINA, TEXT)
    shown = said.getvalue() + repr(answer) + repr(sender._sdk._account)
    assert AMINA[1:] not in shown
    assert "sandbox-api-key" not in shown


# What each answer proves.

ANSWERS = [
    pytest.param(told(recipient(100, "Processed")), "accepted", id="processed"),
    pytest.param(told(recipient()), "accepted", id="sent"),
    pytest.param(told(recipient(102)), "accepted", id="queued"),
    pytest.param(told(recipient(403, "InvalidPhoneNumber")), "refused", id="invalid number"),
    pytest.param(told(recipient(404, "UnsupportedNumberType")), "refused", id="landline"),
    pytest.param(told(recipient(406, "UserInBlacklist")), "refused", id="opted out"),
    pytest.param(told(recipient(407, "CouldNotRoute")), "refused", id="no route"),
    pytest.param(told(recipient(409, "DoNotDisturbRejection")), "refused", id="not disturbed"),
    pytest.param(told(recipient(500, "InternalServerError")), "later", id="their error"),
    pytest.param(told(recipient(501, "GatewayError")), "later", id="their gateway"),
    pytest.param(told(recipient(502, "RejectedByGateway")), "later", id="rejected"),
    pytest.param(told(recipient(401, "RiskHold")), "halts", id="risk"),
    pytest.param(told(recipient(402, "InvalidSenderId")), "halts", id="sender id"),
    pytest.param(told(recipient(405, "InsufficientBalance")), "halts", id="no balance"),
    pytest.param(told(message="InvalidSenderId"), "halts", id="nobody: sender id"),
    pytest.param(told(message=""), "halts", id="nobody: no reason"),
    pytest.param(told(recipient(599, "Odd")), "unknown", id="unknown code"),
    pytest.param(told(recipient(statusCode="101")), "unknown", id="no number for a code"),
    pytest.param(told(recipient(number="+254711000002")), "unknown", id="another number"),
    pytest.param(told("x"), "unknown", id="no recipient at all"),
    pytest.param({"SMSMessageData": []}, "unknown", id="another shape"),
    pytest.param([], "unknown", id="a list"),
    pytest.param("", "unknown", id="empty"),
    pytest.param("<html>", "unknown", id="html"),
    pytest.param("[" * 100_000, "unknown", id="too large"),
]


@pytest.mark.parametrize(("body", "means"), ANSWERS)
def test_an_answer_proves_this(
    httpserver: HTTPServer, sender: AfricasTalking, body: Any, means: str
) -> None:
    answers(httpserver, body)
    answer = sender.send(AMINA, TEXT)
    assert ("halts" if answer.halts else answer.outcome) == means
    assert (answer.provider_id is not None) == (means == "accepted")
    assert answer.code


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (400, "refused"),
        (401, "halts"),
        (403, "halts"),
        (404, "halts"),
        (405, "later"),
        (408, "unknown"),
        (413, "later"),
        (429, "later"),
        (302, "unknown"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "later"),
        (504, "unknown"),
    ],
)
def test_a_status_proves_this(
    httpserver: HTTPServer, sender: AfricasTalking, status: int, means: str
) -> None:
    answers(httpserver, told(recipient()), status)
    answer = sender.send(AMINA, TEXT)
    assert ("halts" if answer.halts else answer.outcome) == means
    assert answer.code == f"http_{status}"


def test_an_accepted_message_has_its_id_and_its_cost(
    httpserver: HTTPServer, sender: AfricasTalking
) -> None:
    others = [recipient(403, "InvalidPhoneNumber", number="+254711000002"), recipient()]
    answers(httpserver, told(*others))
    assert sender.send(AMINA, TEXT) == SendAnswer("accepted", "Success", ID, "KES 0.8000")


@pytest.mark.parametrize("given", ["None", "", None, "x" * 200, "two\nlines"])
def test_an_id_of_no_use_is_no_id(
    httpserver: HTTPServer, sender: AfricasTalking, given: str | None
) -> None:
    answers(httpserver, told(recipient(messageId=given)))
    assert sender.send(AMINA, TEXT).provider_id is None


def test_a_rejection_by_their_gateway_is_final_when_repeated(
    httpserver: HTTPServer, sender: AfricasTalking
) -> None:
    answers(httpserver, told(recipient(502, "RejectedByGateway")))
    assert sender.send(AMINA, TEXT).twice_is_final


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "text/plain", "application/xml"]
)
def test_the_content_type_changes_nothing(
    httpserver: HTTPServer, sender: AfricasTalking, content_type: str
) -> None:
    answers(httpserver, told(recipient()), content_type=content_type)
    assert sender.send(AMINA, TEXT).provider_id == ID


def test_a_number_the_sdk_does_not_take_is_refused_unsent(
    httpserver: HTTPServer, sender: AfricasTalking
) -> None:
    assert sender.send("0711000001", TEXT) == SendAnswer("refused", "InvalidPhoneNumber")
    assert httpserver.log == []


def test_where_nobody_listens_nothing_was_sent(sender_at: Callable[..., AfricasTalking]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    answer = sender_at(f"http://127.0.0.1:{port}").send(AMINA, TEXT)
    assert answer == SendAnswer("later", "no_connection")


def test_an_answer_that_trickles_without_end_is_left(
    httpserver: HTTPServer, sender: AfricasTalking
) -> None:
    httpserver.expect_request(SEND).respond_with_handler(
        lambda _request: Response((b" " * 8192 for _ in range(10_000)), 201)
    )
    assert sender.send(AMINA, TEXT) == SendAnswer("unknown", "endless")


# Several at once.

NJERI, OTIENO = "+254711000002", "+254711000003"


def test_the_same_words_to_several_are_one_call(
    httpserver: HTTPServer, sender: AfricasTalking
) -> None:
    answers(
        httpserver,
        told(
            recipient(403, "InvalidPhoneNumber", number=OTIENO),
            recipient(number=AMINA, messageId="ATXid_a"),
            recipient(102, number=NJERI, messageId="ATXid_b"),
        ),
    )
    said = sender.send_all([AMINA, NJERI, OTIENO], TEXT)
    ((request, _),) = httpserver.log
    assert request.form["to"] == f"{AMINA},{NJERI},{OTIENO}"
    assert {number: answer.outcome for number, answer in said.items()} == {
        AMINA: "accepted",
        NJERI: "accepted",
        OTIENO: "refused",
    }
    assert said[NJERI].provider_id == "ATXid_b"


@pytest.mark.parametrize(
    "others",
    [[], [recipient(number=NJERI), recipient(405, "InsufficientBalance", number=NJERI)]],
    ids=["left out", "told twice"],
)
def test_of_whom_nothing_certain_is_said_nobody_knows(
    httpserver: HTTPServer, sender: AfricasTalking, others: list[Any]
) -> None:
    answers(httpserver, told(recipient(), *others))
    said = sender.send_all([AMINA, NJERI], TEXT)
    assert (said[AMINA].outcome, said[NJERI].outcome) == ("accepted", "unknown")


@pytest.mark.parametrize("body", [told(message="InvalidSenderId"), "<html>"])
def test_what_is_said_of_all_is_said_of_each(
    httpserver: HTTPServer, sender: AfricasTalking, body: Any
) -> None:
    answers(httpserver, body)
    said = sender.send_all([AMINA, NJERI], TEXT)
    assert said[AMINA] == said[NJERI]
    assert said[AMINA].outcome != "accepted"


def test_one_number_the_sdk_does_not_take_keeps_nobody_else_waiting(
    httpserver: HTTPServer, sender: AfricasTalking
) -> None:
    answers(httpserver, told(recipient()))
    said = sender.send_all([AMINA, "0711000002", "+0", f"{NJERI}\n"], TEXT)
    ((request, _),) = httpserver.log
    assert request.form["to"] == AMINA
    assert [answer.outcome for answer in said.values()] == ["accepted", *["refused"] * 3]


# Against the pretend gateway.


@pytest.fixture
def world(now: datetime) -> World:
    return World(virtual_from=now, chance=random.Random(7042))


@pytest.fixture
def pretended(world: World, sender_at: Callable[..., AfricasTalking]) -> Iterator[AfricasTalking]:
    server = Server(world, listen("127.0.0.1", 0))
    server.start()
    yield sender_at(server.url)
    server.stop()


def test_a_message_reaches_the_phone_as_it_was_written(
    world: World, pretended: AfricasTalking
) -> None:
    answer = pretended.send(AMINA, TEXT)
    (message,) = world.sms.inbox(AMINA)
    assert (message.text, message.id) == (TEXT, answer.provider_id)


@pytest.mark.parametrize(
    ("fault", "means", "arrived"),
    [
        ({"fault": "unauthorized"}, "halts", 0),
        ({"fault": "no_recipients"}, "halts", 0),
        ({"fault": "too_many"}, "later", 0),
        ({"fault": "charset"}, "accepted", 1),
        ({"fault": "server_error"}, "unknown", 0),
        ({"fault": "server_error", "when": "after"}, "unknown", 1),
        ({"fault": "reset"}, "unknown", 0),
        ({"fault": "reset", "when": "after"}, "unknown", 1),
        ({"fault": "slow", "seconds": 2}, "unknown", 1),
    ],
)
def test_the_pretend_gateways_faults_are_taken_for_what_they_are(
    world: World, pretended: AfricasTalking, fault: dict[str, Any], means: str, arrived: int
) -> None:
    world.rulebook.change({"faults": [{**fault, "on": "sms", "times": 1}]})
    if fault["fault"] == "slow":
        pretended._sdk._account = replace(pretended._sdk._account, read_seconds=1)
    answer = pretended.send(AMINA, TEXT)
    assert ("halts" if answer.halts else answer.outcome) == means
    assert len(world.sms.inbox(AMINA)) == arrived


def test_the_pretend_gateways_mixed_codes_are_each_ones_own(
    world: World, pretended: AfricasTalking
) -> None:
    world.rulebook.change({"sms_codes": {AMINA: 406, "+254711000002": 405}})
    assert pretended.send(AMINA, TEXT).outcome == "refused"
    assert pretended.send("+254711000002", TEXT).halts
    assert pretended.send("+254711000003", TEXT).outcome == "accepted"


# Delivery reports.


@pytest.fixture
def sent(market: Database) -> Iterator[str]:
    """The gateway's id of a message of ours that it took."""
    with market.begin() as db:
        found = db.value("SELECT count(*) FROM messages")
        provider_id = f"ATXid_{found:032x}"
        now = market.clock()
        who = member(db, now, 7000 + found, "Zawadi")
        messages.of_member(db, "pin_changed", who, {}, now)
        message_id = db.value("SELECT id FROM messages WHERE member_id = %s", [who])
        claimed = sendings.claim(db, message_id, lambda *_: "*384*7042#", now)
        assert isinstance(claimed, sendings.Claimed)
        sendings.record(db, claimed, SendAnswer("accepted", "Success", provider_id), now)
    yield provider_id
    with market.begin() as db:
        db.run("UPDATE outbox SET done_at = due_at WHERE kind = 'sms'")


def state(market: Database, provider_id: str) -> tuple[str, str | None]:
    with market.begin() as db:
        return (
            db.value("SELECT state FROM messages WHERE provider_id = %s", [provider_id]),
            db.value("SELECT failure FROM messages WHERE provider_id = %s", [provider_id]),
        )


def report(client: FlaskClient, path: str = DELIVERY, **fields: str) -> int:
    form = {
        "phoneNumber": AMINA,
        "failureReason": "",
        "retryCount": "0",
        "networkCode": "63902",
        **fields,
    }
    return client.post(path, data=form).status_code


@pytest.mark.parametrize(
    ("status", "reason", "becomes"),
    [
        ("Success", "", ("delivered", None)),
        ("success", "", ("delivered", None)),
        ("Failed", "UserInBlackList", ("failed", "UserInBlackList")),
        ("Rejected", "", ("failed", "Rejected")),
        ("AbsentSubscriber", "", ("failed", "AbsentSubscriber")),
        ("Expired", "", ("failed", "Expired")),
        ("Sent", "", ("sent", None)),
        ("Submitted", "", ("sent", None)),
        ("Buffered", "", ("sent", None)),
        ("Levitating", "", ("sent", None)),
    ],
)
def test_a_report_takes_a_message_to_its_final_state(
    client: FlaskClient,
    market: Database,
    sent: str,
    status: str,
    reason: str,
    becomes: tuple[str, str | None],
) -> None:
    assert report(client, id=sent, status=status, failureReason=reason) == 200
    assert state(market, sent) == becomes


def test_reports_out_of_order_and_twice_change_nothing_more(
    client: FlaskClient, market: Database, sent: str
) -> None:
    for status in ("Success", "Sent", "Success", "Failed", "Buffered", "Levitating"):
        assert report(client, id=sent, status=status) == 200
    assert state(market, sent) == ("delivered", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "ATXid_nobody_sent_this", "status": "Success"},
        {"status": "Success"},
        {"id": "", "status": "Success"},
        {"id": "x" * 500, "status": "Success"},
        {"id": "nul\0", "status": "Success"},
        {"id": ID},
        {"id": ID, "status": "\0"},
        {},
    ],
)
def test_a_report_we_cannot_use_is_taken_quietly(
    client: FlaskClient, fields: dict[str, str]
) -> None:
    assert report(client, **fields) == 200


def test_a_report_as_long_as_a_book_is_not_read(client: FlaskClient) -> None:
    assert report(client, id=ID, status="Success", failureReason="x" * 100_000) == 413


@pytest.mark.parametrize("secret", ["wrong", "sandbox-path-secre", "%F0%9F%98%80"])
def test_a_wrong_secret_finds_nothing(
    client: FlaskClient, market: Database, sent: str, secret: str
) -> None:
    answer = client.post(DELIVERY.replace("sandbox-path-secret", secret), data={"id": sent})
    assert (answer.status_code, answer.data) == (404, b"")


def test_without_a_database_the_gateway_is_asked_to_come_again(
    client: FlaskClient, market: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("no connection")

    monkeypatch.setattr(Database, "begin", away)
    assert report(client, id=ID, status="Success") == 503
