# ruff: noqa: N802 - I4 to I18 are names
"""Verdicts: staff divide what a dispute holds, once, in writing, and never what is their own."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.errors import CheckViolation, UniqueViolation

from core import audit, disputes, escrow, ledger, members, orders, staff, verdicts
from core.database import Db
from core.money import part_cents
from core.rules import Rules
from tests.core.deal import HELD, REFUNDED, RELEASED, Deal
from tests.core.market import RULES, msisdn, person
from tests.core.office import ORIGIN, WHY, Quarrel, hire
from tests.core.transactions import NOW, attempt, rolled_back

TWO_PEOPLE = Rules(token_key=RULES.token_key, dispute_second_above_cents=49_900)
ONE_PERSON = Rules(token_key=RULES.token_key, dispute_second_above_cents=50_000)

# What the buyer gets of the KSh 500 -> the dispute's and the order's state, and who has what.
OUTCOMES = {
    50_000: ("resolved_buyer", "refunded", REFUNDED),
    0: ("resolved_seller", "completed", RELEASED),
    # The fee of KSh 300 of an order of KSh 500 with a fee of 13 is 7.8.
    20_000: ("resolved_split", "split", (0, 20_000, 29_200, 800)),
}


@pytest.fixture
def quarrel(db: Db, now: datetime) -> Quarrel:
    return Quarrel(Deal(db, now))


@pytest.fixture
def proposed(quarrel: Quarrel) -> Quarrel:
    """Olive would give the buyer KSh 200, and it is so much that Peter must agree."""
    quarrel.comes_to("review")
    assert quarrel.decide(20_000, rules=TWO_PEOPLE) == "proposed"
    return quarrel


def unmoved(quarrel: Quarrel) -> bool:
    """I18: whatever was refused, the money is where it was."""
    return (quarrel.deal.state(), quarrel.is_frozen(), quarrel.deal.purses()) == (
        "disputed",
        True,
        HELD,
    )


@pytest.mark.parametrize("state", ["seller_reply", "review"])
@pytest.mark.parametrize("buyer", OUTCOMES)
def test_a_decision_divides_all_that_is_held_and_ends_the_order(
    quarrel: Quarrel, state: str, buyer: int
) -> None:
    quarrel.comes_to(state)
    assert quarrel.decide(buyer) == "decided"
    dispute, order, purses = OUTCOMES[buyer]
    assert (quarrel.state(), quarrel.deal.state()) == (dispute, order)
    assert (quarrel.escrow_state(), quarrel.deal.purses()) == ("settled", purses)
    assert quarrel.dispute().closed_at == quarrel.deal.now
    assert ledger.stale_balances(quarrel.db) == 0


@pytest.mark.parametrize(
    ("buyer", "trigger", "shown"),
    [
        (50_000, "refunded", ("500", "500")),
        (20_000, "split", ("200", "292")),
        (0, "decided_for_seller", ("500", "487")),
    ],
)
def test_buyer_and_seller_hear_what_they_get(
    quarrel: Quarrel, buyer: int, trigger: str, shown: tuple[str, str]
) -> None:
    quarrel.comes_to("review")
    assert quarrel.decide(buyer) == "decided"
    words, case = quarrel.told(trigger), str(quarrel.dispute().number)
    assert set(words) == {quarrel.deal.buyer, quarrel.deal.seller}
    for member, amount in zip((quarrel.deal.buyer, quarrel.deal.seller), shown, strict=True):
        assert f"KSh {amount}" in words[member]
        assert case in words[member]
    assert "photos" not in "".join(words.values()), "the reason is for the screen behind a PIN"
    if trigger == "refunded":
        assert "stock" in words[quarrel.deal.seller]


def test_what_was_sent_stays_out_of_the_stock(quarrel: Quarrel) -> None:
    before = quarrel.deal.goods()
    quarrel.comes_to("resolved_buyer")
    assert quarrel.deal.goods() == before


def test_the_sellers_goods_may_be_bought_and_disputed_again_and_decided_apart(
    quarrel: Quarrel, now: datetime
) -> None:
    quarrel.comes_to("withdrawn")
    opened = disputes.open(
        quarrel.db, quarrel.deal.id, quarrel.deal.buyer, "less", None, quarrel.deal.now
    )
    assert opened == "opened"
    second = disputes.of_order(quarrel.db, quarrel.deal.id)
    assert second is not None
    quarrel.id = second.id
    quarrel.comes_to("resolved_split")
    found = verdicts.of_order(quarrel.db, quarrel.deal.id)
    assert found is not None
    assert (found.buyer_cents, found.seller_cents, found.fee_cents) == (20_000, 30_000, 800)


def test_the_decision_closes_what_was_open_for_staff(quarrel: Quarrel) -> None:
    quarrel.comes_to("resolved_split")
    assert quarrel.open_incidents() == set()


def test_the_decision_is_on_the_record_with_who_what_before_after_when_and_whence(
    quarrel: Quarrel,
) -> None:
    quarrel.comes_to("review")
    assert quarrel.decide(20_000, why="  Half of the\ncrate was rotten. ") == "decided"
    (act,) = audit.of(quarrel.db, f"case {quarrel.dispute().number}")
    assert act == audit.Act(
        quarrel.deal.now,
        "olive",
        ORIGIN,
        "dispute_decided",
        f"case {quarrel.dispute().number}",
        {"state": "review", "default_buyer": False},
        {
            "state": "resolved_split",
            "to_buyer_cents": 20_000,
            "to_seller_cents": 29_200,
            "fee_cents": 800,
            "reason": "Half of the crate was rotten.",
        },
    )


def test_no_reason_is_in_the_timeline(quarrel: Quarrel) -> None:
    quarrel.comes_to("resolved_split")
    assert WHY not in str([event.detail for event in orders.timeline(quarrel.db, quarrel.deal.id)])


# --- refusals -------------------------------------------------------------------------------------


def test_while_the_seller_has_time_to_answer_nothing_is_decided(quarrel: Quarrel) -> None:
    assert quarrel.decide(50_000) == "not_yet"
    assert (quarrel.state(), quarrel.acts()) == ("open", [])
    assert unmoved(quarrel)


def test_when_his_time_is_over_it_can_be_decided_though_a_timer_is_late(quarrel: Quarrel) -> None:
    quarrel.deal.now = quarrel.dispute().answer_by
    assert quarrel.decide(50_000) == "decided"
    (act,) = audit.of(quarrel.db, f"case {quarrel.dispute().number}")
    assert act.before == {"state": "review", "default_buyer": True}


@pytest.mark.parametrize("end", ["resolved_buyer", "resolved_seller", "resolved_split"])
def test_what_is_decided_is_not_decided_again(quarrel: Quarrel, end: str) -> None:
    quarrel.comes_to(end)
    purses, acts = quarrel.deal.purses(), quarrel.acts()
    for buyer in OUTCOMES:
        assert quarrel.decide(buyer) == "already_decided"
    assert quarrel.approve() == "already_decided"
    assert quarrel.decline() == "already_decided"
    assert (quarrel.state(), quarrel.deal.purses(), quarrel.acts()) == (end, purses, acts)


def test_what_was_taken_back_is_not_decided(quarrel: Quarrel) -> None:
    quarrel.comes_to("withdrawn")
    assert quarrel.decide(50_000) == "already_decided"
    assert (quarrel.deal.state(), quarrel.deal.purses()) == ("dispatched", HELD)


@pytest.mark.parametrize(
    ("buyer", "seller"),
    [(0, 0), (50_000, 100), (49_900, 0), (-100, 50_100), (50_100, -100), (150, 49_850)],
)
def test_shares_that_are_not_what_is_held_in_whole_shillings_are_refused(
    quarrel: Quarrel, buyer: int, seller: int
) -> None:
    quarrel.comes_to("review")
    assert quarrel.decide(buyer, seller) == "wrong_sum"
    assert unmoved(quarrel)
    assert quarrel.acts() == []


@pytest.mark.parametrize("why", ["", "   ", "because", "x" * 501])
def test_a_decision_without_a_reason_in_writing_is_refused(quarrel: Quarrel, why: str) -> None:
    quarrel.comes_to("review")
    assert quarrel.decide(50_000, why=why) == "no_reason"
    assert unmoved(quarrel)


@pytest.mark.parametrize("roles", [["approver"], ["admin"], ["approver", "admin"]])
def test_only_an_operator_decides(quarrel: Quarrel, roles: Any) -> None:
    quarrel.comes_to("review")
    assert quarrel.decide(50_000, by=hire(quarrel.db, "otto", roles)) == "not_allowed"
    assert unmoved(quarrel)


def test_who_has_left_decides_nothing(quarrel: Quarrel) -> None:
    quarrel.comes_to("review")
    gone = replace(quarrel.olive, who=replace(quarrel.olive.who, active=False))
    assert quarrel.decide(50_000, by=gone) == "not_allowed"
    assert unmoved(quarrel)


@pytest.mark.parametrize("party", ["buyer", "seller", "payer"])
def test_nobody_decides_over_their_own_money_and_who_tries_is_an_incident(
    quarrel: Quarrel, party: str
) -> None:
    quarrel.comes_to("review")
    deal = quarrel.deal
    phone = msisdn(1)
    if party != "payer":
        one = members.by_id(deal.db, deal.buyer if party == "buyer" else deal.seller)
        assert one is not None
        phone = one.msisdn
    by = hire(deal.db, "both", ["operator", "approver"], phone)
    assert quarrel.decide(50_000, by=by) == "party"
    assert quarrel.incident("verdict_by_a_party").detail["by"] == "both"
    assert unmoved(quarrel)
    assert quarrel.decide(20_000, rules=TWO_PEOPLE) == "proposed"
    assert quarrel.approve(by=by) == "party"
    assert quarrel.decline(by=by) == "party"
    assert unmoved(quarrel)


def test_staff_who_trade_here_decide_over_what_is_not_theirs(
    quarrel: Quarrel, now: datetime
) -> None:
    person(quarrel.db, now, 77)
    by = hire(quarrel.db, "trader", ["operator"], "+254711000077")
    quarrel.comes_to("review")
    assert quarrel.decide(50_000, by=by) == "decided"


# --- two people -----------------------------------------------------------------------------------


def test_above_the_limit_nothing_moves_before_a_second_person_agrees(proposed: Quarrel) -> None:
    assert unmoved(proposed)
    assert (proposed.state(), proposed.acts()) == ("review", ["verdict_proposed"])
    assert proposed.incident("verdict_to_approve").detail["buyer_cents"] == 20_000
    assert proposed.approve() == "decided"
    assert (proposed.state(), proposed.deal.purses()) == ("resolved_split", OUTCOMES[20_000][2])
    assert proposed.open_incidents() == set()
    assert proposed.acts() == ["verdict_proposed", "verdict_approved"]


def test_at_the_limit_one_person_decides(quarrel: Quarrel) -> None:
    quarrel.comes_to("review")
    assert quarrel.decide(20_000, rules=ONE_PERSON) == "decided"


def test_nobody_approves_their_own_decision(proposed: Quarrel) -> None:
    olive = hire(proposed.db, "olive", ["operator", "approver", "admin"])
    assert proposed.approve(by=olive) == "own"
    assert "verdict_own_approval" in proposed.open_incidents()
    assert unmoved(proposed)
    assert proposed.approve() == "decided"


@pytest.mark.parametrize("roles", [["operator"], ["admin"]])
def test_only_an_approver_approves(proposed: Quarrel, roles: Any) -> None:
    by = hire(proposed.db, "otto", roles)
    assert proposed.approve(by=by) == "not_allowed"
    assert proposed.decline(by=by) == "not_allowed"
    assert unmoved(proposed)


def test_what_nobody_proposed_is_not_approved(quarrel: Quarrel) -> None:
    quarrel.comes_to("review")
    assert (quarrel.approve(), quarrel.decline()) == ("not_proposed", "not_proposed")
    assert unmoved(quarrel)


def test_while_one_decision_waits_there_is_no_other(proposed: Quarrel) -> None:
    otto = hire(proposed.db, "otto")
    assert proposed.decide(50_000, by=otto) == "already_proposed"
    assert proposed.decide(50_000, by=otto, rules=TWO_PEOPLE) == "already_proposed"
    assert unmoved(proposed)


def test_a_declined_decision_makes_room_for_another(proposed: Quarrel) -> None:
    assert proposed.decline(why="no") == "no_reason"
    assert proposed.decline() == "declined"
    assert unmoved(proposed)
    assert "verdict_to_approve" not in proposed.open_incidents()
    assert proposed.approve() == "not_proposed"
    assert proposed.decide(50_000) == "decided"
    assert proposed.acts() == ["verdict_proposed", "verdict_declined", "dispute_decided"]
    assert proposed.deal.purses() == REFUNDED


def test_who_decided_may_take_it_back_before_it_is_approved(proposed: Quarrel) -> None:
    assert proposed.decline(by=proposed.olive) == "declined"
    assert proposed.decide(0, rules=TWO_PEOPLE) == "proposed"
    assert proposed.approve() == "decided"
    assert proposed.deal.purses() == RELEASED


def test_a_decision_that_waits_is_escalated_too(proposed: Quarrel) -> None:
    decide_by = proposed.dispute().decide_by
    assert decide_by is not None
    proposed.deal.wait_for_timers(decide_by)
    assert proposed.open_incidents() == {"disputed", "dispute_late", "verdict_to_approve"}
    assert proposed.approve() == "decided"
    assert proposed.open_incidents() == set()


def test_the_database_itself_has_one_standing_verdict_a_dispute(proposed: Quarrel) -> None:
    second = """
        INSERT INTO verdicts (id, dispute_id, state, buyer_cents, seller_cents, reason, decided_by,
                              decided_at)
        SELECT gen_random_uuid(), dispute_id, state, buyer_cents, seller_cents, reason, decided_by,
               decided_at FROM verdicts
    """
    assert attempt(proposed.db, lambda: proposed.db.run(second)) is UniqueViolation
    own = "UPDATE verdicts SET state = 'carried_out', fee_cents = 0, ended_at = decided_at," + (
        " approved_by = decided_by"
    )
    assert attempt(proposed.db, lambda: proposed.db.run(own)) is CheckViolation


# --- the money ------------------------------------------------------------------------------------


def test_I8_only_a_decision_opens_a_frozen_escrow(proposed: Quarrel) -> None:
    db, order_id, now = proposed.db, proposed.deal.id, proposed.deal.now
    for leave in (
        lambda: escrow.release(db, order_id, now),
        lambda: escrow.refund(db, order_id, None, now),
        lambda: escrow.settle(db, order_id, 50_100, now),
        lambda: escrow.settle(db, order_id, -100, now),
    ):
        assert attempt(db, leave) is escrow.NotHeld
    assert unmoved(proposed)


def test_an_escrow_that_is_not_frozen_is_not_divided(quarrel: Quarrel) -> None:
    quarrel.comes_to("withdrawn")
    db, order_id, now = quarrel.db, quarrel.deal.id, quarrel.deal.now
    for verb in (
        lambda: escrow.settle(db, order_id, 0, now),
        lambda: escrow.frozen_cents(db, order_id),
        lambda: escrow.thaw(db, order_id, now),
    ):
        assert attempt(db, verb) is escrow.NotHeld
    assert quarrel.deal.purses() == HELD


@settings(max_examples=25, deadline=None)
@given(
    earlier=st.integers(0, 499),
    share=st.integers(0, 500),
    fee=st.integers(0, 500),
)
def test_I4_I17_whatever_is_decided_is_what_was_held_to_the_cent(
    database_url: str, earlier: int, share: int, fee: int
) -> None:
    """Of an order of KSh 500 of which some went back before, with whatever fee."""
    with rolled_back(database_url) as db:
        deal = Deal(db, NOW)
        db.run("UPDATE orders SET fee_cents = %s WHERE id = %s", [fee * 100, deal.id])
        deal.comes_to("dispatched")
        if earlier:
            escrow.refund(db, deal.id, earlier * 100, NOW)
        quarrel = Quarrel(deal)
        quarrel.comes_to("review")
        left = 50_000 - earlier * 100
        buyer = min(share * 100, left)
        assert quarrel.decide(buyer, left - buyer) == "decided"
        held, back, earned, taken = deal.purses()
        assert (held, back) == (0, earlier * 100 + buyer)
        assert taken == part_cents(fee * 100, left - buyer, 50_000)
        assert back + earned + taken == 50_000
        assert min(earned, taken) >= 0
        assert ledger.stale_balances(db) == 0
        assert ledger.unbalanced_transfers(db) == 0


def test_staff_are_asked_who_they_are_by_their_phone_and_not_by_their_name(
    quarrel: Quarrel,
) -> None:
    assert not staff.is_member(quarrel.db, quarrel.olive.who, quarrel.deal.buyer)
    named = hire(quarrel.db, "amina", ["operator"], "+254711000001")
    assert staff.is_member(quarrel.db, named.who, quarrel.deal.seller, quarrel.deal.buyer)
    assert not staff.is_member(quarrel.db, named.who, quarrel.deal.seller)
