"""`python -m core.staff`: what staff type when money is stuck, and what they read then."""

import ast
import importlib
import itertools
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import attrgetter
from pathlib import Path
from uuid import UUID

import pytest

from core import audit, halts, incidents, outbox, settlements
from core.database import Db
from core.staff.watch import BY_HAND, TO_DO
from tests.core.deal import Deal
from tests.core.market import failed, open_market, paid, purchase, pushed, settled
from tests.core.office import Terminal, hire
from tests.core.purse import RULES, Purse

ROOT = Path(__file__).parents[2]


class Watch(Terminal):
    """The terminal at night."""

    def due(self, kind: str) -> datetime:
        """When that work is done next."""
        found: datetime = self.db.value(
            "SELECT due_at FROM outbox WHERE kind = %s AND done_at IS NULL", [kind]
        )
        return found


@pytest.fixture
def desk(db: Db, now: datetime) -> Watch:
    return Watch(db, now, RULES)


def opened() -> Iterator[str]:
    """The kind of each incident that is opened anywhere, as the code names it."""
    for folder in ("core", "payments", "worker", "flows", "channels"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "incidents.open":
                    kind = node.args[1]
                    if isinstance(kind, ast.Constant):
                        yield str(kind.value)
                    elif (module, ast.unparse(kind)) == ("core.solvency", "kind"):
                        yield from ("insolvent", "float_overdrawn")
                    else:
                        yield attrgetter(ast.unparse(kind))(importlib.import_module(module))


def test_of_every_incident_it_is_said_what_to_do_and_how_it_ends() -> None:
    assert not TO_DO.keys() & BY_HAND.keys()
    assert TO_DO.keys() | BY_HAND.keys() == set(opened())


def test_what_is_wrong_is_listed_with_what_to_do(desk: Watch) -> None:
    assert desk.ok("incidents") == "Nothing is wrong."
    bought = pushed(desk.db, purchase(desk.db, open_market(desk.db, desk.now), desk.now), desk.now)
    incidents.open(desk.db, "unknown_code", bought.charge_id, desk.now, code="8006")
    incidents.open(desk.db, "insolvent", "books", desk.now, missing_cents=123_400)
    said = desk.ok("incidents")
    assert re.search(rf"unknown_code +prompt {bought.reference} +code 8006 +trace it", said)
    assert re.search(r"insolvent +books +missing KSh 1,234 +reconcile", said)


def test_an_incident_is_closed_by_whoever_has_looked_with_a_note(desk: Watch) -> None:
    incidents.open(desk.db, "task_fails", "a task", desk.now, task="sms")
    (name,) = re.findall(r"^([0-9a-f]{8})  ", desk.ok("incidents"), re.MULTILINE)
    assert desk.type(f"close-incident {name} --note ' ok ' --by olive")[1].endswith("came of it")
    assert "closed" in desk.ok(f"close-incident {name} --note 'The disk was full.' --by olive")
    assert desk.ok("incidents") == "Nothing is wrong."
    assert "no incident" in desk.type(f"close-incident {name} --note 'Once more.' --by olive")[1]
    (act,) = audit.of(desk.db, "a task")
    assert (act.who, act.what) == ("olive", "task_fails_closed")


def test_an_incident_of_an_older_version_is_listed_and_closed_like_others(desk: Watch) -> None:
    incidents.open(desk.db, "of_old_times", "books", desk.now)
    (name,) = re.findall(r"^([0-9a-f]{8}) .*tell a developer$", desk.ok("incidents"), re.MULTILINE)
    desk.ok(f"close-incident {name} --note 'It is long over.' --by olive")
    assert desk.ok("incidents") == "Nothing is wrong."


def test_who_only_approves_closes_none(desk: Watch) -> None:
    incidents.open(desk.db, "task_fails", "a task", desk.now, task="sms")
    (name,) = re.findall(r"^([0-9a-f]{8})  ", desk.ok("incidents"), re.MULTILINE)
    code, said = desk.type(f"close-incident {name} --note 'The disk was full.' --by peter")
    assert (code, "role" in said) == (1, True)
    assert "task_fails" in desk.ok("incidents")


def test_nobody_closes_the_incident_that_tells_of_themselves(desk: Watch) -> None:
    incidents.open(desk.db, "verdict_by_a_party", "an order", desk.now, by="olive")
    (name,) = re.findall(r"^([0-9a-f]{8})  ", desk.ok("incidents"), re.MULTILINE)
    code, said = desk.type(f"close-incident {name} --note 'It was a mistake.' --by olive")
    assert (code, "second person" in said) == (1, True)
    hire(desk.db, "otto")
    assert "closed" in desk.ok(f"close-incident {name} --note 'We spoke with her.' --by otto")


def test_an_incident_that_holds_money_back_is_ended_by_no_note(desk: Watch) -> None:
    halts.halt(desk.db, "initiator", "2001", desk.now)
    (name,) = re.findall(r"^([0-9a-f]{8}) .*payouts_halted", desk.ok("incidents"), re.MULTILINE)
    code, said = desk.type(f"close-incident {name} --note 'Never mind that.' --by olive")
    assert (code, "ends by itself" in said) == (1, True)
    assert halts.is_halted(desk.db, "initiator")


def test_a_stuck_purchase_is_found_by_all_its_names_and_told_from_end_to_end(
    desk: Watch,
) -> None:
    db, now = desk.db, desk.now
    bought = settled(db, purchase(db, open_market(db, now), now), now)
    number = db.value("SELECT min(number) FROM orders")
    said = desk.ok(f"trace {number}")
    for part in (
        f"Order {number}: paid, KSh 500; buyer Amina  +2547•••001, seller Wanjiku Fresh",
        f"Order {number + 1}: paid, KSh 181",
        f"Prompt {bought.reference}: paid",
        "taken by M-Pesa",
        "callback 0: paid",
        f"receipt R{bought.reference}",
        f"escrow of {number}",
        "Next ",
    ):
        assert part in said
    assert bought.payer not in said
    for name in (number + 1, bought.reference.lower(), f"R{bought.reference}"):
        assert desk.ok(f"trace {name}") == said


def test_a_member_who_calls_is_asked_which_of_her_orders(desk: Watch) -> None:
    deal = Deal(desk.db, desk.now)
    said = desk.ok("trace 0711000001")
    assert "Amina" in said
    assert re.search(rf"^{deal.order().number} .* paid +500 +paid$", said, re.MULTILINE)
    assert "Was paid nothing." in said
    assert desk.type("trace 0799999999") == (1, "Refused: nobody here has that number")


@pytest.mark.parametrize("name", ["99999", "SG632NMUAB", "deadbeef", "%", "' OR 1=1", "0"])
def test_a_name_that_nothing_has_is_refused(desk: Watch, name: str) -> None:
    Deal(desk.db, desk.now)
    code, said = desk.type(f'trace "{name}"')
    assert (code, said) == (1, "Refused: no order, receipt, account or payout has that name")


def test_mpesa_is_asked_now_about_a_prompt_without_an_answer(desk: Watch) -> None:
    db, now = desk.db, desk.now
    bought = pushed(db, purchase(db, open_market(db, now), now), now)
    later = desk.due("query_charge")
    assert later > now
    assert "M-Pesa is asked" in desk.ok(f"ask {bought.reference} --by olive")
    assert desk.due("query_charge") == now
    assert [act.what for act in audit.of(db, bought.reference)] == ["mpesa_asked"]
    assert "role" in desk.type(f"ask {bought.reference} --by peter")[1]


def test_there_is_nothing_to_ask_about_what_has_ended_or_was_never_sent(desk: Watch) -> None:
    db, now = desk.db, desk.now
    bought = purchase(db, open_market(db, now), now)
    assert "nothing to say" in desk.type(f"ask {bought.reference} --by olive")[1]
    pushed(db, bought, now)
    assert settlements.settle(db, bought.charge_id, failed(), now) == "failed"
    assert "nothing to say" in desk.type(f"ask {bought.reference} --by olive")[1]
    assert settlements.settle(db, bought.charge_id, paid(bought), now) == "paid"
    assert "nothing to say" in desk.type(f"ask {bought.reference} --by olive")[1]


def test_a_payout_nobody_heard_of_is_told_and_asked_about(desk: Watch) -> None:
    purse = Purse(desk.db, desk.now)
    payout_id = purse.unknown()
    said = desk.ok(f"trace {payout_id.hex[-8:]}")
    for part in (
        "unknown; withdrawal of KSh 1,000 to Wanjiku",
        "is sent, for the 1. time",
        "Next ",
    ):
        assert part in said
    assert purse.msisdn not in said
    assert desk.due("query_payout") > desk.now
    desk.ok(f"ask {payout_id.hex[-8:]} --by olive")
    assert desk.due("query_payout") == desk.now
    desk.now += timedelta(minutes=1)
    assert purse.settle(payout_id, purse.paid(payout_id)) == "paid"
    assert "receipt SG632NMUAB" in desk.ok("trace sg632nmuab")
    assert "nothing to say" in desk.type("ask SG632NMUAB --by olive")[1]


def test_a_payout_whose_name_is_all_digits_is_no_order(
    desk: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    purse = Purse(desk.db, desk.now)
    made, number = Db.new_id, itertools.count(8 << 28)

    def new_id(db: Db) -> UUID:
        """Of its time and in order, as all are, but for its end."""
        return UUID(f"{made(db).hex[:13]}000{next(number):08x}74816929")

    monkeypatch.setattr(Db, "new_id", new_id)
    purse.unknown()
    assert desk.ok("trace 74816929").startswith("Payout 74816929: unknown")


def test_why_work_was_put_off_is_shown(desk: Watch) -> None:
    db, now = desk.db, desk.now
    bought = purchase(db, open_market(db, now), now)
    (item,) = (
        it for it in outbox.take_due(db, now + timedelta(minutes=1), 100) if it.kind == "stk_push"
    )
    outbox.postpone(db, item.id, now + timedelta(minutes=2), "Unreached")
    said = desk.ok(f"trace {bought.reference}")
    assert "stk_push, begun 1 times; put off: Unreached" in said
