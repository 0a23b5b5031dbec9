"""Text messages through Africa's Talking, and the odd answers it is known for."""

import re

import pytest

from simulator.outbound import Answer
from simulator.sms import parts
from tests.simulator.pretend import PAYER

FORM = {"username": "sandbox", "to": PAYER, "message": "Karibu", "bulkSMSMode": "1"}


@pytest.fixture
def send(web):
    def send(headers=None, **changes):
        return web.post(
            "/version1/messaging",
            data=FORM | changes,
            headers={"apiKey": "sandbox-api-key", "Accept": "application/json"} | (headers or {}),
        )

    return send


def test_an_accepted_message_is_answered_201_with_the_recipient(send):
    answer = send()
    assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/json")
    (recipient,) = answer.json["SMSMessageData"]["Recipients"]
    assert re.fullmatch(r"ATXid_[0-9a-f]{32}", recipient.pop("messageId"))
    assert recipient == {
        "number": PAYER, "status": "Success", "statusCode": 101, "cost": "KES 0.8000",
    }  # fmt: skip
    message = answer.json["SMSMessageData"]["Message"]
    assert message == "Sent to 1/1 Total Cost: KES 0.8000 Message parts: 1"


def test_an_enqueued_message_is_queued(send):
    (recipient,) = send(enqueue="1").json["SMSMessageData"]["Recipients"]
    assert (recipient["status"], recipient["statusCode"]) == ("Success", 102)


def test_each_number_has_its_own_fate(send, api):
    api.rules(sms_codes={"+254700000001": 405})
    to = f"{PAYER},0712345678,+254700000001,nobody"
    said = send(to=to).json["SMSMessageData"]
    codes = [(each["number"], each["statusCode"]) for each in said["Recipients"]]
    assert codes == [
        (PAYER, 101), ("0712345678", 403), ("+254700000001", 405), ("nobody", 403),
    ]  # fmt: skip
    assert said["Recipients"][1] == {
        "number": "0712345678", "status": "InvalidPhoneNumber", "statusCode": 403,
        "cost": "0", "messageId": "None",
    }  # fmt: skip
    assert said["Message"].startswith("Sent to 1/4 ")
    assert api.ok("GET", "sms/+254700000001") == []


def test_the_phone_holds_what_was_sent_newest_last(world, send, api):
    send(message="one", **{"from": "SOKONI"})
    world.advance(60)
    send(message="two\nlines, é")
    assert api.ok("GET", f"sms/{PAYER}") == [
        {
            "from": "SOKONI",
            "text": "one",
            "at": "2026-08-17T11:04:19.250000+00:00",
            "status": "Success",
        },
        {
            "from": "AFRICASTKNG",
            "text": "two\nlines, é",
            "at": "2026-08-17T11:05:19.250000+00:00",
            "status": "Sent",
        },
    ]


@pytest.mark.parametrize(
    ("headers", "changes"),
    [({"apiKey": "wrong"}, {}), ({"apiKey": ""}, {}), ({}, {"username": "x"})],
)
def test_wrong_credentials_get_401_in_plain_text(send, api, headers, changes):
    answer = send(headers, **changes)
    assert (answer.status_code, answer.text) == (401, "The supplied authentication is invalid")
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert api.ok("GET", f"sms/{PAYER}") == []


@pytest.mark.parametrize("field", ["to", "message"])
def test_a_sending_without_its_fields_is_refused(send, field):
    assert send(**{field: ""}).status_code == 400


def test_the_delivery_report_follows_in_the_captured_order(world, send, outside):
    message_id = send().json["SMSMessageData"]["Recipients"][0]["messageId"]
    world.advance(3)
    (report,) = outside.to("/channels/sms/africastalking/sandbox-path-secret/delivery")
    assert list(report.form.items()) == [
        ("phoneNumber", PAYER), ("failureReason", ""), ("retryCount", "0"), ("id", message_id),
        ("status", "Success"), ("networkCode", "63902"),
    ]  # fmt: skip


def test_a_delivery_can_fail_or_never_be_reported(world, send, api, outside):
    api.rules(sms_report="Failed")
    send()
    world.advance(3)
    (report,) = outside.to("/delivery")
    assert (report.form["status"], report.form["failureReason"]) == ("Failed", "DeliveryFailure")
    assert api.ok("GET", f"sms/{PAYER}")[0]["status"] == "Failed"
    api.rules(sms_report=None)
    send()
    world.advance(600)
    assert len(outside.to("/delivery")) == 1


@pytest.mark.parametrize(
    ("form", "date"), [("iso", "2026-08-17T11:04:19Z"), ("space", "2026-08-17 11:04:19")]
)
def test_a_person_writes_to_the_short_code(world, api, outside, form, date):
    api.rules(sms_date=form)
    said = api.ok("POST", "sms", {"from": PAYER, "to": "22384", "text": "STATUS 1042"})
    world.advance(0)
    (call,) = outside.to("/channels/sms/africastalking/sandbox-path-secret/incoming")
    assert call.form == {
        "date": date, "from": PAYER, "id": said["id"], "linkId": "", "text": "STATUS 1042",
        "to": "22384", "networkCode": "63902", "cost": "KES 0.0000",
    }  # fmt: skip


def test_an_incoming_message_is_repeated_each_minute_until_200(world, api, outside):
    outside.answer = lambda call: Answer(500 if len(outside.calls) < 3 else 200, {}, "")
    api.ok("POST", "sms", {"from": PAYER, "to": "22384", "text": "HELP"})
    world.advance(600)
    assert [call.seconds for call in outside.calls] == [0, 60, 120]
    assert len({call.body for call in outside.calls}) == 1


def test_a_message_nobody_takes_is_given_up_after_twelve_hours(world, api, outside):
    api.rules(sms_again_seconds=3600)
    outside.be_silent()
    api.ok("POST", "sms", {"from": PAYER, "to": "22384", "text": "HELP"})
    world.advance(48 * 3600)
    assert [call.seconds / 3600 for call in outside.calls] == list(range(13))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1), ("x" * 160, 1), ("x" * 161, 2), ("x" * 306, 2), ("x" * 307, 3),
        ("€" * 80, 1), ("€" * 81, 2), ("ҝ" * 70, 1), ("ҝ" * 71, 2), ("🍅" * 35, 1), ("🍅" * 36, 2),
    ],
)  # fmt: skip
def test_parts_are_counted_as_networks_bill_them(text, count):
    assert parts(text) == count
