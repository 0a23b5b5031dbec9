"""The doors M-Pesa knocks at: what is answered at once, and what is kept for later."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core import charges
from core.database import Database
from payments import callbacks
from tests.core.market import RULES, Purchase, open_market, purchase, pushed

SECRET = "a-secret-path"
PAYLOADS = Path(__file__).parent.parent / "payloads" / "daraja"
PAID = (PAYLOADS / "stk_paid.json").read_bytes()
CONFIRMATION = (PAYLOADS / "c2b_confirmation.json").read_bytes()
JSON = {"content_type": "application/json"}


def client_of(database: Database) -> FlaskClient:
    app = Flask("callbacks")
    app.register_blueprint(callbacks.blueprint(database, c2b_secret=SECRET))
    return app.test_client()


@pytest.fixture(scope="module")
def shop(new_database: Callable[[], Any]) -> Iterator[tuple[Database, Purchase]]:
    """One database for all tests here: each leaves it as it was."""
    now = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    with new_database() as url:
        database = Database(url, clock=lambda: now, random=random.Random(7042))
        with database.begin() as db:
            bought = pushed(db, purchase(db, open_market(db, now), now), now)
            db.run("DELETE FROM outbox")
        yield database, bought
        database.close()


@pytest.fixture
def database(shop: tuple[Database, Purchase]) -> Iterator[Database]:
    database, _ = shop
    yield database
    with database.begin() as db:
        db.run("DELETE FROM inbox")
        db.run("DELETE FROM outbox")
        db.run("UPDATE charges SET state = 'pending'")
        db.run("UPDATE checkouts SET state = 'placed'")


@pytest.fixture
def client(database: Database) -> FlaskClient:
    return client_of(database)


@pytest.fixture
def bought(shop: tuple[Database, Purchase]) -> Purchase:
    return shop[1]


@pytest.fixture
def away() -> Iterator[FlaskClient]:
    """Our doors with no database behind them."""
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing")
    yield client_of(nowhere)
    nowhere.close()


def path_of(bought: Purchase) -> str:
    return f"/payments/stk/{charges._token(bought.charge_id, RULES)}"


def kept(database: Database) -> list[bytes]:
    with database.begin() as db:
        found = db.value("SELECT array_agg(body ORDER BY received_at, id) FROM inbox")
    return found or []


def waiting(database: Database) -> int:
    with database.begin() as db:
        found: int = db.value("SELECT count(*) FROM outbox WHERE kind = 'settle_inbox'")
    return found


def test_a_callback_is_kept_as_it_came_and_answered_at_once(
    client: FlaskClient, database: Database, bought: Purchase
) -> None:
    answer = client.post(path_of(bought), data=PAID, **JSON)
    assert (answer.status_code, answer.get_json()) == (
        200,
        {"ResultCode": 0, "ResultDesc": "Accepted"},
    )
    assert kept(database) == [PAID]
    assert waiting(database) == 1
    with database.begin() as db:
        assert db.value("SELECT state FROM charges") == "pending"  # read later, not here
        assert db.value("SELECT headers ->> 'Content-Type' FROM inbox") == "application/json"
        assert db.value("SELECT peer FROM inbox") == "127.0.0.1"
        assert db.value("SELECT key FROM inbox") == str(bought.charge_id)


def test_a_repeated_callback_is_answered_alike_and_kept_once(
    client: FlaskClient, database: Database, bought: Purchase
) -> None:
    for _ in range(3):
        assert client.post(path_of(bought), data=PAID, **JSON).status_code == 200
    assert kept(database) == [PAID]
    assert waiting(database) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad gateway</html>", b"\x00\xff\x00", b"[" * 65_000, "😀\u202e".encode()],
    ids=["empty", "html", "NUL", "deep", "emoji"],
)
def test_whatever_comes_to_a_right_path_is_kept_byte_by_byte(
    client: FlaskClient, database: Database, bought: Purchase, body: bytes
) -> None:
    assert client.post(path_of(bought), data=body).status_code == 200
    assert kept(database) == [body]


def test_a_body_as_a_form_is_kept_too(
    client: FlaskClient, database: Database, bought: Purchase
) -> None:
    assert client.post(path_of(bought), data={"ResultCode": "0"}).status_code == 200
    assert kept(database) == [b"ResultCode=0"]


@pytest.mark.parametrize(
    "token",
    [
        "0" * 32,
        "0" * 31,
        "0" * 33,
        "G" * 32,
        "ABCDEF0123456789ABCDEF0123456789",
        "%00" * 32,
        "%ff" * 32,
        "../" * 8,
        "' OR 1=1 --",
        "0" * 32 + "/",
        "0" * 32 + "%0a",
    ],
)
def test_a_wrong_token_is_404_with_an_empty_body_and_keeps_nothing(
    client: FlaskClient, database: Database, bought: Purchase, token: str
) -> None:
    answer = client.post(f"/payments/stk/{token}", data=PAID, **JSON)
    assert answer.status_code == 404
    if "/" not in token:
        assert answer.data == b""
    assert kept(database) == []


@pytest.mark.parametrize("door", ["validation", "confirmation"])
@pytest.mark.parametrize(
    "secret", ["wrong", SECRET + "x", SECRET[:-1], "%00", "%f0%9f%98%80", "%ff"]
)
def test_a_wrong_secret_is_404_with_an_empty_body_and_keeps_nothing(
    client: FlaskClient, database: Database, door: str, secret: str
) -> None:
    answer = client.post(f"/payments/c2b/{secret}/{door}", data=CONFIRMATION, **JSON)
    assert (answer.status_code, answer.data) == (404, b"")
    assert kept(database) == []


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_another_method_than_post_is_refused(
    client: FlaskClient, bought: Purchase, method: str
) -> None:
    for path in (path_of(bought), f"/payments/c2b/{SECRET}/confirmation"):
        assert getattr(client, method)(path).status_code == 405


def test_a_body_far_larger_than_any_of_mpesas_is_413(
    client: FlaskClient, database: Database, bought: Purchase
) -> None:
    body = b" " * (callbacks.BODY_BYTES_MAX + 1)
    for path in (path_of(bought), f"/payments/c2b/{SECRET}/confirmation"):
        answer = client.post(path, data=body)
        assert (answer.status_code, answer.data) == (413, b"")
    assert kept(database) == []


def test_a_confirmation_is_kept_under_its_receipt(client: FlaskClient, database: Database) -> None:
    for _ in range(2):
        answer = client.post(f"/payments/c2b/{SECRET}/confirmation", data=CONFIRMATION, **JSON)
        assert (answer.status_code, answer.get_json()) == (
            200,
            {"ResultCode": 0, "ResultDesc": "Success"},
        )
    assert kept(database) == [CONFIRMATION]
    with database.begin() as db:
        assert db.value("SELECT key FROM inbox") == "RKL51ZDR4F"


def test_a_confirmation_nobody_can_read_is_kept_all_the_same(
    client: FlaskClient, database: Database
) -> None:
    path = f"/payments/c2b/{SECRET}/confirmation"
    beyond = b'{"TransID":"RKL51ZDR4F","OrgAccountBalance":1E99999999999999999999}'
    for body in (b"<html>", beyond):
        assert client.post(path, data=body).status_code == 200
    assert sorted(kept(database)) == [b"<html>", beyond]


def test_headers_that_could_open_a_door_are_not_kept(
    client: FlaskClient, database: Database, bought: Purchase
) -> None:
    headers = {"Authorization": "Basic c2VjcmV0", "Cookie": "session=secret", "X-Other": "kept"}
    client.post(path_of(bought), data=PAID, headers=headers)
    with database.begin() as db:
        stored = db.value("SELECT headers::text FROM inbox")
    assert "kept" in stored
    assert "secret" not in stored
    assert "c2VjcmV0" not in stored


@pytest.mark.parametrize(
    "path", ["/payments/stk/" + "0" * 32, f"/payments/c2b/{SECRET}/confirmation"]
)
def test_with_the_database_away_mpesa_is_asked_to_come_again(away: FlaskClient, path: str) -> None:
    begun = monotonic()
    answer = away.post(path, data=PAID, **JSON)
    assert (answer.status_code, answer.data) == (503, b"")
    assert monotonic() - begun < 5


def validation(client: FlaskClient, **fields: object) -> str:
    body = {**json.loads(CONFIRMATION), **fields}
    answer = client.post(f"/payments/c2b/{SECRET}/validation", data=json.dumps(body), **JSON)
    assert answer.status_code == 200
    code = answer.get_json()["ResultCode"]
    assert isinstance(code, str)
    return code


def test_a_payment_by_hand_for_an_open_charge_is_welcome(
    client: FlaskClient, bought: Purchase
) -> None:
    assert validation(client, BillRefNumber=bought.reference, TransAmount="681.00") == "0"


@pytest.mark.parametrize("typed", [str.lower, lambda r: f" {r[:4]}-{r[4:]} ", lambda r: f"{r}."])
def test_an_account_is_understood_however_it_was_typed(
    client: FlaskClient, bought: Purchase, typed: Callable[[str], str]
) -> None:
    assert validation(client, BillRefNumber=typed(bought.reference), TransAmount=1) == "0"


@pytest.mark.parametrize("account", ["NOBODY", "", None, 5, [], "A\x00B", "x" * 10_000, "' OR 1=1"])
def test_a_payment_for_an_unknown_account_is_rejected(
    client: FlaskClient, bought: Purchase, account: object
) -> None:
    assert validation(client, BillRefNumber=account) == "C2B00012"


@pytest.mark.parametrize("amount", ["0", "-1", "5.50", "250001", "many", "", None, [], 1e300])
def test_a_payment_of_no_sane_amount_is_rejected(
    client: FlaskClient, bought: Purchase, amount: object
) -> None:
    code = validation(client, BillRefNumber=bought.reference, TransAmount=amount)
    assert code == "C2B00013"


def test_a_payment_for_a_charge_that_was_paid_is_rejected(
    client: FlaskClient, database: Database, bought: Purchase
) -> None:
    with database.begin() as db:
        db.run("UPDATE charges SET state = 'paid'")
        db.run("UPDATE checkouts SET state = 'paid'")
    assert validation(client, BillRefNumber=bought.reference, TransAmount="681") == "C2B00012"


def test_a_payment_for_a_part_that_was_paid_is_welcome_while_the_rest_is_missing(
    client: FlaskClient, database: Database, bought: Purchase
) -> None:
    with database.begin() as db:
        db.run("UPDATE charges SET state = 'paid'")
    assert validation(client, BillRefNumber=bought.reference, TransAmount="81") == "0"


@pytest.mark.parametrize("state", ["expired", "cancelled"])
def test_a_payment_for_what_is_closed_is_rejected(
    client: FlaskClient, database: Database, bought: Purchase, state: str
) -> None:
    with database.begin() as db:
        db.run("UPDATE charges SET state = 'failed'")
        db.run("UPDATE checkouts SET state = %s", [state])
    assert validation(client, BillRefNumber=bought.reference, TransAmount="681") == "C2B00012"


def test_a_validation_keeps_nothing_and_moves_nothing(
    client: FlaskClient, database: Database, bought: Purchase
) -> None:
    validation(client, BillRefNumber=bought.reference, TransAmount="681")
    assert kept(database) == []
    with database.begin() as db:
        assert db.value("SELECT count(*) FROM transfers") == 0


def test_with_the_database_away_a_payment_is_accepted_for_its_confirmation_will_come(
    away: FlaskClient,
) -> None:
    assert validation(away) == "0"


def test_a_validation_nobody_can_read_is_rejected(client: FlaskClient) -> None:
    answer = client.post(f"/payments/c2b/{SECRET}/validation", data=b"<html>")
    assert answer.get_json()["ResultCode"] == "C2B00012"
