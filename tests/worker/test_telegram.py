"""What we write to chats: over real HTTP to a Telegram that refuses, floods, hangs and forgets."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
import redis

from channels.telegram import sender as senders
from channels.telegram.flood import ALL_BURST, CHAT_BURST, Flood
from channels.telegram.sender import Account, Sent, Telegram
from core import messages
from core.storage import Folder
from local import valkey
from settings import Settings
from simulator import pictures
from tests.channels.telegram_town import Person, Town
from tests.channels.telegram_town import town as open_town
from tests.flows import demo_market
from worker import telegram as tasks

pytestmark = pytest.mark.filterwarnings("ignore:.*retry_after.*")


@pytest.fixture(scope="module")
def town(
    new_database: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    with new_database() as url:
        demo_market.load(url, Settings(sokoni_env="test").rules())
        with open_town(url, Folder(tmp_path_factory.mktemp("evidence"))) as made:
            yield made


@pytest.fixture
def amina(town: Town) -> Person:
    amina = town.person("Amina")
    amina.join()
    return amina


@pytest.fixture
def writer(town: Town) -> Telegram:
    assert isinstance(town.work.writer, Telegram)
    return town.work.writer


def fault(name: str, *, when: str = "before", times: int | None = 1, **more: Any) -> Any:
    return {"faults": [{"fault": name, "on": "telegram", "when": when, "times": times, **more}]}


def notify(town: Town, person: Person) -> None:
    """Something of her account is to be told her."""
    member = person.member()
    assert member is not None
    with town.database.begin() as db:
        messages.of_member(db, "pin_changed", member.id, {}, town.database.clock())


def message_states(town: Town, person: Person) -> list[tuple[str, str]]:
    found = town.value(
        """
        SELECT coalesce(json_agg(json_build_array(state, channel) ORDER BY created_at, id), '[]')
        FROM messages WHERE msisdn = %(msisdn)s AND trigger = 'pin_changed'
        """,
        msisdn=person.number,
    )
    return [(state, channel) for state, channel in found]


# --- what an answer proves


def test_a_message_that_was_taken_says_which_it_is(writer: Telegram, amina: Person) -> None:
    sent = writer.show(amina.chat.id, "Hello", [("1:1", "1 Buy")])
    assert sent == Sent("done", "ok", amina.from_bot[-1].id)
    assert amina.buttons == ["1 Buy"]


def test_text_is_plain_whatever_it_holds(writer: Telegram, amina: Person) -> None:
    text = "1.5 kg <b>maize</b> at KSh 1,200.50 - _now_ & [here](x) *254#"
    assert writer.show(amina.chat.id, text).outcome == "done"
    assert amina.seen == text


def test_a_screen_that_is_there_already_is_done(writer: Telegram, amina: Person) -> None:
    first = writer.show(amina.chat.id, "Hello", [("1:1", "1 Buy")])
    again = writer.show(amina.chat.id, "Hello", [("1:1", "1 Buy")], edit=first.message_id)
    assert again == first


@pytest.mark.parametrize("lost", [999_999_999, 1])
def test_a_message_that_cannot_be_edited_is_written_anew(
    writer: Telegram, amina: Person, lost: int
) -> None:
    sent = writer.show(amina.chat.id, "Hello", edit=lost)
    assert sent.outcome == "done"
    assert sent.message_id == amina.from_bot[-1].id


def test_a_text_longer_than_a_message_is_cut(writer: Telegram, amina: Person) -> None:
    assert writer.show(amina.chat.id, "x" * 5_000).outcome == "done"
    assert len(amina.seen) == 4_096


def test_a_chat_that_blocked_us_is_gone(town: Town, writer: Telegram, amina: Person) -> None:
    town.world.telegram.block(amina.number)
    assert writer.show(amina.chat.id, "Hello") == Sent("refused", "forbidden", gone=True)


def test_a_person_who_left_telegram_is_gone(town: Town, writer: Telegram, amina: Person) -> None:
    town.world.telegram.deactivate(amina.number)
    assert writer.show(amina.chat.id, "Hello").gone


def test_a_chat_that_never_was_is_gone(writer: Telegram) -> None:
    assert writer.show(4_711, "Hello") == Sent("refused", "chat_not_found", gone=True)


def test_a_flood_says_how_long_to_wait(town: Town, writer: Telegram, amina: Person) -> None:
    with town.rules(**fault("flood", seconds=17)):
        sent = writer.show(amina.chat.id, "Hello")
    assert (sent.outcome, sent.code, sent.wait_seconds) == ("later", "flood", 17.0)


@pytest.mark.parametrize(
    ("name", "when", "outcome"),
    [
        ("server_error", "before", "later"),
        ("html_503", "before", "later"),
        ("empty_400", "before", "unknown"),
        ("reset", "before", "unknown"),
        ("reset", "after", "unknown"),
    ],
)
def test_only_what_an_answer_says_is_believed(
    town: Town, writer: Telegram, amina: Person, name: str, when: str, outcome: str
) -> None:
    with town.rules(**fault(name, when=when)):
        assert writer.show(amina.chat.id, "Hello").outcome == outcome


def test_no_answer_in_time_proves_nothing(town: Town, writer: Telegram, amina: Person) -> None:
    hasty = replace(writer._account, read_seconds=1)
    with (
        closing(Telegram(hasty)) as telegram,
        town.rules(**fault("slow", when="after", seconds=2)),
    ):
        assert telegram.show(amina.chat.id, "Hello") == Sent("unknown", "timeout")


def test_a_call_that_hangs_for_ever_gives_its_thread_back(
    town: Town, amina: Person, writer: Telegram
) -> None:
    patient = replace(writer._account, read_seconds=30, call_seconds=1)
    with (
        closing(Telegram(patient)) as telegram,
        town.rules(**fault("slow", when="after", seconds=8)),
    ):
        began = time.monotonic()
        assert telegram.show(amina.chat.id, "Hello") == Sent("unknown", "timeout")
        assert time.monotonic() - began < 6


def test_where_nobody_answers_nothing_was_sent() -> None:
    with closing(Telegram(Account("http://127.0.0.1:1", "1:token"))) as telegram:
        sent = telegram.show(1, "Hello")
    assert (sent.outcome, sent.code) == ("later", "no_connection")


@pytest.mark.parametrize("token", ["7000000000:another-token", "nonsense"])
def test_a_wrong_token_is_a_matter_for_whoever_runs_this(writer: Telegram, token: str) -> None:
    with closing(Telegram(Account(writer._account.base_url, token))) as telegram:
        sent = telegram.show(1, "Hello")
    assert (sent.outcome, sent.code) == ("later", "wrong_token")


def test_no_log_line_has_the_token(town: Town, amina: Person, caplog: Any, writer: Any) -> None:
    writer.show(amina.chat.id, "Hello")
    writer.show(4_711, "Hello")
    assert writer._account.token not in caplog.text


def test_a_photo_can_be_had_once_more(town: Town, writer: Telegram, amina: Person) -> None:
    picture = pictures.of_bytes(50_000)
    sent = town.world.telegram.send_picture(amina.number, picture)
    file_id = sent.content["photo"][-1]["file_id"]
    assert writer.fetch(file_id, 60_000) == picture
    assert writer.fetch(file_id, 40_000) == Sent("refused", "too_large")
    assert writer.fetch("unknown", 40_000) == Sent("refused", "bad_request")


def test_many_threads_write_at_once(town: Town, writer: Telegram, amina: Person) -> None:
    found: list[str] = []

    def write() -> None:
        found.extend(writer.show(amina.chat.id, "Hello").outcome for _ in range(4))

    with town.rules(telegram_chat_rate=0, telegram_rate=0):
        threads = [Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["done"] * 32


def test_a_fork_has_a_loop_of_its_own(writer: Telegram, amina: Person) -> None:
    """The parent's thread is not in the child: calls over it would hang."""
    assert writer.show(amina.chat.id, "From the parent").outcome == "done"
    child = os.fork()
    if child == 0:
        outcome = writer.show(amina.chat.id, "From the child").outcome
        os._exit(0 if outcome == "done" else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert amina.seen == "From the child"
    assert writer.show(amina.chat.id, "From the parent again").outcome == "done"


# --- screens


class Killed(BaseException):
    """As if the process had been killed at this point."""


class Deadly:
    """A writer that is killed right after Telegram has taken the message."""

    def __init__(self, inner: Telegram) -> None:
        self.inner = inner

    def show(self, *given: Any, **named: Any) -> Sent:
        self.inner.show(*given, **named)
        raise Killed


def test_a_worker_killed_in_the_middle_of_a_tap_leaves_one_screen(
    town: Town, writer: Telegram, amina: Person
) -> None:
    menu = amina.from_bot[-1]
    with pytest.raises(Killed), town.working(writer=Deadly(writer)):
        amina.tap("My account")
    town.settle(70)  # the lease ends, another worker takes it
    assert amina.from_bot[-1].id == menu.id
    assert amina.seen.startswith("Amina, Toi Market")
    assert (
        town.value("SELECT count(*) FROM outbox WHERE done_at IS NULL AND kind ~ 'telegram'") == 0
    )


def test_a_screen_whose_sending_nobody_answered_is_sent_once_more_and_no_third_time(
    town: Town, amina: Person
) -> None:
    with town.rules(**fault("reset", when="after", times=5)):
        amina.say("6")
    screens = [it for it in amina.from_bot if it.content["text"].startswith("Amina, Toi")]
    assert len(screens) == 2
    town.settle(70)
    assert len([it for it in amina.from_bot if it.content["text"].startswith("Amina, Toi")]) == 2


def test_a_screen_waits_out_a_flood(town: Town, amina: Person) -> None:
    with town.rules(**fault("flood", seconds=5)):
        amina.say("6")
    assert not amina.seen.startswith("Amina, Toi Market")
    town.settle(6)
    assert amina.seen.startswith("Amina, Toi Market")


def test_a_screen_that_was_overtaken_is_not_shown(town: Town, amina: Person) -> None:
    with town.rules(**fault("server_error", times=1)):
        town.world.telegram.say(amina.number, "6")
        town.world.advance(0.1)
        town.work_off()
    amina.say("2")
    town.settle(10)
    assert not [it for it in amina.from_bot if it.content["text"].startswith("Amina, Toi")]
    assert amina.seen.startswith("What is your name?")


def test_a_pin_goes_out_of_sight_though_the_screen_that_answers_it_was_overtaken(
    town: Town, amina: Person
) -> None:
    amina.tap("My account")
    amina.tap("Change PIN")
    with town.rules(**fault("server_error", times=1)):
        town.world.telegram.say(amina.number, amina.pin)
        town.world.advance(0.1)
        town.work_off()
    amina.say("0")
    town.settle(10)
    assert amina.pin not in [it.content.get("text") for it in amina.chat.messages.values()]


def test_a_screen_nobody_could_be_shown_for_an_hour_is_not_shown_any_more(
    town: Town, amina: Person
) -> None:
    with town.rules(**fault("server_error", times=None)):
        amina.say("6")
        town.world.advance(tasks.TOO_OLD_AFTER.total_seconds())
        town.settle()
    town.settle(60)
    assert not [it for it in amina.from_bot if it.content["text"].startswith("Amina, Toi")]


def test_nothing_more_is_tried_in_a_chat_that_is_gone(
    town: Town, writer: Telegram, amina: Person
) -> None:
    town.world.telegram.say(amina.number, "6")
    town.world.advance(0.1)
    town.world.telegram.deactivate(amina.number)
    town.settle()
    assert (
        town.value("SELECT reason FROM unreachable WHERE address = %(id)s", id=str(amina.chat.id))
        == "forbidden"
    )
    assert (
        town.value("SELECT count(*) FROM outbox WHERE done_at IS NULL AND kind ~ 'telegram'") == 0
    )


def test_screens_arrive_in_the_order_they_were_made_however_fast_somebody_types(
    town: Town, amina: Person
) -> None:
    for typed in ("6", "2", "0", "5"):
        town.world.telegram.say(amina.number, typed)
    town.settle(12)
    assert amina.seen.startswith("A Telegram chat speaks for this phone.")


# --- notices


def test_a_notice_goes_to_the_chat_its_receiver_spoke_from_last(town: Town, amina: Person) -> None:
    town.sms.sent.clear()
    notify(town, amina)
    town.settle()
    assert "PIN" in amina.seen
    assert town.sms.sent == []
    assert message_states(town, amina) == [("delivered", "telegram")]


def test_a_notice_to_whoever_blocked_us_goes_by_sms(town: Town, amina: Person) -> None:
    town.sms.sent.clear()
    notify(town, amina)
    town.world.telegram.deactivate(amina.number)
    town.settle()
    assert [number for number, _ in town.sms.sent] == [amina.number]
    assert message_states(town, amina) == [("sent", "sms")]


def test_the_next_notice_does_not_try_the_chat_again(town: Town, amina: Person) -> None:
    town.world.telegram.deactivate(amina.number)
    for _ in range(2):
        notify(town, amina)
        town.settle()
    assert message_states(town, amina) == [("sent", "sms"), ("sent", "sms")]


def test_a_notice_that_telegram_cannot_take_for_long_goes_by_sms(town: Town, amina: Person) -> None:
    town.sms.sent.clear()
    with town.rules(**fault("server_error", times=None)):
        notify(town, amina)
        town.settle(600)
    assert [number for number, _ in town.sms.sent] == [amina.number]


# --- flood limits


class Hour:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["together", "alone"])
def flood(request: pytest.FixtureRequest) -> Flood:
    """Counting in the store; or each process by itself."""
    if request.param == "alone":
        return Flood(None)
    store: valkey.Server = request.getfixturevalue("store")
    return Flood(redis.Redis.from_url(store.url))


