"""The two other USSD gateways: Hubtel's JSON of the latest input, Advanta's growing query."""

import json
import random
import re

import pytest

from simulator.outbound import Answer
from simulator.world import Place, World
from tests.simulator.pretend import PAYER, START

LOST = {"screen": "Network error. Try again later.", "open": False}


@pytest.fixture
def dial(api):
    return lambda code, **given: api.ok("POST", "dial", {"number": PAYER, "code": code, **given})


@pytest.fixture
def reply(api):
    return lambda view, text: api.ok("POST", "reply", {"session": view["session"], "text": text})


class Hubtels:
    """An application that answers Hubtel, keeping a state; `changes` spoil the answer."""

    def __init__(self, **changes) -> None:
        self.changes = changes
        self.seen = []

    def __call__(self, call):
        asked = call.json
        self.seen.append(asked)
        answer = {
            "SessionId": asked["SessionId"],
            "Type": "release" if asked["Message"] == "0" else "response",
            "Message": f"screen {len(self.seen)}",
            "Label": "Sokoni",
            "DataType": "input",
            "FieldType": "text",
            "ClientState": f"state {len(self.seen)}",
        } | self.changes
        body = json.dumps({name: value for name, value in answer.items() if value is not ...})
        return Answer(200, {}, body)


@pytest.fixture
def hubtel(outside):
    outside.answer = application = Hubtels()
    return application


def fields(seen, *names):
    return [tuple(each[name] for name in names) for each in seen]


def test_hubtel_sends_the_dialled_code_first_and_then_the_newest_reply_alone(
    outside, hubtel, dial, reply
):
    view = dial("*713*21#")
    assert re.fullmatch("[0-9a-f]{32}", view["session"])
    assert hubtel.seen[0] == {
        "Type": "Initiation", "Mobile": "254712345678", "SessionId": view["session"],
        "ServiceCode": "713", "Message": "*713*21#", "Operator": "vodafone", "Sequence": 1,
        "ClientState": "", "Platform": "USSD",
    }  # fmt: skip
    (call,) = outside.calls
    assert call.url == "http://127.0.0.1:8000/channels/ussd/hubtel/sandbox-hubtel-secret"
    assert (call.method, call.headers["Content-Type"]) == ("POST", "application/json")
    assert reply(view, "1") == {"session": view["session"], "screen": "screen 2", "open": True}
    assert reply(view, "0")["open"] is False
    assert fields(hubtel.seen[1:], "Type", "Message", "Sequence", "ClientState") == [
        ("Response", "1", 2, "state 1"), ("Response", "0", 3, "state 2"),
    ]  # fmt: skip


def test_hubtel_names_the_shared_code_alone(outside, hubtel):
    place = Place(hubtel_service_code="713*9597")
    world = World(place, virtual_from=START, chance=random.Random(7), post=outside)
    world.handsets.dial(PAYER, "*713*9597*1#")
    world.stop()
    assert fields(hubtel.seen, "ServiceCode", "Message") == [("713", "*713*9597*1#")]


def test_hubtel_gives_a_state_back_once(hubtel, dial, reply):
    view = dial("*713#")
    hubtel.changes = {"ClientState": ...}
    reply(view, "1")
    reply(view, "2")
    assert [state for (state,) in fields(hubtel.seen, "ClientState")] == ["", "state 1", ""]


@pytest.mark.parametrize(
    ("network", "operator"),
    [("safaricom", "vodafone"), ("airtel", "airtel"), ("telkom", "tigo"), ("equitel", "mtn")],
)
def test_hubtel_knows_operators_by_its_own_names(hubtel, api, dial, network, operator):
    api.ok("PUT", f"subscribers/{PAYER}", {"network": network})
    dial("*713#")
    assert hubtel.seen[0]["Operator"] == operator


@pytest.mark.parametrize(
    "changes",
    [
        {name: ...} for name in
        ("SessionId", "Type", "Message", "Label", "DataType", "FieldType")
    ]
    + [
        {"SessionId": "another"}, {"Type": "Response"}, {"Message": 5}, {"DataType": "list"},
        {"FieldType": "pin"}, {"Label": None},
    ],
)  # fmt: skip
def test_an_answer_hubtel_cannot_read_shows_an_error_and_ends(outside, world, dial, changes):
    outside.answer = Hubtels(**changes)
    view = dial("*713#")
    assert (view["screen"], view["open"]) == ("UUE", False)
    world.advance(10)
    assert len(outside.calls) == 1, "what has failed is not told"


@pytest.mark.parametrize(
    "answer", [Answer(500, {}, "{}"), Answer(200, {}, ""), Answer(200, {}, "[]")]
)
def test_no_json_object_with_200_shows_the_error_too(outside, dial, answer):
    outside.answer = lambda call: answer
    assert dial("*713#")["screen"] == "UUE"


