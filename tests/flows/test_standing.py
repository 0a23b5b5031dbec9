"""A hop goes on from where its process left the conversation, and from there only if it may."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from core import members
from core.database import Db
from core.rules import Rules
from core.statements import Session
from flows import conversations, standing
from flows.standing import Standing
from tests.flows.handset import Clock, EngineLine, Handset, Seen
from tests.flows.street import Street


class TwoProcesses:
    """The gateway's requests, each to the process that is named; they share the database."""

    def __init__(self, db: Db, rules: Rules, clock: Clock) -> None:
        self.each = {name: EngineLine(db, rules, clock) for name in "ab"}
        self.next = "a"

    def answer(self, msisdn: str, session: str, code: str, text: str) -> Seen:
        return self.each[self.next].answer(msisdn, session, code, text)


@pytest.fixture
def both(db: Db, rules: Rules, clock: Clock) -> TwoProcesses:
    return TwoProcesses(db, rules, clock)


@pytest.fixture
def handset(both: TwoProcesses, clock: Clock, street: Street) -> Handset:
    street.register()
    return Handset(both, clock, street.msisdn)


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    asked: list[str] = []
    execute = Session.execute

    def noted(session: Session, sql: str, params: object) -> object:
        asked.append(" ".join(sql.split()))
        return execute(session, sql, params)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "execute", noted)
        yield asked


def test_a_hop_that_goes_on_is_one_statement(handset: Handset) -> None:
    handset.dial()
    handset.choose("Help")
    with statements() as asked:
        assert handset.reply("0").label == "home.menu"
    assert [sql[:10] for sql in asked] == ["WITH moved"]


def test_what_another_process_did_meanwhile_counts(handset: Handset, both: TwoProcesses) -> None:
    menu = handset.dial()
    handset.choose("Help")
    both.next = "b"
    handset.choose("Back")
    handset.choose("My account")
    both.next = "a"
    assert handset.reply("0").text == menu.text
    assert handset.choose("Help").label == "home.help"


def test_a_session_dialled_at_another_process_is_not_over(
    handset: Handset, both: TwoProcesses
) -> None:
    handset.dial()
    both.next = "b"
    handset.dial()
    both.next = "a"
    assert handset.choose("Help").label == "home.help"


@pytest.mark.parametrize("hops", [1, 2])
def test_a_repeat_is_answered_as_the_first_time_wherever_it_comes(
    handset: Handset, both: TwoProcesses, hops: int
) -> None:
    handset.dial()
    shown = [handset.choose(label).text for label in ("My account", "Back")[:hops]]
    for name in "ba":
        both.next = name
        assert handset.repeat().text == shown[-1]


def test_a_member_who_was_renamed_meanwhile_is_called_by_the_new_name(
    handset: Handset, street: Street, db: Db, clock: Clock
) -> None:
    handset.dial()
    handset.choose("Help")
    members.rename(db, street.owner, "Zawadi Mumo", clock())
    assert "Zawadi" in handset.reply("0").text


def test_a_member_who_was_erased_meanwhile_is_one_no_more(
    handset: Handset, street: Street, db: Db, clock: Clock
) -> None:
    handset.dial()
    handset.choose("Help")
    db.run(
        "UPDATE members SET deleted_at = %(now)s WHERE id = %(id)s",
        {"now": clock(), "id": street.owner},
    )
    assert handset.reply("0").label == "over"


def test_a_phone_that_is_somebody_elses_now_goes_on_with_nothing(
    handset: Handset, street: Street, db: Db, clock: Clock
) -> None:
    handset.dial()
    handset.choose("Help")
    conversations.end_of_phones(db, [street.msisdn], clock())
    assert handset.reply("0").ends


def test_it_is_forgotten_once_it_is_taken_and_where_the_session_is_another(
    handset: Handset, db: Db
) -> None:
    handset.dial()
    found = conversations.glimpse(db, "ussd", handset.msisdn, handset.msisdn, handset.session)
    assert found is not None
    kept = Standing()
    for session, msisdn, expected in (
        (handset.session, handset.msisdn, found),
        (handset.session, None, found),
        ("another", handset.msisdn, None),
        (handset.session, "+254733000001", None),
    ):
        kept.keep(found)
        assert kept.take("ussd", handset.msisdn, msisdn, session) is expected
        assert kept.take("ussd", handset.msisdn, handset.msisdn, handset.session) is None


def test_only_so_many_are_remembered(
    handset: Handset, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "CONVERSATIONS_MAX", 3)
    handset.dial()
    found = conversations.glimpse(db, "ussd", handset.msisdn, handset.msisdn, handset.session)
    assert found is not None
    kept = Standing()
    for number in range(10):
        kept.keep(replace(found, address=str(number)))
    left = [kept.take("ussd", str(number), None, handset.session) for number in range(10)]
    assert sum(one is not None for one in left) <= 3
    assert left[-1] is not None
