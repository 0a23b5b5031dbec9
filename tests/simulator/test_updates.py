"""How updates reach the bot: in queues, repeated until taken, or fetched."""

import random
import threading
import time
from itertools import pairwise

import pytest

from simulator import updates
from simulator.outbound import Answer, Unanswered
from simulator.world import Place, World
from tests.simulator.pretend import PAYER, START

OTHER = "+254700000001"
HOOK = "http://127.0.0.1:8000/channels/telegram/sandbox-telegram-secret"
NEW_HOOK = "https://shop.example/hook"
TAKEN = Answer(200, {}, "")
MENU = {"inline_keyboard": [[{"text": "Buy", "callback_data": "3:buy"}]]}


@pytest.fixture
def say(api):
    return lambda text, number=PAYER: api.ok(
        "POST", "telegram/text", {"number": number, "text": text}
    )


@pytest.fixture
def tap(api, bot, say, world, outside):
    """Taps the one button there is; the chat is begun and forgotten."""
    say("/start")
    world.advance(0)
    chat_id = outside.updates()[-1]["message"]["chat"]["id"]
    bot.ok("sendMessage", chat_id=chat_id, text="Menu", reply_markup=MENU)
    outside.calls.clear()
    return lambda: api.ok("POST", "telegram/tap", {"number": PAYER, "label": "Buy"})


def texts(outside) -> list[str]:
    return [each["message"]["text"] if "message" in each else "(tap)" for each in outside.updates()]


def refuse(*statuses, **headers):
    """Answer with these in turn, and then take everything."""
    left = [Answer(status, headers, "") for status in statuses]
    return lambda call: left.pop(0) if left else TAKEN


def test_an_update_is_posted_as_json_with_the_secret_in_its_header(world, outside, say):
    say("Habari")
    assert outside.calls == [], "nobody is called while the person still types"
    world.advance(0)
    (call,) = outside.calls
    assert call.url == HOOK
    assert call.headers == {
        "Content-Type": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "X-Telegram-Bot-Api-Secret-Token": "sandbox-telegram-secret",
    }


def test_numbers_grow_by_one_from_a_beginning_that_a_restart_does_not_repeat(world, outside, say):
    for text in "abc":
        say(text)
    world.advance(0)
    first, *others = [each["update_id"] for each in outside.updates()]
    assert others == [first + 1, first + 2]
    after = World(virtual_from=START, chance=random.Random(8), post=outside)
    assert after.telegram.updates._next_id not in range(first - 1000, first + 1000)
    after.stop()


def test_a_number_can_jump(world, api, outside, say):
    api.rules(next_update=[{}, {"update_jump": 1}])
    for text in "abc":
        say(text)
    world.advance(0)
    one, two, three = [each["update_id"] for each in outside.updates()]
    assert abs(two - one) > 1
    assert three == two + 1


def test_a_chats_next_message_waits_until_the_one_before_is_taken(world, outside, say):
    refusal = refuse(500, 503)
    outside.answer = lambda call: refusal(call) if b'"one"' in call.body else TAKEN
    say("one")
    say("two")
    say("three", OTHER)
    world.advance(1.9)
    assert texts(outside) == ["one", "three", "one"], "at once again, then after two seconds"
    world.advance(0.1)
    assert texts(outside)[3:] == ["one", "two"]


def test_taps_do_not_wait_for_messages_nor_members_for_either(world, outside, api, say, tap):
    outside.answer = lambda call: Answer(500, {}, "") if b"one" in call.body else TAKEN
    say("one")
    say("two")
    tap()
    api.ok("POST", "telegram/block", {"number": PAYER})
    world.advance(60)
    assert "two" not in str(outside.updates())
    kinds = {next(iter(each.keys() - {"update_id"})) for each in outside.updates()}
    assert kinds == {"message", "callback_query", "my_chat_member"}


def test_an_update_that_waits_to_be_repeated_takes_up_no_connection(world, outside, bot, say):
    bot.ok("setWebhook", url=NEW_HOOK, max_connections=1)
    outside.answer = lambda call: Answer(500, {}, "") if b"one" in call.body else TAKEN
    say("one")
    say("three", OTHER)
    world.advance(0)
    assert [call.json["message"]["text"] for call in outside.calls] == ["one", "one", "three"]