def test_hanging_up_and_redialling_are_told_by_a_timeout(world, outside, hubtel, api, dial, reply):
    view = dial("*713#")
    reply(view, "1")
    api.ok("POST", "hangup", {"session": view["session"]})
    world.advance(1)
    assert fields(hubtel.seen[-1:], "Type", "Message", "Sequence", "ClientState") == [
        ("Timeout", "", 3, "state 2")
    ]
    first = dial("*713#")["session"]
    outside.answer = lambda call: (
        Answer(200, {}, "END x") if b"ATUid" in call.body else hubtel(call)
    )
    dial("*384*7042#")
    world.advance(1)
    assert hubtel.seen[-1]["SessionId"] == first
    assert hubtel.seen[-1]["Type"] == "Timeout"


def test_a_session_hubtel_saw_released_is_told_of_no_more(world, hubtel, dial, reply):
    reply(dial("*713#"), "0")
    world.advance(300)
    assert len(hubtel.seen) == 2


def test_advanta_asks_with_the_whole_input_behind_the_code(outside, dial, reply):
    outside.answer = lambda call: Answer(200, {}, "CON Karibu")
    view = dial("*415*33*1#")
    (call,) = outside.calls
    url, _, _ = call.url.partition("?")
    assert url == "http://127.0.0.1:8000/channels/ussd/advanta/sandbox-advanta-secret"
    assert (call.method, call.body) == ("GET", b"")
    assert call.query == {
        "SESSIONID": view["session"], "USSDCODE": "*415#", "MSISDN": "254712345678",
        "INPUT": "*415*33*1#",
    }  # fmt: skip
    assert "INPUT=%2A415%2A33%2A1%23" in call.url
    reply(view, "2 kg + & é*")
    assert outside.calls[-1].query["INPUT"] == "*415*33*1*2 kg + & é*#"
    assert view["session"].isdecimal()


def test_advanta_may_leave_the_hash_where_it_was_dialled(outside, api, dial, reply):
    api.rules(advanta_hash="dialled")
    outside.answer = lambda call: Answer(200, {}, "CON Karibu")
    view = dial("*415*33*1#")
    reply(view, "2")
    reply(view, "3")
    assert [call.query["INPUT"] for call in outside.calls] == [
        "*415*33*1#", "*415*33*1#*2", "*415*33*1#*2*3",
    ]  # fmt: skip


def test_advanta_tells_nobody_of_an_end(world, outside, api, dial):
    outside.answer = lambda call: Answer(200, {}, "CON Karibu")
    api.ok("POST", "hangup", {"session": dial("*415*33#")["session"]})
    dial("*415*33#")
    world.advance(300)
    assert len(outside.calls) == 2


@pytest.mark.parametrize("text", ["Karibu", "", "con x"])
def test_advanta_takes_con_and_end_alone(outside, dial, text):
    outside.answer = lambda call: Answer(200, {}, text)
    assert dial("*415*33#").items() >= LOST.items()


@pytest.mark.parametrize(
    ("code", "gateway", "path"),
    [
        ("*384*7042#", None, "africastalking"), ("*713#", None, "hubtel"),
        ("*415*33#", None, "advanta"), ("*713#", "hubtel", "hubtel"),
    ],
)  # fmt: skip
def test_a_code_finds_its_gateway(outside, dial, code, gateway, path):
    dial(code, gateway=gateway)
    assert f"/channels/ussd/{path}/" in outside.calls[0].url


@pytest.mark.parametrize(
    ("code", "gateway"),
    [("*384*7042#", "hubtel"), ("*713#", "advanta"), ("*415#", "advanta"), ("*415*34#", None)],
)
def test_a_code_of_another_gateway_is_an_unknown_service(outside, dial, code, gateway):
    assert dial(code, gateway=gateway)["screen"] == "Unknown service"
    assert outside.calls == []


def test_an_unknown_gateway_is_refused(api):
    answer = api("POST", "dial", {"number": PAYER, "code": "*713#", "gateway": "pigeon"})
    assert (answer.status_code, answer.json["error"]) == (
        400, "gateway: one of africastalking, hubtel, advanta",
    )  # fmt: skip


@pytest.mark.parametrize("code", ["*713#", "*415*33#"])
def test_hops_can_be_repeated_come_late_or_lose_their_answer_there_too(
    outside, api, dial, reply, code
):
    hubtel = Hubtels()
    outside.answer = lambda call: hubtel(call) if call.body else Answer(200, {}, "CON x")
    api.rules(next_hop=[{"hop_repeats": 2, "hop_together": True}, {"hop_late": True},
                        {"hop_lost": 1}])  # fmt: skip
    view = dial(code)
    first, again = outside.calls
    assert (first.url, first.body) == (again.url, again.body)
    reply(view, "1")
    *_, hop, late = outside.calls
    assert (late.url, late.body) == (first.url, first.body) != (hop.url, hop.body)
    assert reply(view, "2").items() >= LOST.items()
