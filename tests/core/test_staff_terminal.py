"""`python -m core.staff`: what staff type, what they read, how it ends."""

import os
import shlex
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from core import (
    approvals,
    cases,
    disputes,
    float_moves,
    freezes,
    members,
    number_changes,
    pin_resets,
    resolutions,
    settlements,
    staff,
    suspense,
    treasury,
    verdicts,
)
from core.database import Database, Db
from core.rules import Rules
from core.staff import __main__ as terminal
from core.staff import watch
from tests.core.deal import HELD, REFUNDED, Deal
from tests.core.handshake import Handshake
from tests.core.market import RULES, c2b
from tests.core.office import ORIGIN, WHY, Quarrel, Terminal

ROOT = Path(__file__).parents[2]
PHONE = "+254711000001"  # of the buyer


class Court(Terminal):
    """The terminal at which a dispute is decided."""

    def __init__(self, quarrel: Quarrel, rules: Rules = RULES) -> None:
        super().__init__(quarrel.db, quarrel.deal.now, rules)
        self.quarrel = quarrel
        self.case = quarrel.dispute().number

    def type(self, line: str) -> tuple[int, str]:
        """ "5001" stands for the dispute's number."""
        self.now = self.quarrel.deal.now
        return super().type(line.replace("5001", str(self.case)))


@pytest.fixture
def quarrel(db: Db, now: datetime) -> Quarrel:
    return Quarrel(Deal(db, now))


@pytest.fixture
def desk(quarrel: Quarrel) -> Court:
    return Court(quarrel)


def test_a_dispute_is_read_decided_and_on_the_record(desk: Court) -> None:
    desk.quarrel.comes_to("review")
    code, listed = desk.type("disputes")
    assert (code, str(desk.case) in listed, "500" in listed) == (0, True, True)
    code, shown = desk.type("show 5001")
    assert code == 0
    for part in ("They smell.", "They were fresh.", "Amina", "Wanjiku Fresh", "+2547•••001"):
        assert part in shown
    code, said = desk.type(f"decide 5001 --buyer 500 --seller 0 --reason '{WHY}' --by olive")
    assert (code, said) == (0, "decided; both are told")
    assert desk.quarrel.deal.purses() == REFUNDED
    assert desk.type("disputes") == (0, "Nothing to do.")
    assert WHY in desk.type("show 5001")[1]
    code, acts = desk.type("audit --of 'case 5001'")
    assert "olive" in acts
    assert "state review > resolved_buyer" in acts
    assert ORIGIN in acts


def test_of_a_deal_staff_read_what_was_agreed(db: Db, desk: Court) -> None:
    shake = Handshake(db, desk.quarrel.deal.now)
    shake.opened("seller")
    shake.accept()
    shake.pay()
    shake.dispatch()
    order = shake.order()
    assert disputes.open(db, order.id, order.buyer_id, "wrong", None, shake.now) == "opened"
    dispute = disputes.of_order(db, order.id)
    assert dispute is not None
    code, shown = desk.type(f"show {dispute.number}")
    agreed = "agreed between them: Samsung A12, used; With charger. We meet at Toi Market."
    assert (code, agreed in shown) == (0, True)


def test_no_number_is_shown_whole(desk: Court) -> None:
    cases.open(desk.quarrel.db, desk.quarrel.deal.buyer, "order", [], desk.quarrel.deal.now)
    staff_line = f"add trader --roles operator --msisdn {PHONE} --by chief"
    freeze_line = f"freeze {PHONE} --reason 'Her phone is lost.' --by olive"
    lines = ("list", "disputes", "show 5001", "cases", "audit")
    said = "\n".join(desk.type(line)[1] for line in (staff_line, freeze_line, *lines))
    assert "+2547•••001" in said
    assert "254711" not in said


@pytest.mark.parametrize("share", ["--buyer 200", "--seller 300", "--buyer 200 --seller 300"])
def test_one_share_says_the_other(desk: Court, share: str) -> None:
    desk.quarrel.comes_to("review")
    assert desk.type(f"decide 5001 {share} --reason '{WHY}' --by olive")[0] == 0
    assert desk.quarrel.deal.purses() == (0, 20_000, 29_200, 800)


def test_above_the_limit_it_waits_for_a_second_person(quarrel: Quarrel) -> None:
    desk = Court(quarrel, Rules(dispute_second_above_cents=10_000))
    quarrel.comes_to("review")
    code, said = desk.type(f"decide 5001 --buyer 500 --reason '{WHY}' --by olive")
    assert (code, "second person" in said) == (0, True)
    assert quarrel.deal.purses() == HELD
    assert "to approve" in desk.type("disputes")[1]
    assert desk.type("approve 5001 --by olive")[0] == 1
    assert desk.type(f"decline 5001 --reason '{WHY}' --by peter")[0] == 0
    assert desk.type(f"decide 5001 --buyer 500 --reason '{WHY}' --by olive")[0] == 0
    assert desk.type("approve 5001 --by peter") == (0, "decided; both are told")
    assert quarrel.deal.purses() == REFUNDED


