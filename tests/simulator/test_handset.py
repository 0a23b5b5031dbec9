"""A handset dials through Africa's Talking, as its captures show."""

import re
import threading

import pytest

from simulator.outbound import Answer, Unanswered
from tests.simulator.pretend import PAYER

EVENT_ORDER = [
    "durationInMillis", "phoneNumber", "errorMessage", "serviceCode", "lastAppResponse",
    "hopsMetadata", "hopsCount", "status", "sessionId", "cost", "date", "networkCode", "input",
]  # fmt: skip


@pytest.fixture
def dial(api):
    return lambda code="*384*7042#", number=PAYER: api.ok(
        "POST", "dial", {"number": number, "code": code}
    )


@pytest.fixture
def reply(api):
    return lambda view, text: api.ok("POST", "reply", {"session": view["session"], "text": text})


def hops(outside):
    return [call for call in outside.calls if not call.url.endswith("/events")]


def texts(outside) -> list[str]:
    return [call.form["text"] for call in hops(outside)]


def test_a_hop_is_sent_as_the_captures_show(outside, dial):
    outside.say("CON Karibu")
    view = dial()
    assert re.fullmatch(r"ATUid_[0-9a-f]{32}", view["session"])
    (hop,) = outside.calls
    assert hop.url.endswith("/channels/ussd/africastalking/sandbox-path-secret")
    assert hop.body == (
        b"phoneNumber=%2B254712345678&serviceCode=%2A384%2A7042%23&text=&sessionId="
        + view["session"].encode()
        + b"&networkCode=63902"
    )
    assert hop.headers == {
        "User-Agent": "at-ussd-api/1.0",
        "Accept-Encoding": "gzip",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_each_reply_is_added_to_the_text(outside, dial, reply):
    outside.say("CON a", "CON b", "CON c", "END d")
    view = dial()
    screens = [view, *(reply(view, text) for text in ("1", "1", "0"))]
    assert texts(outside) == ["", "1", "1*1", "1*1*0"]
    assert [(each["screen"], each["open"]) for each in screens] == [
        ("a", True), ("b", True), ("c", True), ("d", False),
    ]  # fmt: skip
    assert len({call.form["sessionId"] for call in hops(outside)}) == 1


@pytest.mark.parametrize(
    "text", ["", "*", "a*b", "#", "+1 & é", "x=y", "🍅", "مرحبا", "\x00", "%zz"]
)
def test_a_reply_arrives_as_it_was_typed(outside, dial, reply, text):
    outside.say("CON a", "CON b", "CON c")
    view = dial()
    reply(view, "1")
    reply(view, text)
    assert texts(outside)[-1] == "1*" + text


def test_spaces_come_form_encoded_and_stars_escaped(outside, dial, reply):
    outside.say("CON a", "CON b")
    reply(dial(), "2 kg*#+")
    assert b"text=2+kg%2A%23%2B&" in outside.calls[1].body


def test_a_lone_surrogate_goes_out_as_bytes_that_are_no_text(outside, dial, reply):
    outside.say("CON a", "CON b")
    reply(dial(), "\ud83c")
    assert b"text=%ED%A0%BC&" in outside.calls[1].body


def test_a_deep_dial_replies_in_advance(outside, dial, reply):
    outside.say("CON a", "CON b")
    view = dial("*384*7042*1*2#")
    reply(view, "3")
    assert texts(outside) == ["1*2", "1*2*3"]


@pytest.mark.parametrize("code", ["*100#", "*384*7042", "*384*70421#", "", "0712345678", "*384*#"])
def test_another_code_is_an_unknown_service(outside, dial, code):
    assert dial(code) == {"session": None, "screen": "Unknown service", "open": False}
    assert outside.calls == []


@pytest.mark.parametrize(
    ("network", "code"),
    [("safaricom", "63902"), ("airtel", "63903"), ("telkom", "63907"), ("equitel", "63999")],
)
def test_the_network_is_the_subscribers(outside, api, dial, network, code):
    api.ok("PUT", f"subscribers/{PAYER}", {"network": network})
    outside.say("END a")
    dial()
    assert outside.calls[0].form["networkCode"] == code


def test_a_foreign_number_can_dial(outside, dial):
    outside.say("END a")
    dial(number="+255712345678")
    assert outside.calls[0].form["phoneNumber"] == "+255712345678"
    assert outside.calls[0].form["networkCode"] == "99999"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, {}, ""), "neither CON nor END"),
        (Answer(200, {}, " CON a"), "neither CON nor END"),
        (Answer(200, {}, "con a"), "neither CON nor END"),
        (Answer(200, {}, "CONa"), "neither CON nor END"),
        (Answer(200, {}, "\ufeffCON a"), "neither CON nor END"),
        (Answer(404, {}, "CON a"), "HTTP 404"),
        (Answer(500, {}, "END a"), "HTTP 500"),
        (Answer(302, {}, "END a"), "HTTP 302"),
        (Unanswered("ReadTimeout"), "did not answer"),
    ],
)
def test_an_application_that_fails_ends_the_session(world, outside, api, dial, answer, error):
    def say(call):
        if isinstance(answer, Unanswered):
            raise answer
        return answer

    outside.answer = say
    view = dial()
    assert (view["screen"], view["open"]) == ("Network error. Try again later.", False)
    reply = api("POST", "reply", {"session": view["session"], "text": "1"})
    assert reply.status_code == 409
    world.advance(1)
    (event,) = outside.to("/events")
    assert event.form["status"] == "Failed"
    assert error in event.form["errorMessage"]
    assert event.form["lastAppResponse"] == getattr(answer, "text", "")