def test_a_chat_takes_a_short_burst_and_then_one_a_second(flood: Flood) -> None:
    for _ in range(CHAT_BURST):
        assert flood.take(1) == 0
        flood.leave(1)
    assert 0.5 < flood.take(1) <= 1
    assert flood.take(2) == 0


def test_one_message_at_a_time_goes_to_a_chat(flood: Flood) -> None:
    assert flood.take(1) == 0
    assert 0 < flood.take(1) < 1
    flood.leave(1)
    assert flood.take(1) == 0


def test_all_chats_together_have_a_limit(flood: Flood) -> None:
    waits = [flood.take(chat) for chat in range(2 * ALL_BURST)]
    assert waits[:ALL_BURST] == [0] * ALL_BURST
    assert max(waits) > 0


def test_who_is_told_to_be_silent_is_silent_to_everybody(flood: Flood) -> None:
    flood.hold(3)
    assert 2 < flood.take(1) < 3.1


def test_processes_count_together(store: valkey.Server) -> None:
    first, second = (Flood(redis.Redis.from_url(store.url)) for _ in range(2))
    assert first.take(1) == 0
    assert second.take(1) > 0


def test_without_the_store_each_process_counts_by_itself(store: valkey.Server) -> None:
    hour = Hour()
    client = redis.Redis.from_url(store.url, socket_connect_timeout=1, socket_timeout=1)
    flood = Flood(client, clock=hour)
    valkey.stop(store)
    for _ in range(CHAT_BURST):
        assert flood.take(1) == 0
        flood.leave(1)
    assert flood.take(1) > 0
    hour.now += 60
    assert flood.take(1) == 0
    flood.hold(1)
    assert flood.take(2) > 0


def test_connections_are_made_where_they_are_needed_and_not_before() -> None:
    telegram = senders.connect(Settings(sokoni_env="test"))
    assert telegram._line is None
    telegram.close()