REFUSED = {
    f"decide 5001 --buyer 500 --reason '{WHY}' --by olive": "the seller still has time",
    f"decide 5001 --buyer 500 --reason '{WHY}' --by nobody": "nobody of that name",
    f"decide 5001 --buyer 500 --reason '{WHY}' --by peter": "your role",
    f"decide 999 --buyer 500 --reason '{WHY}' --by olive": "there is no dispute 999",
    f"decide 5001 --reason '{WHY}' --by olive": "say what the buyer gets",
    "show 999": "there is no dispute 999",
    "approve 5001 --by peter": "no decision to approve",
    "approve 5001 --by olive": "your role",
    f"decline 5001 --reason '{WHY}' --by peter": "no decision to approve",
    "freeze +254799999999 --reason 'A lost phone.' --by olive": "nobody here has that number",
    "freeze +254711000001 --reason '' --by olive": "the reason is too short",
    "unfreeze +254711000001 --by peter": "not frozen",
    "unfreeze +254711000001 --by olive": "your role",
    "close-case 999 --note 'Called him.' --by olive": "no such case",
    "add mallory --roles admin": "only an admin",
    "add mallory --roles admin --by olive": "only an admin",
    "add System --roles operator --by chief": "a name is",
    "add olive --roles '' --by chief": "which roles",
    "retire nobody --by chief": "nobody of that name",
    "retire chief --by chief": "somebody must stay admin",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_refused_is_said_in_one_line_and_moves_nothing(desk: Court, line: str) -> None:
    code, said = desk.type(line)
    assert code == 1
    assert said.startswith("Refused: ")
    assert REFUSED[line] in said
    assert "\n" not in said
    assert (desk.quarrel.deal.state(), desk.quarrel.deal.purses()) == ("disputed", HELD)
    assert desk.quarrel.acts() == []


def test_deciding_twice_is_refused(desk: Court) -> None:
    desk.quarrel.comes_to("resolved_split")
    code, said = desk.type(f"decide 5001 --buyer 500 --reason '{WHY}' --by olive")
    assert (code, said) == (1, "Refused: it is decided or withdrawn already")


def test_a_partys_attempt_is_refused_and_leaves_an_incident(desk: Court) -> None:
    desk.quarrel.comes_to("review")
    desk.type(f"add amina --roles operator,approver --msisdn {PHONE} --by chief")
    code, said = desk.type(f"decide 5001 --buyer 500 --reason '{WHY}' --by amina")
    assert (code, "party" in said) == (1, True)
    assert "verdict_by_a_party" in desk.quarrel.open_incidents()


MISTYPED = [
    "",
    "release 5001 --by olive",
    "decide 5001 --buyer 500 --by olive",
    "decide --buyer 500 --reason x --by olive",
    "freeze 12 --reason 'A lost phone.' --by olive",
    "add olive --roles king --by chief",
    "show abc",
    *(
        f"decide 5001 --buyer {amount} --reason '{WHY}' --by olive"
        for amount in ("9.99", "1e309", "NaN", "-5", "10000000000", "٥٠٠", "''")
    ),
]


@pytest.mark.parametrize("line", MISTYPED)
@pytest.mark.usefixtures("capsys")
def test_what_is_no_command_ends_with_2(desk: Court, line: str) -> None:
    with pytest.raises(SystemExit) as ended:
        desk.type(line)
    assert ended.value.code == 2


def test_a_lost_phone_is_frozen_and_let_go_by_another(desk: Court) -> None:
    quarrel = desk.quarrel
    assert desk.type("freeze 0711000001 --reason 'Her phone is lost.' --by olive")[0] == 0
    assert freezes.is_frozen(quarrel.db, quarrel.deal.buyer)
    assert desk.type(f"freeze {PHONE} --reason 'Her phone is lost.' --by olive")[0] == 1
    assert desk.type(f"unfreeze {PHONE} --by peter")[0] == 0
    assert not freezes.is_frozen(quarrel.db, quarrel.deal.buyer)


def test_who_waits_for_a_call_is_listed_until_called(desk: Court) -> None:
    quarrel = desk.quarrel
    assert desk.type("cases") == (0, "Nobody waits.")
    said = cases.Said(quarrel.deal.now, "ussd", "home.help", "Help")
    cases.open(quarrel.db, quarrel.deal.buyer, "payment", [said], quarrel.deal.now)
    (case,) = cases.waiting(quarrel.db)
    assert {"payment", "home.help"} <= set(desk.type("cases")[1].split())
    assert desk.type(f"close-case {case.number} --note 'She paid twice.' --by olive")[0] == 0
    assert desk.type("cases") == (0, "Nobody waits.")


def test_what_is_late_is_listed_as_late(desk: Court) -> None:
    desk.quarrel.comes_to("review")
    assert "LATE" not in desk.type("disputes")[1]
    desk.quarrel.deal.now += timedelta(days=8)
    assert "LATE" in desk.type("disputes")[1]


def test_every_refusal_of_a_verb_has_its_words() -> None:
    said = {*terminal.WHY, *terminal.GOOD}
    by_hand = {"asked", "not_unknown", *watch.WHY, *watch.GOOD}  # the commands' own
    outcomes = by_hand | _words(float_moves.Refused)
    for verb in (
        *(verdicts.decide, verdicts.approve, verdicts.decline, staff.add, staff.retire),
        *(terminal.desk.freeze, terminal.desk.unfreeze, terminal.desk.close_case),
        *(resolutions.decide, resolutions.approve, resolutions.decline),
        *(suspense.explain, suspense.give_back, suspense.approve, suspense.decline),
        *(approvals.approve, approvals.reject, approvals.resume),
        *(number_changes.propose, number_changes.approve, number_changes.decline),
        *(pin_resets.propose, pin_resets.approve, pin_resets.decline),
        *(treasury.propose, treasury.book, treasury.decline, float_moves.end_by_hand),
    ):
        outcomes |= _words(verb.__annotations__["return"])
    assert outcomes == said


def _words(outcome: Any) -> set[str]:
    """Of a Literal, or of whatever else a union has in it."""
    if isinstance(outcome, str):
        return {outcome}
    return {word for part in get_args(outcome) for word in _words(part)}


def test_the_command_itself_works_on_a_real_database(database: Database, now: datetime) -> None:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    environment = {**os.environ, "DATABASE_URL": url, "SOKONI_ENV": "test"}

    def run(line: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "core.staff", *shlex.split(line)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    assert run("list") == (0, "Nobody is staff yet. The first: add NAME --roles admin", "")
    assert run("add grace --roles admin,operator") == (0, "added", "")
    code, out, error = run("add mallory --roles operator")
    assert (code, out) == (1, "")
    assert error.startswith("Refused: only an admin")
    assert run("retire")[0] == 2
    with database.begin() as db:
        found = staff.find(db, "grace")
    assert found is not None
    assert found.roles == ["operator", "admin"]
    assert "terminal " in run("audit")[1]


def test_money_nobody_could_explain_pays_its_order(desk: Court) -> None:
    quarrel = desk.quarrel
    deal = quarrel.deal
    assert desk.type("suspense") == (0, "Nothing is unexplained.")
    receipt = c2b("MAMA MBOGA", deal.now, "RCPT000009", 10_000)
    assert settlements.receive(quarrel.db, receipt, deal.now) == "suspense"
    code, said = desk.type("suspense")
    assert code == 0
    assert {"RCPT000009", "100", "MBOGA"} <= set(said.split())
    order = deal.order().number
    line = f"explain RCPT000009 --order {order} --reason 'She showed her receipt.' --by olive"
    assert desk.type(line)[0] == 0
    assert f"for order {order}" in desk.type("suspense")[1]
    assert desk.type("approve-explanation RCPT000009 --by olive")[0] == 1
    code, said = desk.type("approve-explanation RCPT000009 --by peter")
    assert (code, said) == (0, terminal.GOOD["second_payment"])
    assert desk.type("decline-explanation RCPT000009 --by peter")[0] == 1


def test_money_for_nothing_of_ours_goes_back_to_the_member_who_sent_it(desk: Court) -> None:
    quarrel = desk.quarrel
    receipt = c2b("MAMA MBOGA", quarrel.deal.now, "RCPT000009", 10_000)
    assert settlements.receive(quarrel.db, receipt, quarrel.deal.now) == "suspense"
    why = "--reason 'She showed her SMS of it.' --by olive"
    assert desk.type(f"give-back RCPT000009 +254799999999 {why}")[0] == 1
    number = members.by_id(quarrel.db, quarrel.deal.buyer).msisdn
    assert desk.type(f"give-back RCPT000009 {number} {why}") == (0, terminal.GOOD["proposed"])
    said = desk.type("suspense")[1]
    assert "to approve, back to" in said
    assert number not in said
    said = desk.type("approve-explanation RCPT000009 --by peter")
    assert said == (0, terminal.GOOD["returned"])
    assert desk.type("suspense") == (0, "Nothing is unexplained.")