def test_repetitions_come_at_once_then_after_doubling_delays_up_to_a_ceiling(world, outside, say):
    outside.be_silent()
    say("one")
    world.advance(1000)
    gaps = gaps_of(outside)
    assert gaps[:6] == [0, 2, 4, 8, 16, 32]
    assert 60 <= min(gaps[6:]) < max(gaps[6:]) <= 120, "the ceiling is drawn anew"


def gaps_of(outside) -> list[float]:
    seconds = [call.seconds for call in outside.calls]
    return [later - sooner for sooner, later in pairwise(seconds)]


def test_the_pace_of_repetitions_is_a_rule(world, api, outside, say):
    api.rules(update_pace=0.01)
    outside.answer = refuse(500, 500, 500)
    say("one")
    world.advance(0.07)
    assert [round(gap, 3) for gap in gaps_of(outside)] == [0, 0.02, 0.04]


@pytest.mark.parametrize(("asked", "gap"), [("7", 7), ("9999", 3600), ("soon", 0)])
def test_a_retry_after_in_the_answer_is_kept_to(world, outside, say, asked, gap):
    outside.answer = refuse(503, **{"retry-after": asked})
    say("one")
    world.advance(3601)
    assert gaps_of(outside) == [gap]


def test_any_answer_of_the_200s_takes_an_update_and_no_other(world, outside, say):
    outside.answer = refuse(301, 404, 204)
    say("one")
    world.advance(10)
    assert len(outside.calls) == 3


def test_a_tap_is_dropped_after_150_seconds_and_a_message_after_a_day(
    world, outside, bot, tap, say
):
    outside.be_silent()
    tap()
    world.advance(3600)
    assert outside.calls[-1].seconds <= 150
    assert bot.ok("getWebhookInfo")["pending_update_count"] == 0
    say("one")
    world.advance(23 * 3600)
    assert bot.ok("getWebhookInfo")["pending_update_count"] == 1
    world.advance(2 * 3600)
    assert bot.ok("getWebhookInfo")["pending_update_count"] == 0


def test_an_update_can_come_several_times_one_after_another(world, api, outside, say):
    api.rules(next_update=[{"update_repeats": 3}])
    say("one")
    say("two")
    world.advance(0)
    assert texts(outside) == ["one", "one", "one", "two"]
    assert len({call.body for call in outside.calls}) == 2


def test_an_update_can_come_several_times_at_the_same_instant(world, api, outside, say):
    gate = threading.Barrier(3)

    def answer(call):
        gate.wait(timeout=60)
        return TAKEN

    outside.answer = answer
    api.rules(next_update=[{"update_repeats": 3, "update_together": True}])
    say("one")
    world.advance(0)
    assert texts(outside) == ["one"] * 3


def test_a_message_and_a_tap_can_be_made_to_arrive_at_the_same_instant(
    world, api, outside, say, tap
):
    gate = threading.Barrier(2)

    def answer(call):
        gate.wait(timeout=60)
        return TAKEN

    outside.answer = answer
    api.rules(update_gather=2)
    say("one")
    world.advance(0)
    assert outside.calls == [], "it waits for another"
    tap()
    world.advance(0)
    assert sorted(texts(outside)) == ["(tap)", "one"]


def test_what_waits_for_company_in_vain_leaves_after_five_seconds(world, api, outside, say):
    api.rules(update_gather=2)
    say("one")
    world.advance(5)
    assert texts(outside) == ["one"]
    assert outside.calls[0].seconds == 5


def test_an_acknowledgement_can_be_lost(world, api, outside, say):
    api.rules(next_update=[{"update_lost": 1}])
    say("one")
    world.advance(600)
    assert texts(outside) == ["one", "one"]


# --- a method in the answer


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", '{"method": "sendMessage", "chat_id": %d, "text": "Karibu"}'),
        (
            "application/json; charset=utf-8",
            '{"method": "SENDMESSAGE", "chat_id": %d, "text": "Karibu"}',
        ),
        ("application/x-www-form-urlencoded", "method=sendMessage&chat_id=%d&text=Karibu"),
    ],
)  # fmt: skip
def test_a_method_in_the_answer_is_performed_once(world, api, outside, say, kind, body):
    say("/start")
    world.advance(0)
    chat_id = outside.updates()[0]["message"]["chat"]["id"]
    outside.answer = lambda call: Answer(200, {"content-type": kind}, body % chat_id)
    api.rules(next_update=[{"update_repeats": 2}])
    say("Habari")
    world.advance(0)
    messages = api.ok("GET", f"telegram/chat/{PAYER}")["messages"]
    assert [each["text"] for each in messages] == ["/start", "Habari", "Karibu"]