def test_the_end_notice_is_sent_as_the_capture_shows(world, outside, api, dial, reply):
    outside.say("CON a\nb", "END c")
    view = dial()
    world.advance(2)
    reply(view, "5")
    world.advance(1)
    (event,) = outside.to("/sandbox-path-secret/events")
    assert list(event.form) == EVENT_ORDER
    assert event.form == {
        "durationInMillis": "2000",
        "phoneNumber": PAYER,
        "errorMessage": "",
        "serviceCode": "*384*7042#",
        "lastAppResponse": "END c",
        "hopsMetadata": "",
        "hopsCount": "2",
        "status": "Success",
        "sessionId": view["session"],
        "cost": "0.00",
        "date": "2026-08-17 11:04:21",
        "networkCode": "63902",
        "input": "5",
    }


def test_hanging_up_is_told_by_the_notice_alone(world, outside, api, dial):
    outside.say("CON a\nb")
    view = dial()
    hung_up = api.ok("POST", "hangup", {"session": view["session"]})
    assert hung_up == {"session": view["session"], "screen": "", "open": False}
    world.advance(1)
    assert len(outside.calls) == 2
    (event,) = outside.to("/events")
    assert event.form["status"] == "Incomplete"
    assert b"lastAppResponse=CON+a%0Ab&" in event.body
    assert api("POST", "hangup", {"session": view["session"]}).status_code == 409


def test_dialling_again_ends_the_older_session(world, outside, dial, reply, api):
    outside.say("CON a", "CON b")
    older, newer = dial(), dial()
    assert older["session"] != newer["session"]
    answer = api("POST", "reply", {"session": older["session"], "text": "1"})
    assert answer.status_code == 409
    world.advance(1)
    (event,) = outside.to("/events")
    assert (event.form["sessionId"], event.form["status"]) == (older["session"], "Incomplete")


def test_a_session_ends_after_180_seconds(world, outside, api, dial, reply):
    outside.say("CON a", "CON b")
    view = dial()
    world.advance(179)
    assert reply(view, "1")["open"]
    world.advance(1)
    assert api("POST", "reply", {"session": view["session"], "text": "1"}).status_code == 409
    world.advance(1)
    assert [each.form["status"] for each in outside.to("/events")] == ["Incomplete"]


def test_an_idle_session_ends_by_the_rule_and_a_reply_starts_it_anew(
    world, outside, api, dial, reply
):
    api.rules(idle_seconds=30)
    outside.say("CON a", "CON b")
    view = dial()
    world.advance(29)
    reply(view, "1")
    world.advance(29)
    assert world.handsets.is_in_session(PAYER)
    world.advance(1)
    assert not world.handsets.is_in_session(PAYER)


def test_an_ended_session_is_known_for_an_hour_and_then_forgotten(world, outside, api, dial):
    outside.say("END a")
    body = {"session": dial()["session"], "text": "1"}
    world.advance(3599)
    assert api("POST", "reply", body).status_code == 409
    world.advance(1)
    assert api("POST", "reply", body).status_code == 404


def test_the_hop_label_is_sent_back_and_listed(world, outside, dial, reply):
    labels = iter(["home", "x" * 100, "a|b", "buy"])

    def answer(call):
        if call.url.endswith("/events"):
            return Answer(200, {}, "")
        return Answer(200, {"at-ussd-hop-metadata": next(labels)}, "CON a")

    outside.answer = answer
    view = dial()
    for text in "123":
        reply(view, text)
    seen = [call.headers.get("at-ussd-hop-metadata") for call in hops(outside)]
    assert seen == [None, "home", "home", "home"]
    world.advance(181)
    (event,) = outside.to("/events")
    assert event.form["hopsMetadata"] == "home|buy"


