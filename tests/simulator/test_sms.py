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


def test_reports_can_come_in_any_order_and_the_phone_knows_the_truth(world, send, api, outside):
    api.rules(sms_reports=["Submitted", "Success", "Buffered", "Teleported"])
    send()
    world.advance(6)
    assert [(call.seconds, call.form["status"]) for call in outside.to("/delivery")] == [
        (3, "Submitted"), (4, "Success"), (5, "Buffered"), (6, "Teleported"),
    ]  # fmt: skip
    assert len({call.form["id"] for call in outside.calls}) == 1
    assert api.ok("GET", f"sms/{PAYER}")[0]["status"] == "Success"


def test_reports_can_come_late_twice_and_among_those_of_others(world, send, api, outside):
    api.rules(sms_report_seconds=3600, sms_report_repeats=2, sms_report_strays=1)
    message_id = send().json["SMSMessageData"]["Recipients"][0]["messageId"]
    world.advance(3599)
    assert outside.calls == []
    world.advance(1)
    ids = [call.form["id"] for call in outside.to("/delivery")]
    assert ids.count(message_id) == 2
    assert len(set(ids)) == 2, "one is of nothing that was ever sent"


def test_a_report_can_come_before_the_sending_is_answered(world, send, api, outside):
    api.rules(sms_report_first=True, sms_reports=["Sent", "Success"])
    message_id = send().json["SMSMessageData"]["Recipients"][0]["messageId"]
    assert [call.form["id"] for call in outside.to("/delivery")] == [message_id]
    world.advance(3)
    assert [call.form["status"] for call in outside.to("/delivery")] == ["Sent", "Success"]


def test_who_opts_out_is_told_of_and_can_be_sent_to_no_more(world, send, api, outside):
    send(**{"from": "SOKONI"})
    assert api.ok("POST", "sms/optout", {"number": PAYER}) == {"opted_out": True}
    world.advance(0)
    (call,) = outside.to("/channels/sms/africastalking/sandbox-path-secret/optout")
    assert call.form == {"senderId": "SOKONI", "phoneNumber": PAYER}
    (recipient,) = send().json["SMSMessageData"]["Recipients"]
    assert (recipient["statusCode"], recipient["status"]) == (406, "UserInBlacklist")
    api.ok("POST", "sms/optin", {"number": PAYER})
    assert send().json["SMSMessageData"]["Recipients"][0]["statusCode"] == 101
    assert len(outside.to("/optout")) == 1, "nobody hears of opting in"


def test_an_opt_out_is_repeated_until_taken_and_may_name_a_sender(world, api, outside):
    outside.answer = lambda call: Answer(500 if len(outside.calls) < 2 else 200, {}, "")
    api.ok("POST", "sms/optout", {"number": PAYER, "sender": "22384"})
    world.advance(600)
    assert [call.form["senderId"] for call in outside.calls] == ["22384", "22384"]


@pytest.mark.parametrize("sender", ["MPESA", "Safari 22", "22384", "700"])
def test_a_sender_can_be_forged(world, api, outside, sender):
    api.ok("POST", "sms", {"from": sender, "text": "Umepokea KSh 5,000"})
    world.advance(0)
    (call,) = outside.to("/incoming")
    assert (call.form["from"], call.form["networkCode"]) == (sender, "99999")


@pytest.mark.parametrize("sender", ["", "x", "a longer name", "no-sign", "12", 5, None])
def test_what_no_network_would_carry_as_a_sender_is_refused(world, api, outside, sender):
    assert api("POST", "sms", {"from": sender, "text": "x"}).status_code == 400
    world.advance(0)
    assert outside.calls == []


def test_a_message_goes_to_our_short_code_and_its_text_may_be_missing_or_empty(world, api, outside):
    api.ok("POST", "sms", {"from": PAYER})
    api.ok("POST", "sms", {"from": PAYER, "text": ""})
    world.advance(0)
    missing, empty = (call.form for call in outside.to("/incoming"))
    assert "text" not in missing
    assert (missing["to"], empty["text"]) == ("22384", "")


def test_a_number_may_come_in_its_local_form(world, api, outside):
    api.rules(sms_from="local")
    api.ok("POST", "sms", {"from": PAYER, "text": "HELP"})
    world.advance(0)
    assert outside.calls[0].form["from"] == "0712345678"


@pytest.mark.parametrize(("together", "seconds"), [(True, [0, 0, 0]), (False, [0, 1, 2])])
def test_an_incoming_message_can_be_delivered_several_times(world, api, outside, together, seconds):
    api.rules(sms_in_repeats=3, sms_in_together=together)
    api.ok("POST", "sms", {"from": PAYER, "text": "BUY maize 2"})
    world.advance(60)
    assert [call.seconds for call in outside.calls] == seconds
    assert len({call.body for call in outside.calls}) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1), ("x" * 160, 1), ("x" * 161, 2), ("x" * 306, 2), ("x" * 307, 3),
        ("€" * 80, 1), ("€" * 81, 2), ("ҝ" * 70, 1), ("ҝ" * 71, 2), ("🍅" * 35, 1), ("🍅" * 36, 2),
    ],
)  # fmt: skip
def test_parts_are_counted_as_networks_bill_them(text, count):
    assert parts(text) == count