@pytest.mark.parametrize(
    "body",
    [
        '{"method": "setWebhook", "url": "https://x.example"}', '{"method": "deleteWebhook"}',
        '{"method": "getMe"}', '{"method": "sendMessage", "chat_id": 1, "text": "x"}',
        '{"method": "dance"}', '{"method": 5}', "{", "[]", "OK",
    ],
)  # fmt: skip
def test_what_is_no_such_method_in_the_answer_is_passed_over(world, outside, bot, say, body):
    outside.answer = lambda call: Answer(200, {"content-type": "application/json"}, body)
    say("one")
    say("two")
    world.advance(0)
    assert texts(outside) == ["one", "two"]
    assert bot.ok("getWebhookInfo")["url"] == HOOK


# --- setWebhook


def test_the_bot_chooses_another_place_secret_and_kinds(world, outside, bot, say, tap):
    answer = bot(
        "setWebhook", url=NEW_HOOK, secret_token="s-_1", allowed_updates=["callback_query"]
    )
    assert answer.json == {"ok": True, "result": True, "description": "Webhook was set"}
    say("one")
    tap()
    world.advance(1)
    (call,) = outside.calls
    assert (call.url, call.headers[updates.SECRET_HEADER]) == (NEW_HOOK, "s-_1")
    assert bot("setWebhook", url=NEW_HOOK).json["description"] == "Webhook was set"
    world.advance(1)
    assert bot("setWebhook", url=NEW_HOOK).json["description"] == "Webhook is already set"
    assert bot.ok("getWebhookInfo") == {
        "url": NEW_HOOK, "has_custom_certificate": False, "pending_update_count": 0,
        "max_connections": 40, "ip_address": "127.0.0.1", "allowed_updates": ["callback_query"],
    }  # fmt: skip
    tap()
    world.advance(0)
    assert updates.SECRET_HEADER not in outside.calls[-1].headers


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"url": "ftp://x.example"}, "bad webhook: An HTTPS URL must be provided for webhook"),
        ({"url": "x"}, "bad webhook: An HTTPS URL must be provided for webhook"),
        ({"secret_token": "a b"}, "secret token contains unallowed characters"),
        ({"secret_token": "x" * 257}, "secret token is too long"),
        ({"allowed_updates": "{}"}, "can't parse allowed updates: array expected"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(bot, given, wrong):
    assert bot.refused("setWebhook", **{"url": NEW_HOOK, **given}) == (400, f"Bad Request: {wrong}")
    assert bot.ok("getWebhookInfo")["url"] == HOOK


def test_the_webhook_can_be_set_once_a_second(world, bot):
    bot.ok("setWebhook", url=NEW_HOOK)
    assert bot.refused("setWebhook", url=HOOK) == (429, "Too Many Requests: retry after 1")
    world.advance(1)
    bot.ok("setWebhook", url=HOOK)


def test_without_a_webhook_updates_wait_and_are_dropped_where_that_is_asked(
    world, outside, bot, say
):
    assert bot("deleteWebhook").json["description"] == "Webhook was deleted"
    say("one")
    world.advance(60)
    assert outside.calls == []
    bot.ok("setWebhook", url=HOOK)
    world.advance(1)
    assert texts(outside) == ["one"]
    bot.ok("deleteWebhook")
    say("two")
    world.advance(1)
    bot.ok("setWebhook", url=HOOK, drop_pending_updates=True)
    say("three")
    world.advance(0)
    assert texts(outside) == ["one", "three"]


def test_a_webhook_that_is_deleted_between_two_tries_gets_no_other(world, outside, bot, say):
    outside.be_silent()
    say("one")
    world.advance(1)
    bot.ok("deleteWebhook")
    world.advance(600)
    assert len(outside.calls) == 2
    assert [each["message"]["text"] for each in bot.ok("getUpdates")] == ["one"]


def test_what_was_to_leave_stays_where_the_webhook_is_deleted_before(world, outside, bot, say):
    say("one")
    bot.ok("deleteWebhook")
    world.advance(1)
    assert outside.calls == []
    bot.ok("setWebhook", url=HOOK)
    world.advance(0)
    assert texts(outside) == ["one"]


def test_what_went_wrong_last_is_told(world, outside, bot, say):
    outside.answer = refuse(500)
    say("one")
    world.advance(0)
    info = bot.ok("getWebhookInfo")
    assert info["last_error_message"] == "Wrong response from the webhook: 500"
    assert info["last_error_date"] == int(START.timestamp())


def test_a_place_that_is_gone_for_23_hours_is_written_to_no_more(world, outside, bot, say):
    outside.answer = lambda call: Answer(410, {}, "")
    say("one")
    world.advance(22 * 3600)
    assert bot.ok("getWebhookInfo")["url"] == HOOK
    world.advance(2 * 3600)
    assert bot.ok("getWebhookInfo")["url"] == ""


# --- getUpdates


def test_updates_cannot_be_fetched_while_a_webhook_is_set(bot):
    status, said = bot.refused("getUpdates")
    assert status == 409
    assert said.startswith("Conflict: can't use getUpdates method while webhook is active")


def test_fetched_updates_are_done_with_when_a_later_one_is_asked_for(bot, say):
    bot.ok("deleteWebhook")
    for text in ("one", "two", "three"):
        say(text)
    found = bot.ok("getUpdates", limit=2)
    assert [each["message"]["text"] for each in found] == ["one", "two"]
    assert bot.ok("getUpdates", limit=2) == found
    later = bot.ok("getUpdates", offset=found[-1]["update_id"] + 1)
    assert [each["message"]["text"] for each in later] == ["three"]
    assert bot.ok("getWebhookInfo")["pending_update_count"] == 1
    say("four")
    assert [each["message"]["text"] for each in bot.ok("getUpdates", offset=-1)] == ["four"]
    assert bot.ok("getUpdates", offset=found[-1]["update_id"] + 3) == []


def test_kinds_asked_for_while_fetching_hold_from_then_on(bot, say):
    bot.ok("deleteWebhook")
    bot.ok("getUpdates", allowed_updates=["callback_query"])
    say("one")
    assert bot.ok("getUpdates") == []


@pytest.fixture
def living(outside):
    """The same by the real clock."""
    world = World(Place(), chance=random.Random(7), post=outside)
    world.telegram.updates.set_webhook("")
    yield world.telegram
    world.stop()


def test_a_fetch_waits_for_what_comes(living):
    began = time.monotonic()
    threading.Timer(0.1, lambda: living.say(PAYER, "one")).start()
    (found,) = living.updates.fetch(0, 100, 10, None)
    assert found["message"]["text"] == "one"
    assert 0.1 <= time.monotonic() - began < 9
    assert living.updates.fetch(found["update_id"] + 1, 100, 0.2, None) == []


def test_of_two_who_fetch_the_later_stays(living):
    ended = []

    def fetch():
        try:
            living.updates.fetch(0, 100, 10, None)
        except updates.Conflict as conflict:
            ended.append(str(conflict))

    first = threading.Thread(target=fetch)
    first.start()
    time.sleep(0.1)
    assert living.updates.fetch(0, 100, 0.3, None) == []
    first.join(timeout=60)
    assert ended == [
        "terminated by other getUpdates request; make sure that only one bot instance is running"
    ]


def test_a_silence_counts_like_a_refusal(world, outside, bot, say):
    def answer(call):
        if len(outside.calls) == 1:
            raise Unanswered("ReadTimeout")
        return TAKEN

    outside.answer = answer
    say("one")
    world.advance(1)
    assert texts(outside) == ["one", "one"]
    assert bot.ok("getWebhookInfo")["last_error_message"] == "Connection timed out"


def test_a_restart_finds_who_had_begun_a_chat(tmp_path, outside):
    before = World(virtual_from=START, chance=random.Random(7), post=outside, home=tmp_path)
    before.telegram.introduce(PAYER, user_id=77)
    before.telegram.start(PAYER)
    before.telegram.start(OTHER)
    before.telegram.block(OTHER)
    before.stop()
    after = World(virtual_from=START, chance=random.Random(8), post=outside, home=tmp_path)
    assert after.telegram.send(77, {"text": "Karibu"}, None)["chat"]["id"] == 77
    assert (after.telegram.chat(PAYER).state, after.telegram.chat(OTHER).state) == (
        "started", "blocked",
    )  # fmt: skip
    after.stop()