def test_a_hop_can_be_repeated(outside, api, dial, reply):
    api.rules(next_hop=[{}, {"hop_repeats": 3}])
    outside.say("CON a", "CON first", "CON second", "CON third", "CON c")
    view = dial()
    assert reply(view, "1")["screen"] == "first"
    reply(view, "2")
    assert texts(outside) == ["", "1", "1", "1", "1*2"]


def test_a_hop_can_be_repeated_at_the_same_instant(outside, api, dial):
    together = threading.Barrier(2)

    def answer(call):
        together.wait(timeout=60)
        return Answer(200, {}, "CON a")

    outside.answer = answer
    api.rules(next_hop=[{"hop_repeats": 2, "hop_together": True}])
    assert dial()["screen"] == "a"
    assert texts(outside) == ["", ""]


def test_an_answer_can_be_lost_after_the_hop_was_taken(outside, api, dial, reply):
    api.rules(next_hop=[{}, {"hop_lost": 1}])
    outside.say("CON a", "CON b")
    view = dial()
    assert reply(view, "1") == {
        "session": view["session"],
        "screen": "Network error. Try again later.",
        "open": False,
    }
    assert texts(outside) == ["", "1"]


def test_an_earlier_hop_can_come_again_late(outside, api, dial, reply):
    api.rules(next_hop=[{}, {}, {"hop_late": True}])
    outside.say("CON a", "CON b", "CON c", "CON b again")
    view = dial()
    reply(view, "1")
    assert reply(view, "2")["screen"] == "c"
    assert texts(outside) == ["", "1", "1*2", "1"]


def test_notices_can_come_before_anything_else_or_never(world, outside, api, dial):
    outside.say("CON a", "CON b", "CON c")
    api.rules(events="before")
    dial()
    dial()
    assert [call.url.rsplit("/", 1)[1] for call in outside.calls] == [
        "sandbox-path-secret", "events", "sandbox-path-secret",
    ]  # fmt: skip
    api.rules(events="never")
    dial()
    world.advance(300)
    assert len(outside.to("/events")) == 1


def test_a_session_that_is_hung_up_while_a_hop_is_on_its_way_stays_closed(outside, api, dial):
    def answer(call):
        if not call.url.endswith("/events"):
            api.ok("POST", "hangup", {"session": call.form["sessionId"]})
        return Answer(200, {}, "CON a")

    outside.answer = answer
    assert not dial()["open"]


def test_a_second_reply_waits_for_the_first_to_be_answered(outside, api, dial):
    seen = []

    def answer(call):
        if call.form["text"] == "1":
            body = {"session": call.form["sessionId"], "text": "2"}
            seen.append(api("POST", "reply", body).status_code)
        return Answer(200, {}, "CON a")

    outside.answer = answer
    view = dial()
    assert api.ok("POST", "reply", {"session": view["session"], "text": "1"})["open"]
    assert seen == [409]
    assert texts(outside) == ["", "1"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("dial", {"number": "nobody", "code": "*1#"}, 400),
        ("dial", {"number": PAYER}, 400),
        ("dial", {"number": PAYER, "code": 5}, 400),
        ("dial", {"number": PAYER, "code": "*" * 81}, 400),
        ("dial", {"number": PAYER, "code": "*1#", "more": 1}, 400),
        ("dial", [], 400),
        ("dial", None, 400),
        ("reply", {"session": "none", "text": "1"}, 404),
        ("reply", {"session": None, "text": "1"}, 400),
        ("hangup", {"session": "none"}, 404),
        ("nothing", {}, 404),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_in_json(api, outside, path, body, status):
    answer = api("POST", path, body)
    assert (answer.status_code, bool(answer.json["error"])) == (status, True)
    assert outside.calls == []


def test_a_reply_longer_than_the_network_takes_is_refused_and_the_session_stays(
    outside, api, dial, reply
):
    outside.say("CON a", "CON b")
    view = dial()
    body = {"session": view["session"], "text": "x" * 81}
    assert api("POST", "reply", body).status_code == 400
    assert reply(view, "x" * 80)["screen"] == "b"


@pytest.mark.parametrize("number", ["0712345678", "254712345678", "+254 712 345 678"])
def test_a_number_may_be_written_as_people_do(outside, dial, number):
    outside.say("END a")
    dial(number=number)
    assert outside.calls[0].form["phoneNumber"] == PAYER
