"""Gateway faults: in front of the gateway that acts, or behind it."""

import random
import time

import pytest
import requests

from simulator.faults import Reset, Slow
from simulator.server import Server, listen
from simulator.world import Place, World
from tests.simulator.pretend import PAYER, START, Outside

PUSH = {"on": "push", "times": 1}


def pushes(world) -> int:
    return len(world.mpesa._pushes)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("fault", "status", "begins"),
    [
        ("spike", 500, '"errorCode": "500.003.02", "errorMessage": "Error Occurred: Spike Arrest'),
        ("quota", 500, '"errorCode": "500.003.03", "errorMessage": "Error Occurred: Quota Viol'),
        ("html_503", 503, "<html>"),
        ("empty_400", 400, ""),
        ("server_error", 500, ""),
        ("too_many", 429, ""),
    ],
)
def test_a_fault_replaces_the_answer_before_or_after_acting(
    world, shop, api, fault, when, status, begins
):
    api.rules(faults=[{"fault": fault, "when": when, **PUSH}])
    answer = shop.push()
    assert answer.status_code == status
    assert begins in answer.text if begins else answer.data == b""
    assert pushes(world) == (1 if when == "after" else 0)
    assert shop.push(PhoneNumber="254700000001").status_code == 200, "one time only"
    assert api.ok("GET", "rules")["faults"] == []


@pytest.mark.parametrize(("when", "count"), [("before", 0), ("after", 1)])
def test_a_connection_can_be_reset_before_or_after_acting(world, shop, api, when, count):
    api.rules(faults=[{"fault": "reset", "when": when, **PUSH}])
    with pytest.raises(Reset):
        shop.push()
    assert pushes(world) == count


def test_an_answer_can_be_slow_though_the_gateway_has_acted(world, shop, api):
    api.rules(faults=[{"fault": "slow", "seconds": 12, **PUSH}])
    with pytest.raises(Slow) as slow:
        shop.push()
    assert slow.value.seconds == 12
    assert pushes(world) == 1


def test_another_process_can_have_replaced_the_token(world, shop, api):
    api.rules(faults=[{"fault": "token_replaced", **PUSH}])
    assert shop.push().json["errorCode"] == "404.001.03"
    shop.token = shop.new_token()
    assert shop.push().status_code == 200


def test_a_fault_strikes_only_what_it_is_meant_on(world, shop, api):
    api.rules(faults=[{"fault": "html_503", "on": "query"}])
    ack = shop.accepted()
    assert shop.query(ack["CheckoutRequestID"]).status_code == 503
    assert shop.register().status_code == 200
    api.rules(faults=[{"fault": "html_503", "on": "push"}])
    assert shop.query(ack["CheckoutRequestID"]).json["errorCode"] == "500.001.1001"
    assert shop.push().status_code == 503


def test_a_fault_on_any_strikes_providers_but_never_the_json_calls(shop, api, web):
    api.rules(faults=[{"fault": "too_many"}])
    assert shop.push().status_code == 429
    assert web.post("/version1/messaging").status_code == 429
    assert api("GET", "rules").status_code == 200


def test_times_are_counted_down(shop, api):
    api.rules(faults=[{"fault": "spike", "on": "push", "times": 2}])
    assert [shop.push().status_code for _ in range(3)] == [500, 500, 200]


def test_a_fault_strikes_with_its_probability(shop, api):
    api.rules(faults=[{"fault": "too_many", "on": "register", "chance": 0.3}], seed=3)
    struck = sum(shop.register().status_code == 429 for _ in range(200))
    assert 40 < struck < 80


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "kept"),
    [
        ({"fault": "unauthorized"}, 401, "text/plain; charset=UTF-8", 0),
        ({"fault": "no_recipients"}, 201, "application/json", 0),
        ({"fault": "charset"}, 201, "application/json; charset=utf-8", 1),
        ({"fault": "server_error", "when": "after"}, 500, "text/plain; charset=utf-8", 1),
    ],
)
def test_sms_answers_can_be_odd(web, api, fault, status, content_type, kept):
    api.rules(faults=[{"on": "sms", **fault}])
    answer = web.post(
        "/version1/messaging",
        data={"username": "sandbox", "to": PAYER, "message": "Karibu"},
        headers={"apiKey": "sandbox-api-key"},
    )
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, content_type)
    if fault["fault"] == "no_recipients":
        assert answer.json == {"SMSMessageData": {"Message": "InvalidSenderId", "Recipients": []}}
    assert len(api.ok("GET", f"sms/{PAYER}")) == kept


@pytest.fixture
def served():
    """The world behind a real socket, its clock still virtual."""
    world = World(Place(), virtual_from=START, chance=random.Random(1), post=Outside())
    server = Server(world, listen("127.0.0.1", 0))
    server.start()
    yield server.url, world
    server.stop()


@pytest.mark.parametrize("when", ["before", "after"])
def test_over_a_socket_a_reset_is_a_reset(served, when):
    url, world = served
    world.rulebook.change({"faults": [{"fault": "reset", "when": when, "times": 1}]})
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        requests.post(url + "/version1/messaging", data={"message": "x"}, timeout=60)
    assert requests.get(url + "/simulator", timeout=60).status_code == 200


def test_over_a_socket_a_slow_answer_takes_its_time(served):
    url, world = served
    world.rulebook.change({"faults": [{"fault": "slow", "seconds": 0.3, "times": 1}]})
    began = time.monotonic()
    requests.post(url + "/version1/messaging", timeout=60)
    assert time.monotonic() - began >= 0.3
