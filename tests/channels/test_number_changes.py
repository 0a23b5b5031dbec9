"""A number that became somebody else's shows nothing of its old owner on any channel."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from core import members, number_changes
from settings import Settings
from tests.channels.telegram_town import Town
from tests.channels.telegram_town import town as open_town
from tests.channels.test_cross_channel import HOW_MANY, OFFERED, Member, pay
from tests.core.office import hire
from tests.flows import demo_market
from tests.flows.street import PIN
from worker import tasks

WHY = "A stranger answers at this number and knows nobody here."


@pytest.fixture(scope="module")
def town(new_database: Callable[[], Any]) -> Iterator[Town]:
    with new_database() as url:
        demo_market.load(url, Settings(sokoni_env="test").rules())
        with open_town(url) as made:
            yield made


@pytest.fixture
def amina(town: Town) -> Member:
    """She has ordered and paid, her chat speaks for her phone, and she has left a purchase open."""
    amina = Member(town, "Amina")
    amina.person.join()
    pay(amina)
    amina.reach_quantity()
    return amina


def change(amina: Member, to: str | None) -> UUID:
    """Two of ours decide, and the worker does it."""
    town = amina.town
    with town.database.begin() as db:
        now = town.database.clock()
        member = members.by_msisdn(db, amina.number)
        assert member is not None
        olive, peter = hire(db, "olive"), hire(db, "peter", ["approver"])
        assert number_changes.propose(db, member.id, to, WHY, olive, now) == "proposed"
        assert number_changes.approve(db, member.id, peter, now) == "approved"
    item = town.value("SELECT id FROM outbox WHERE kind = 'change_number' ORDER BY id DESC LIMIT 1")
    for _ in range(2):  # every task may run twice
        tasks.run(town.work, item)
    return member.id


def test_the_next_who_dials_is_a_stranger(amina: Member) -> None:
    change(amina, None)
    seen = amina.handset.dial()
    assert "Amina" not in seen.text
    assert OFFERED not in seen.text
    assert "Lugha" in seen.text  # as everybody who was never here
    assert amina.person.speaks_for() is None


def test_the_session_that_was_open_there_takes_no_answer_any_more(amina: Member) -> None:
    assert HOW_MANY in amina.handset.seen.text
    change(amina, None)
    seen = amina.handset.reply("3")
    assert seen.ends
    assert amina.open_frames() == 0


def test_who_registers_there_has_an_account_of_their_own(amina: Member) -> None:
    her_id = change(amina, None)
    kamau = Member(amina.town, number=amina.number)
    kamau.handset.dial()
    kamau.handset.walk("1", "Kamau Njoroge", "Toi", "1", "1", "7391")
    with amina.town.database.begin() as db:
        found = members.by_msisdn(db, amina.number)
    assert found is not None
    assert (found.id != her_id, found.name) == (True, "Kamau Njoroge")
    kamau.handset.dial()
    kamau.handset.choose("My orders")
    assert "Tomatoes" not in kamau.handset.seen.text
    assert kamau.orders() == []
    amina.person.say("status")  # her chat is nobody's now
    assert "Kamau" not in amina.person.seen


def test_she_goes_on_at_her_new_number_with_the_same_pin(amina: Member) -> None:
    to = f"+25472{amina.number[6:]}"
    old_sms = len(amina.sms)
    change(amina, to)
    amina.town.settle()
    told = amina.sms[old_sms:]
    assert len(told) == 1
    assert "moved from this phone" in told[0]
    anew = Member(amina.town, number=to)
    assert any("Your PIN is the same" in text for text in anew.sms)
    assert "Amina" in anew.handset.dial().text
    anew.handset.choose("Wallet")
    assert "You have KSh" in anew.handset.reply(PIN).text
    assert anew.orders() == ["paid"]
