"""An office for tests: staff at work and at a terminal, and disputes up to where they decide."""

import shlex
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from core import audit, disputes, escrow, incidents, staff, verdicts
from core.database import Db
from core.disputes import Dispute
from core.incidents import Incident
from core.rules import Rules
from core.staff import Actor
from core.staff import __main__ as terminal
from core.staff.terminal import Desk
from tests.core.deal import Deal
from tests.core.market import RULES

WHY = "The photos show it clearly."
ORIGIN = "terminal tests"


def hire(
    db: Db, name: str, roles: Collection[staff.Role] = ("operator",), msisdn: str | None = None
) -> Actor:
    """One of ours; the first of all is the admin who names the others."""
    now = db._owner.clock()
    chief = staff.find(db, "chief")
    if chief is None:
        assert staff.add(db, "chief", ["admin"], None, None, ORIGIN, now) == "added"
        chief = staff.find(db, "chief")
        assert chief is not None
    if name != "chief":
        done = staff.add(db, name, roles, msisdn, Actor(chief, ORIGIN), ORIGIN, now)
        assert done in ("added", "changed"), done
    return at_work(db, name)


def at_work(db: Db, name: str) -> Actor:
    """One who was hired before."""
    found = staff.find(db, name)
    assert found is not None
    return Actor(found, ORIGIN)


class Terminal:
    """At which Olive, an operator, and Peter, who approves, type what staff do."""

    def __init__(self, db: Db, now: datetime, rules: Rules = RULES) -> None:
        self.db, self.now, self.rules = db, now, rules
        hire(db, "olive")
        hire(db, "peter", ["approver"])

    def type(self, line: str) -> tuple[int, str]:
        """How it ends, and what is said."""
        given = terminal._parser().parse_args(shlex.split(line))
        said, code = terminal.run(Desk(self.db, self.rules, self.now, ORIGIN), given)
        return code, said

    def ok(self, line: str) -> str:
        code, said = self.type(line)
        assert code == 0, said
        return said

    def refused(self, line: str) -> str:
        code, said = self.type(line)
        assert (code, "\n" in said) == (1, False), said
        return said


class Quarrel:
    """A deal of KSh 500 (fee 13), complained of; Olive decides, Peter approves."""

    def __init__(self, deal: Deal, state: str = "dispatched") -> None:
        self.deal, self.db = deal, deal.db
        self.olive = hire(deal.db, "olive")
        self.peter = hire(deal.db, "peter", ["approver"])
        deal.comes_to(state)
        opened = disputes.open(deal.db, deal.id, deal.buyer, "rotten", "They smell.", deal.now)
        assert opened == "opened"
        found = disputes.of_order(deal.db, deal.id)
        assert found is not None
        self.id: UUID = found.id

    def dispute(self) -> Dispute:
        found = disputes.by_id(self.db, self.id)
        assert found is not None
        return found

    def state(self) -> str:
        return self.dispute().state

    def answer(self, words: str = "They were fresh.", by: UUID | None = None) -> str:
        by = by or self.deal.seller
        return disputes.answer(self.db, self.deal.id, by, words, self.deal.now)

    def withdraw(self, by: UUID | None = None) -> str:
        by = by or self.deal.buyer
        return disputes.withdraw(self.db, self.deal.id, by, self.deal.now)

    def comes_to(self, state: str) -> None:
        """Along the road on which the seller answers."""
        if state in ("seller_reply", "review"):
            assert self.answer() == "answered"
        if state == "review":
            self.deal.now = self.dispute().answer_by
            assert disputes.end_answering(self.db, self.id, self.deal.now) == "review"
        if state.startswith("resolved"):
            assert self.answer() == "answered"
            buyer = {"resolved_buyer": 50_000, "resolved_split": 20_000, "resolved_seller": 0}
            assert self.decide(buyer[state]) == "decided"
        if state == "withdrawn":
            assert self.withdraw() == "withdrawn"
        assert self.state() == state

    def decide(
        self,
        buyer: int,
        seller: int | None = None,
        by: Actor | None = None,
        why: str = WHY,
        rules: Rules = RULES,
    ) -> str:
        """seller: None for the rest of the KSh 500."""
        seller = 50_000 - buyer if seller is None else seller
        by = by or self.olive
        return verdicts.decide(self.db, self.id, by, buyer, seller, why, rules, self.deal.now)

    def approve(self, by: Actor | None = None) -> str:
        return verdicts.approve(self.db, self.id, by or self.peter, self.deal.now)

    def decline(self, by: Actor | None = None, why: str = WHY) -> str:
        return verdicts.decline(self.db, self.id, by or self.peter, why, self.deal.now)

    def escrow_state(self) -> str:
        found: str = self.db.value("SELECT state FROM escrows WHERE order_id = %s", [self.deal.id])
        return found

    def is_frozen(self) -> bool:
        return self.escrow_state() == "frozen" and escrow.frozen_cents(self.db, self.deal.id) > 0

    def open_incidents(self) -> set[str]:
        found: list[str] | None = self.db.value(
            "SELECT array_agg(kind) FROM incidents WHERE subject = %s AND closed_at IS NULL",
            [str(self.deal.id)],
        )
        return set(found or [])

    def incident(self, kind: str) -> Incident:
        found = incidents.find_open(self.db, kind, self.deal.id)
        assert found is not None, f"no {kind} is open"
        return found

    def acts(self) -> list[str]:
        return [act.what for act in audit.of(self.db, f"case {self.dispute().number}")]

    def told(self, trigger: str) -> dict[UUID, str]:
        """The newest words of this trigger, by member."""
        rows = self.db.value(
            "SELECT coalesce(json_agg(json_build_array(member_id, text) ORDER BY id), '[]')"
            " FROM messages WHERE trigger = %s",
            [trigger],
        )
        return {UUID(member_id): text for member_id, text in rows}
