"""One member on many channels: what she began on one goes on by the next, and only she sees it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from threading import Barrier
from typing import Any

import pytest

from core import carts, members
from flows import conversations
from settings import Settings
from tests.channels.conftest import Heard
from tests.channels.telegram_town import HEADERS, PATH, Person, Town
from tests.channels.telegram_town import town as open_town
from tests.flows import demo_market, invariants
from tests.flows.handset import Clock, Handset, WebLine
from tests.flows.street import PIN, SHOP, Street

USSD = "/channels/ussd/africastalking/sandbox-path-secret"
SMS = "/channels/sms/africastalking/sandbox-path-secret/incoming"
OFFERED = "You had not finished: buying"
HOW_MANY = "How many bunches?"
IN_BASKET = "Items in your basket: 1."
ROUNDS = 6  # of what happens at the same instant: threads meet in another order each time
_ids = count(1)


@pytest.fixture(scope="module")
def town(new_database: Callable[[], Any]) -> Iterator[Town]:
    with new_database() as url:
        demo_market.load(url, Settings(sokoni_env="test").rules())
        with open_town(url) as made:
            yield made


class Member:
    """Somebody with a plain phone and with Telegram, who writes SMS too."""

    def __init__(self, town: Town, name: str = "", number: str = "") -> None:
        self.town = town
        self.person = Person(town, number) if number else town.person(name)
        self.number = self.person.number
        self.handset = self._handset()

    def _handset(self) -> Handset:
        client = self.town.app.test_client()
        return Handset(WebLine(client, USSD), Clock(self.town.database.clock()), self.number)

    def post(self, text: str) -> None:
        """An SMS reaches us."""
        form = {"from": self.number, "id": f"ATXid_{next(_ids)}", "text": text, "date": "now"}
        assert self.town.app.test_client().post(SMS, data=form).status_code == 200

    def write(self, text: str) -> str:
        """An SMS of hers; what she is sent upon it."""
        before = len(self.sms)
        self.post(text)
        self.town.settle(1)
        return "\n".join(self.sms[before:])

    @property
    def sms(self) -> list[str]:
        """All that she was sent."""
        return [text for msisdn, text in self.town.sms.sent if msisdn == self.number]

    def reach_quantity(self) -> None:
        """On the plain phone, on the way to five bunches of amaranth."""
        self.handset.dial()
        self.handset.walk("1", "1", "1")
        seen = self.handset.reply("1")
        assert HOW_MANY in seen.text

    def basket(self) -> list[int]:
        """Thousandths of each line."""
        with self.town.database.begin() as db:
            member = members.by_msisdn(db, self.number)
            assert member is not None, "a stranger has no basket"
            cart = carts.read(db, member.id, "en")
        return [line.quantity_milli for line in cart.lines]

    def orders(self) -> list[str]:
        found: list[str] | None = self.town.value(
            """
            SELECT array_agg(o.state) FROM orders o JOIN members m ON m.id = o.buyer_id
            WHERE m.msisdn = %(msisdn)s
            """,
            msisdn=self.number,
        )
        return found or []

    def open_frames(self) -> int:
        """In how many conversations of hers something waits for an answer."""
        found: int = self.town.value(
            """
            SELECT count(*) FROM conversations
            WHERE msisdn = %(msisdn)s AND frame->>'state' = 'quantity'
            """,
            msisdn=self.number,
        )
        return found


@pytest.fixture
def amina(town: Town) -> Member:
    """A member whose chat speaks for her phone."""
    amina = Member(town, "Amina")
    amina.person.join()
    return amina


@contextmanager
def later(town: Town, **duration: float) -> Iterator[None]:
    """So much time has passed, in which nothing happened."""
    clock = town.database.clock
    town.database.clock = lambda: clock() + timedelta(**duration)
    try:
        yield
    finally:
        town.database.clock = clock


# --- one conversation, three channels


def test_a_purchase_is_begun_on_ussd_answered_by_sms_and_finished_on_telegram(town: Town) -> None:
    amina = Member(town, "Amina")
    amina.handset.dial()
    amina.handset.walk("1", "1", "1")
    assert "1 Achieng Traders" in amina.handset.seen.text
    assert "1 Achieng Traders" in amina.write("YES")
    assert HOW_MANY in amina.write("1")
    amina.person.start()
    assert amina.person.keys == ["Share my phone number"]
    amina.person.share()
    assert OFFERED in amina.person.seen
    amina.person.tap("Continue")
    assert HOW_MANY in amina.person.seen
    amina.person.say("5")
    assert IN_BASKET in amina.person.seen
    for label in ("Pay", "Sun 22/11", "This phone"):
        amina.person.tap(label)
    assert amina.orders() == ["placed"]
    assert amina.basket() == []


def test_a_stranger_begins_to_register_by_sms_and_ends_on_the_phone_where_a_pin_is_safe(
    town: Town,
) -> None:
    neema = Member(town)
    neema.write("ANZA ununuzi")
    neema.write("MENU")
    neema.write("1")
    neema.write("Neema")
    neema.write("Toi Market")
    neema.write("1")
    assert "Dial *384*7042#" in neema.write("1")
    assert neema.write(PIN).startswith("Your PIN is not typed here.")
    assert neema.person.member() is None
    assert "PIN" in neema.handset.dial().text  # this state goes on without asking
    neema.handset.reply(PIN)
    assert neema.person.member() is not None


@pytest.mark.parametrize("channel", ["ussd", "sms", "telegram"])
def test_what_was_left_on_one_channel_is_offered_on_each_of_the_others(
    channel: str, amina: Member
) -> None:
    match channel:
        case "ussd":
            amina.handset.dial("1*1*1*1")
        case "sms":
            for text in ("BUY", "1", "1", "1"):
                amina.write(text)
        case "telegram":
            for _ in range(4):
                amina.person.tap(amina.person.buttons[0])
    if channel != "ussd":
        assert OFFERED in amina.handset.dial().text
    if channel != "sms":
        assert OFFERED in amina.write("MENU")
    if channel != "telegram":
        amina.person.start()
        assert OFFERED in amina.person.seen


def test_an_offer_that_was_cut_off_is_made_on_the_next_channel_too(amina: Member) -> None:
    amina.reach_quantity()
    assert OFFERED in amina.handset.dial().text
    assert OFFERED in amina.write("MENU")
    assert HOW_MANY in amina.write("1")
    assert HOW_MANY in amina.handset.reply("1").text  # gone on elsewhere: drawn, not taken
    assert amina.open_frames() == 1


def test_what_was_not_wanted_is_not_offered_on_that_channel_again(amina: Member) -> None:
    amina.reach_quantity()
    amina.handset.dial()
    amina.handset.choose("Start again")
    assert OFFERED not in amina.handset.dial().text
    assert OFFERED not in amina.write("MENU")


# --- an answer given elsewhere wins


def test_an_answer_given_elsewhere_wins_and_the_older_screen_takes_nothing(amina: Member) -> None:
    amina.reach_quantity()
    amina.person.start()
    amina.person.tap("Continue")
    amina.person.say("7")
    assert IN_BASKET in amina.person.seen
    drawn = amina.handset.reply("5")
    assert IN_BASKET in drawn.text
    assert amina.basket() == [7000]
    assert "Which day" in amina.handset.reply("1").text  # hers again: it takes the next


def test_a_button_of_what_went_on_elsewhere_draws_where_it_stands(amina: Member) -> None:
    amina.person.start()
    for _ in range(4):
        amina.person.tap(amina.person.buttons[0])
    assert HOW_MANY in amina.person.seen
    assert OFFERED in amina.write("MENU")
    assert HOW_MANY in amina.write("1")
    assert IN_BASKET in amina.write("6")
    amina.person.tap("Back")
    assert IN_BASKET in amina.person.seen
    assert amina.basket() == [6000]


def test_who_goes_on_after_the_other_went_on_stands_where_it_stands_by_then(
    amina: Member,
) -> None:
    amina.reach_quantity()
    assert OFFERED in amina.write("MENU")
    assert IN_BASKET in amina.handset.reply("5").text
    assert IN_BASKET in amina.write("1")
    assert amina.basket() == [5000]


def test_who_goes_on_after_the_other_ended_starts_over(amina: Member) -> None:
    amina.reach_quantity()
    amina.handset.walk("5", "1", "1")
    assert OFFERED in amina.write("MENU")
    amina.handset.reply("1")
    assert amina.handset.seen.ends
    assert "Start again" in amina.write("1")
    assert amina.orders() == ["placed"]


def test_what_has_gone_where_it_may_not_be_taken_up_is_not_taken_up(town: Town) -> None:
    """Behind the PIN: whoever holds the chat has not typed it."""
    shop = Member(town, number=SHOP)
    shop.person.join()
    shop.handset.dial("1")
    shop.person.start()
    assert OFFERED in shop.person.seen
    shop.handset.reply("000")
    shop.handset.choose("Sell")
    shop.handset.reply(PIN)
    behind = shop.handset.seen.text
    shop.person.tap("Continue")
    assert shop.person.seen != behind
    assert "Start again" in shop.person.seen
    assert shop.handset.reply("1").label.startswith("sell.")  # and stays there


@pytest.mark.parametrize("hours", [25, 24 * 30])
def test_what_was_left_too_long_ago_is_neither_offered_nor_answered(
    hours: int, town: Town, amina: Member
) -> None:
    for text in ("BUY", "1", "1", "1"):
        amina.write(text)
    with later(town, hours=hours):
        assert OFFERED not in amina.handset.dial().text
        amina.post("5")
        amina.person.start()
        assert OFFERED not in amina.person.seen
    assert amina.basket() == []


# --- keywords in the middle


def test_a_keyword_in_the_middle_parks_the_purchase_and_it_is_offered_afterwards(
    amina: Member,
) -> None:
    for text in ("BUY", "1", "1", "1"):
        amina.write(text)
    amina.write("CALL")
    assert "case" in amina.write("1").lower()
    assert OFFERED in amina.write("MENU")
    assert HOW_MANY in amina.write("1")


def test_a_keyword_that_only_asks_leaves_the_place_where_it_is(amina: Member) -> None:
    for text in ("BUY", "1", "1", "1"):
        amina.write(text)
    assert "KSh" in amina.write("BALANCE")
    assert IN_BASKET in amina.write("5")


def test_a_command_in_the_middle_parks_the_purchase_for_every_channel(amina: Member) -> None:
    amina.person.start()
    for _ in range(4):
        amina.person.tap(amina.person.buttons[0])
    amina.person.say("/language")
    assert OFFERED in amina.handset.dial().text
    amina.handset.choose("Continue")
    assert HOW_MANY in amina.handset.seen.text


def test_a_forgotten_pin_is_chosen_anew_on_the_line_and_not_in_a_chat(
    town: Town, amina: Member
) -> None:
    with town.database.begin() as db:
        Street(db, town.database.clock, town.settings.rules(), amina.number).may_reset_pin()
    town.settle(1)
    assert amina.sms[-1].startswith("Choose a new Sokoni PIN by ")
    amina.person.start()
    amina.person.tap("My account")
    amina.person.tap("Change PIN")
    assert amina.person.seen.startswith("Your PIN now?")
    amina.handset.dial()
    amina.handset.choose("My account")
    amina.handset.choose("Change PIN")
    assert amina.handset.seen.text.startswith("You may choose a new PIN")
    assert amina.handset.reply("7391").text.startswith("Your PIN is changed.")
    town.settle(1)
    assert "has been changed" in " ".join(amina.sms[-1:] + chat_of(amina)[-1:])


# --- at the same instant


def at_once(*acts: Callable[[], object]) -> None:
    """Each in a thread of its own, all beginning together; raises what any of them raises."""
    together = Barrier(len(acts))

    def begin(act: Callable[[], object]) -> None:
        together.wait(60)
        act()

    with ThreadPoolExecutor(len(acts)) as threads:
        for done in [threads.submit(begin, act) for act in acts]:
            done.result(timeout=60)


def broken(town: Town) -> list[str]:
    """What does not hold in the market; its own clockwork, which would push, stands still here."""
    with town.database.begin() as db:
        found = invariants.broken(db, town.database.clock())
    return [name for name in found if not name.startswith("charges to be pushed")]


def say(member: Member, text: str) -> None:
    """In the chat, without waiting for what is said back."""
    chat_id = member.person.chat.id
    me = {"id": chat_id, "is_bot": False, "first_name": "A", "language_code": "en"}
    message = {"message_id": next(_ids), "date": 1, "from": me, "text": text}
    update = {"update_id": 10**9 + next(_ids), "message": message}
    message["chat"] = {"id": chat_id, "type": "private", "first_name": "A"}
    client = member.town.app.test_client()
    assert client.post(PATH, json=update, headers=HEADERS).status_code == 200


@pytest.fixture
def in_time(heard: Heard) -> Iterator[None]:
    """Nobody waited for a lock until it was too late, and nothing broke."""
    yield
    assert (heard.events, heard.broken) == ([], [])


def test_answers_on_three_channels_at_the_same_instant_are_one_answer(
    town: Town, in_time: None
) -> None:
    """She goes on by SMS, by Telegram and on the phone at once: one of them has the place."""
    for _ in range(ROUNDS):
        amina = Member(town, "Amina")
        amina.person.join()
        amina.reach_quantity()
        amina.write("MENU")
        amina.person.start()
        at_once(
            partial(amina.handset.reply, "5"),
            partial(amina.post, "1"),
            partial(say, amina, "1"),
        )
        assert amina.open_frames() <= 1
        before = amina.basket()
        assert before in ([], [5000])
        at_once(partial(amina.post, "6"), partial(say, amina, "7"))
        assert len(amina.basket()) <= 1
        assert amina.basket() in ([], [5000], [6000], [7000])
        assert not before or amina.basket() == before
    assert broken(town) == []


def test_an_order_confirmed_on_two_channels_at_the_same_instant_is_one_order(
    town: Town, in_time: None
) -> None:
    for _ in range(ROUNDS):
        amina = Member(town, "Amina")
        amina.person.join()
        amina.reach_quantity()
        amina.handset.walk("5", "1", "1")
        assert "Pay KSh 60" in amina.handset.seen.text
        amina.write("MENU")
        for _ in range(2):
            if not amina.handset.seen.ends:  # else the order is placed
                at_once(partial(amina.handset.reply, "1"), partial(amina.post, "1"))
        assert amina.orders() in ([], ["placed"])
        for _ in range(2):
            if not amina.handset.seen.ends:  # drawn once more if it was taken back, and confirmed
                amina.handset.reply("1")
        assert amina.orders() == ["placed"]


def test_two_first_words_of_a_phone_on_two_channels_at_the_same_instant_are_both_heard(
    town: Town, in_time: None
) -> None:
    for _ in range(ROUNDS):
        amina = Member(town, "Amina")
        at_once(amina.handset.dial, partial(amina.post, "BUY"))
        assert "Welcome" in amina.handset.seen.text or OFFERED in amina.handset.seen.text
        town.settle(1)
        assert any("What would you like?" in text for text in amina.sms)


def test_a_chat_that_is_unlinked_in_the_instant_it_speaks_does_no_harm(
    town: Town, in_time: None
) -> None:
    for _ in range(ROUNDS):
        amina = Member(town, "Amina")
        amina.person.join()
        amina.handset.dial()
        amina.handset.choose("My account")
        amina.handset.choose("Telegram")
        at_once(partial(amina.handset.choose, "Unlink"), partial(say, amina, "1"))
        assert amina.person.speaks_for() is None
        frames = town.value(
            "SELECT frame FROM conversations WHERE channel = 'telegram' AND address = %(id)s",
            id=str(amina.person.chat.id),
        )
        assert frames is None


# --- who is told where


def pay(member: Member) -> None:
    """She has ordered, and M-Pesa says that it is paid."""
    with member.town.database.begin() as db:
        clock = Clock(member.town.database.clock())
        street = Street(db, clock, member.town.settings.rules(), member.number)
        street.put_in_basket(2, "Tomatoes", "Wanjiku Fresh")
        street.place()
        street.pay()
    member.town.settle()


def paid(texts: list[str]) -> list[str]:
    """The receipts among them."""
    return [text for text in texts if "paid for order" in text]


def chat_of(member: Member) -> list[str]:
    return [str(message.content.get("text", "")) for message in member.person.from_bot]


def test_the_receipt_goes_to_the_chat_where_she_spoke_last(amina: Member) -> None:
    amina.handset.dial()
    amina.town.settle()
    amina.person.start()
    pay(amina)
    assert len(paid(chat_of(amina))) == 1
    assert paid(amina.sms) == []


def test_the_receipt_goes_by_sms_where_she_dialled_last(amina: Member) -> None:
    amina.person.start()
    amina.handset.dial()
    pay(amina)
    assert len(paid(amina.sms)) == 1
    assert paid(chat_of(amina)) == []


def test_the_receipt_goes_by_sms_where_telegram_refuses_it(town: Town, amina: Member) -> None:
    amina.person.start()
    town.world.telegram.block(amina.number)
    pay(amina)
    assert len(paid(amina.sms)) == 1


def test_the_receipt_of_a_phone_without_a_chat_goes_by_sms(town: Town) -> None:
    amina = Member(town, "Amina")
    amina.write("MENU")
    pay(amina)
    assert len(paid(amina.sms)) == 1


# --- only she sees it


def test_a_chat_that_was_unlinked_on_the_phone_sees_nothing_any_more(amina: Member) -> None:
    amina.reach_quantity()
    amina.person.start()
    assert OFFERED in amina.person.seen
    old = len(amina.person.from_bot)
    amina.handset.dial()
    amina.handset.choose("Start again")
    amina.handset.choose("My account")
    amina.handset.choose("Telegram")
    amina.handset.choose("Unlink")
    for said in ("1", "/start", "/orders"):
        amina.person.say(said)
    amina.person.tap(message=amina.person.from_bot[old - 1].id, data="2:1")
    assert all("share your phone number" in text for text in chat_of(amina)[old:])
    assert len(chat_of(amina)) > old
    assert amina.basket() == []


def test_a_chat_of_another_phone_is_offered_nothing_of_hers(town: Town, amina: Member) -> None:
    amina.reach_quantity()
    njeri = Member(town, "Njeri")
    njeri.person.join()
    assert njeri.person.seen == "Sokoni. Welcome, Njeri."
    chat = town.value(
        "SELECT turn FROM conversations WHERE msisdn = %(msisdn)s AND channel = 'ussd'",
        msisdn=amina.number,
    )
    njeri.person.tap(data=f"{chat}:1")  # of her screen
    assert HOW_MANY not in " ".join(chat_of(njeri))
    assert OFFERED not in njeri.write("MENU")
    assert IN_BASKET in amina.handset.reply("5").text


def test_a_chat_that_changes_to_another_phone_leaves_everything_behind(
    town: Town, amina: Member
) -> None:
    """The chat was Amina's; now it shows a link of Njeri's."""
    for _ in range(4):
        amina.person.tap(amina.person.buttons[0])
    assert HOW_MANY in amina.person.seen
    njeri = Member(town, "Njeri")
    njeri.handset.dial()
    njeri.handset.choose("My account")
    njeri.handset.choose("Telegram")
    token = njeri.handset.reply(PIN).text.partition("start=")[2].split()[0]
    amina.person.start(token)
    amina.person.tap("Change")
    assert amina.person.speaks_for() == njeri.number
    amina.person.start()
    assert amina.person.seen == "Sokoni. Welcome, Njeri."
    with town.database.begin() as db:  # whoever calls Njeri back reads nothing of Amina's
        shown = conversations.lately(db, njeri.number, datetime.min.replace(tzinfo=UTC), 50)
    assert HOW_MANY not in " ".join(said.screen for said in shown)
    assert OFFERED not in amina.handset.dial().text  # it stood in the chat that is Njeri's now


def test_two_phones_that_share_nothing_never_hear_of_each_other(town: Town) -> None:
    amina, njeri = Member(town, "Amina"), Member(town, "Njeri")
    amina.reach_quantity()
    njeri.reach_quantity()
    amina.write("YES")
    assert HOW_MANY in amina.sms[-1]
    assert njeri.sms == []
    assert IN_BASKET in njeri.handset.reply("6").text
    assert IN_BASKET in amina.write("5")
    assert (amina.basket(), njeri.basket()) == ([5000], [6000])
