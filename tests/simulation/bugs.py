"""Planted bugs: mistakes that people make, each of which the days must find out.

They are patches of our own functions and statements, and dropped constraints, put on for the time
of a test: what is shipped has no switches. A checker that cannot fail proves nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID, uuid5

from core import (
    captures,
    charges,
    deliveries,
    escrow,
    freezes,
    incidents,
    ledger,
    messages,
    orders,
    outbox,
    payout_calls,
    payout_proofs,
    payout_queue,
    payouts,
    receipts,
    refunds,
    reversals,
    settlements,
    staff,
    stock,
    suspense,
    treasury,
    withdrawals,
)
from core.statements import Session
from simulator.books import Books
from tests.simulation.day import Profile
from worker import tasks

Plant = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Bug:
    """invariant: what finds it out, a pattern of what the day says. schema: what is dropped."""

    name: str
    invariant: str
    plant: Plant
    profile: Profile
    schema: Sequence[str] = ()


BUGS: Final[list[Bug]] = []


def bug(
    invariant: str, schema: Sequence[str] = (), **profile: Any
) -> Callable[[Callable[[], Iterator[object]]], Plant]:
    def register(made: Callable[[], Iterator[object]]) -> Plant:
        plant = contextmanager(made)
        name = made.__name__.replace("_", " ")
        BUGS.append(Bug(name, invariant, plant, Profile(loses=False, **profile), schema))
        return plant

    return register


def _instead(where: Any, name: str, make: Callable[[Any], Any]) -> AbstractContextManager[object]:
    """In place of the function of that name, what `make` makes of it."""
    return patch.object(where, name, make(getattr(where, name)))


@contextmanager
def _saying(changes: Mapping[str, str]) -> Iterator[None]:
    """Each statement that holds a key says its value there instead."""
    execute = Session.execute

    def rewritten(self: Session, sql: Any, params: Any) -> Any:
        for old, new in changes.items():
            sql = sql.replace(old, new)
        return execute(self, sql, params)

    with patch.object(Session, "execute", rewritten):
        yield


def _never(*_: object, **__: object) -> None:
    """Forgotten altogether."""


@contextmanager
def _keys_differ(*kinds: str) -> Iterator[None]:
    """Transfers of these kinds are posted again under another key each time."""
    numbers = count()

    def make(post: Any) -> Any:
        def differing(db: Any, kind: str, key: str, *given: Any) -> Any:
            return post(db, kind, f"{key}:{next(numbers)}" if kind in kinds else key, *given)

        return differing

    with _instead(ledger, "post", make):
        yield


# --- money that comes in --------------------------------------------------------------------------

_PAYING: Final = ("buys", "pays_again", "pays_by_hand", "answers_prompt", "gives_up")


_LOST_PUSHES: Final = {"faults": [{"fault": "reset", "when": "after", "on": "push"}]}


@bug("I6 each charge is pushed once", acts=_PAYING, begun=0.0, weather=(_LOST_PUSHES,))
def a_push_is_made_again_after_a_lost_answer() -> Iterator[object]:
    def make(record_push: Any) -> Any:
        def insistent(db: Any, charge_id: Any, answer: Any, now: Any) -> None:
            if answer.outcome != "unknown":
                record_push(db, charge_id, answer, now)
                return
            db.run("UPDATE charges SET claimed_at = NULL WHERE id = %(id)s", {"id": charge_id})
            outbox.put(db, "stk_push", due_at=now, charge_id=charge_id)

        return insistent

    with _instead(charges, "record_push", make):
        yield


_SLOW_WORD: Final = {"auto": "0", "auto_seconds": [1.0, 2.0], "callback_seconds": 90.0}


@bug("I6 each|I10", acts=_PAYING, rate=0.1, begun=0.0, weather=(_SLOW_WORD,))
def a_push_is_made_before_its_claim_is_committed() -> Iterator[object]:
    def stk_push(work: Any, item: Any) -> None:
        charge_id = UUID(item.arguments["charge_id"])
        work.gateway.prepare()
        with work.database.begin() as db:
            now = work.database.clock()
            claimed = charges.claim_for_push(db, charge_id, work.rules, now)
            if claimed is not None:
                answer = work.gateway.request_payment(
                    claimed.msisdn, claimed.amount_cents, claimed.reference, "x", claimed.token
                )
                charges.record_push(db, charge_id, answer, now)
            outbox.done(db, item.id, now)

    with patch.dict(tasks.TASKS, {"stk_push": stk_push}):  # type: ignore[arg-type]
        yield


@bug("I5", acts=_PAYING, weather=({"auto": "0", "claimed_amount": 1, "c2b_seconds": 500.0},))
def a_callback_is_believed_whatever_amount_it_names() -> Iterator[object]:
    def make(doubts: Any) -> Any:
        return lambda *given: [each for each in doubts(*given) if each != "amount"]

    with _instead(settlements, "_doubts", make):
        yield


@bug("I5", acts=_PAYING, weather=({"auto": "0", "c2b_repeats": 2, "callback_seconds": 99.0},))
def a_receipt_told_twice_is_booked_twice() -> Iterator[object]:
    with patch.object(receipts, "find", _never), _keys_differ("receipt"):
        yield


@bug("I10", acts=_PAYING, weather=({"auto": "0", "contradiction": ["1037", "0"]},))
def a_failed_charge_stays_failed_whatever_is_proved() -> Iterator[object]:
    def make(verb: Any) -> Any:
        def deaf(db: Any, *given: Any) -> Any:
            if db.value("SELECT count(*) FROM charges WHERE state = 'failed'"):
                return "already_settled"
            return verb(db, *given)

        return deaf

    with ExitStack() as stack:
        for verb in ("_accept", "_prove", "receive"):
            stack.enter_context(_instead(settlements, verb, make))
        yield


# Or, where M-Pesa says so thrice at once, by a key that stands for another transfer.
@bug("I9|Conflict", acts=_PAYING, weather=({"auto": "0", "contradiction": ["0", "1032"]},))
def a_paid_charge_fails_when_a_failure_is_told_after_it() -> Iterator[object]:
    def make(settle: Any) -> Any:
        def last_word(db: Any, charge_id: Any, result: Any, now: Any) -> Any:
            outcome = settle(db, charge_id, result, now)
            if result.verdict == "failed":
                charges._set_state(db, charge_id, "failed", now)
            return outcome

        return last_word

    with _instead(settlements, "settle", make):
        yield


@bug("I12", acts=_PAYING, weather=({"auto": "0", "callback_seconds": 1_500.0},), begun=0.0)
def money_is_captured_into_closed_orders() -> Iterator[object]:
    def make(capture: Any) -> Any:
        def reviving(db: Any, payable: Any, *given: Any) -> Any:
            waiting = [replace(order, state="placed") for order in payable.orders]
            return capture(db, replace(payable, orders=waiting), *given)

        return reviving

    moves = {**orders.MOVES, "expired": frozenset({"paid"}), "cancelled": frozenset({"paid"})}
    with _instead(captures, "capture", make), patch.object(orders, "MOVES", moves):
        yield


@bug(
    "I20",
    schema=["DROP INDEX uq_charges_open_msisdn", "DROP INDEX uq_charges_open_checkout"],
    acts=_PAYING,
)
def a_phone_is_asked_twice_at_once() -> Iterator[object]:
    with patch.object(charges, "permit", lambda *_: "clear"):
        yield


# --- goods ----------------------------------------------------------------------------------------


@bug(
    "I12",
    acts=("buys",),
    pairs=1.0,
    eager=200,
    steps=20,
    on_hand_milli=5_000,
    begun=0.0,
)
def nobody_locks_the_stock() -> Iterator[object]:
    locks = {"ORDER BY offer_id FOR NO KEY UPDATE": "ORDER BY offer_id"}
    with _saying(locks):
        yield


@bug("I12", acts=("buys", "calls_off", "refuses"), begun=1.0)
def an_order_called_off_keeps_its_goods() -> Iterator[object]:
    with patch.object(stock, "give_back", _never):
        yield


@bug("I12", acts=("buys", "gives_up"), weather=({"auto": "1032"},))
def a_reservation_is_not_released() -> Iterator[object]:
    with patch.object(stock, "release", _never):
        yield


# --- escrow ---------------------------------------------------------------------------------------

_TRADING: Final = (
    *("buys", "accepts", "sends", "claims_delivery", "enters_code", "has_it", "complains"),
    *("decides", "approves_verdict", "calls_off", "withdraws"),
)


@bug("I8", acts=_TRADING, begun=1.0)
def a_complaint_freezes_nothing() -> Iterator[object]:
    with patch.object(escrow, "freeze", _never):
        yield


@bug("I8", acts=("buys", "accepts", "sends", "complains", "enters_code"), begun=1.0)
def the_right_code_releases_what_is_frozen() -> Iterator[object]:
    def make(enter_code: Any) -> Any:
        def eager(db: Any, order_id: Any, *given: Any) -> Any:
            outcome = enter_code(db, order_id, *given)
            if outcome == "frozen":
                escrow.release(db, order_id, given[-1])
                orders.move(db, order_id, "completed", given[-1])
                return "released"
            return outcome

        return eager

    states = {"AND e.state = %(state)s FOR": "AND e.state IN ('held', %(state)s, 'frozen') FOR"}
    with _instead(deliveries, "enter_code", make), _saying(states):
        yield


@bug("I3", acts=_TRADING, begun=1.0)
def a_refund_forgets_to_say_so_in_its_escrow() -> Iterator[object]:
    with _saying(
        {"SET state = %(state)s, refunded_cents = %(refunded_cents)s": "SET state = state"}
    ):
        yield


@bug(
    "I4",
    schema=["ALTER TABLE escrows DROP CONSTRAINT ck_escrows_settled_whole"],
    acts=_TRADING,
    begun=1.0,
)
def a_release_forgets_its_fee() -> Iterator[object]:
    with _saying({"fee_cents = fee_cents + %(fee_cents)s, updated_at": "updated_at"}):
        yield


@bug("I17", acts=("buys", "accepts", "sends", "complains", "decides"), begun=1.0, steps=140)
def the_fee_of_a_part_is_rounded_up() -> Iterator[object]:
    def fee_of(self: Any, gross_cents: int) -> int:
        gross_cents += self.released_cents + self.fee_cents
        return -(-self.order_fee_cents * gross_cents // self.total_cents // 100) * 100

    with patch.object(escrow._Held, "fee_of", fee_of):
        yield


# --- the ledger -----------------------------------------------------------------------------------


@bug(
    "I1",
    schema=[
        "DROP TRIGGER transfers_balance ON transfers",
        "DROP TRIGGER entries_balance ON entries",
    ],
    acts=_TRADING,
    begun=1.0,
)
def a_cent_is_lost_on_the_way() -> Iterator[object]:
    def make(insert: Any) -> Any:
        def losing(db: Any, transfers: Any, now: Any) -> Any:
            for transfer in transfers:
                if transfer.kind == "release":
                    *others, last = transfer.legs
                    legs = [*others, replace(last, amount_cents=last.amount_cents + 1)]
                    object.__setattr__(transfer, "legs", legs)
            return insert(db, transfers, now)

        return losing

    with _instead(ledger, "_insert", make):
        yield


@bug(
    "I2",
    schema=["ALTER TABLE accounts DROP CONSTRAINT ck_accounts_balance_cents"],
    acts=(*_TRADING, "asks_with_a_key"),
    begun=1.0,
    steps=140,
)
def an_account_may_be_overdrawn() -> Iterator[object]:
    with patch.object(ledger, "_overdraws", lambda *_: False):
        yield


@bug("I16", acts=_TRADING, begun=1.0)
def the_cached_balance_of_sellers_is_forgotten() -> Iterator[object]:
    with _saying({"WHERE a.id = c.id": "WHERE a.id = c.id AND a.kind <> 'L.seller'"}):
        yield


@bug("I15", acts=("buys", "accepts", "sends", "has_it", "asks_with_a_key"), begun=1.0)
def a_key_is_not_looked_at() -> Iterator[object]:
    def make(request: Any) -> Any:
        return lambda *given, key=None, **more: request(*given, key=None, **more)

    with _instead(payouts, "request", make):
        yield


@bug("I18", acts=_TRADING, begun=1.0, steps=140)
def a_refused_withdrawal_takes_what_there_is() -> Iterator[object]:
    def make(withdraw: Any) -> Any:
        def greedy(db: Any, member_id: Any, cents: Any, rules: Any, now: Any) -> Any:
            asked = withdraw(db, member_id, cents, rules, now)
            if asked == "overdrawn":
                withdraw(db, member_id, None, rules, now)
            return asked

        return greedy

    with _instead(withdrawals, "withdraw", make):
        yield


# --- money that goes out --------------------------------------------------------------------------

_PAID_OUT: Final = {"acts": _TRADING, "begun": 1.0, "steps": 140}


@bug("I10", weather=({"b2c": {"result": "never"}, "auto": "0"},), **_PAID_OUT)
def an_unanswered_payout_is_sent_again_under_a_new_name() -> Iterator[object]:
    numbers = count()

    def make(query_due: Any) -> Any:
        def again(db: Any, payout_id: Any, rules: Any, now: Any) -> Any:
            asked = query_due(db, payout_id, rules, now)
            payout = payouts.by_id(db, payout_id)
            if asked is None or payout is None or payout.query_count > 1:
                return asked
            name = str(uuid5(payout_id, str(next(numbers))))
            return replace(payout_calls._claimed(db, payout, rules, now), originator_id=name)

        return again

    with _instead(payout_calls, "query_due", make):
        yield


_LOST_ACKS: Final = {
    "faults": [{"fault": "reset", "when": "after", "on": "b2c"}],
    "b2c": {"result": "never"},
    "auto": "0",
}


@bug("I10", weather=(_LOST_ACKS,), **_PAID_OUT)
def what_nobody_knows_is_taken_for_a_failure() -> Iterator[object]:
    def make(record_ack: Any) -> Any:
        def hasty(db: Any, payout_id: Any, answer: Any, now: Any) -> None:
            record_ack(db, payout_id, answer, now)
            payout = payouts.by_id(db, payout_id)
            if payout is not None and payout.state == "unknown":
                payouts.give_back(db, payout, "timeout", now)

        return hasty

    with _instead(payout_calls, "record_ack", make):
        yield


_PAID_AFTER_ALL: Final = {"b2c": {"result_contradiction": ["2040", "0"]}, "auto": "0"}


@bug("I10", weather=(_PAID_AFTER_ALL,), **_PAID_OUT)
def a_failed_payout_stays_failed_whatever_is_proved() -> Iterator[object]:
    def make(settle: Any) -> Any:
        def deaf(db: Any, payout_id: Any, result: Any, now: Any) -> Any:
            payout = payouts.by_id(db, payout_id)
            if payout is not None and payout.state == "failed":
                return "already_settled"
            return settle(db, payout_id, result, now)

        return deaf

    with _instead(payout_proofs, "settle", make):
        yield


@bug("I21", acts=(*_TRADING, "books"), begun=1.0, capital_cents=500_00)
def fees_are_taken_to_the_bank_whatever_is_left() -> Iterator[object]:
    def make(shortage: Any) -> Any:
        return lambda db, kind, *given: None if kind == "fees" else shortage(db, kind, *given)

    with _instead(treasury, "_shortage", make):
        yield


@bug("I7", weather=({"b2c": {"result_code": "2040"}, "auto": "0"},), **_PAID_OUT)
def the_money_of_a_failed_payout_stays_in_flight() -> Iterator[object]:
    def make(post: Any) -> Any:
        def forgetful(db: Any, kind: str, *given: Any) -> Any:
            return None if kind == "payout_failed" else post(db, kind, *given)

        return forgetful

    with _instead(ledger, "post", make):
        yield


@bug("I6 a paid payout leaves a float once", **_PAID_OUT)
def the_charge_of_a_payout_is_taken_from_the_float_at_once() -> Iterator[object]:
    with patch.object(ledger, "MPESA_CHARGES_OWED", ledger.B2C):
        yield


@bug("I13 no payout is", weather=({"b2c": {"result": "never"}, "auto": "0"},), **_PAID_OUT)
def nobody_asks_again_what_became_of_a_payout() -> Iterator[object]:
    def make(open_: Any) -> Any:
        def quiet(db: Any, kind: str, *given: Any, **known: Any) -> Any:
            return None if kind == "payout_unanswered" else open_(db, kind, *given, **known)

        return quiet

    once = patch.object(payout_calls, "QUERY_AFTER", payout_calls.QUERY_AFTER[:1])
    with once, _instead(incidents, "open", make):
        yield


@bug("I11", **_PAID_OUT)
def the_pretend_mpesa_pays_out_of_nothing() -> Iterator[object]:
    def make(take_up: Any) -> Any:
        def generous(self: Any, movement: Any) -> None:
            take_up(self, movement)
            if movement.kind == "b2c":
                self._balances[movement.target] += 100

        return generous

    with _instead(Books, "_take_up", make):
        yield


# --- work and words -------------------------------------------------------------------------------


@bug("I13", rate=0.1, **_PAID_OUT)
def work_is_said_to_be_done_before_it_is() -> Iterator[object]:
    def make(run: Any) -> Any:
        def hasty(work: Any, item_id: Any) -> None:
            with work.database.begin() as db:
                outbox.done(db, item_id, work.database.clock())
                item = outbox.item(db, item_id)
            if item is not None:
                tasks.TASKS[item.kind](work, item)

        return hasty

    with _instead(tasks, "run", make):
        yield


@bug("I13", acts=_TRADING)
def a_row_of_the_outbox_is_lost_now_and_then() -> Iterator[object]:
    numbers = count()

    def make(put_all: Any) -> Any:
        def losing(db: Any, wanted: Any) -> Any:
            kept = [each for each in wanted if next(numbers) % 9]
            return put_all(db, kept) if kept else [db.new_id()]

        return losing

    with _instead(outbox, "put_all", make):
        yield


@bug("I19", acts=_TRADING)
def a_change_is_noted_twice() -> Iterator[object]:
    def make(note: Any) -> Any:
        def stammering(db: Any, order_ids: Any, kind: str, *given: Any, **detail: Any) -> None:
            for _ in range(2 if kind == "paid" else 1):
                note(db, order_ids, kind, *given, **detail)

        return stammering

    with _instead(orders, "note", make):
        yield


@bug("I19", acts=_TRADING, begun=1.0)
def nobody_hears_that_a_payout_arrived() -> Iterator[object]:
    def make(of_member: Any) -> Any:
        def silent(db: Any, trigger: str, *given: Any) -> None:
            if trigger not in ("payout_paid", "refund_paid"):
                of_member(db, trigger, *given)

        return silent

    with _instead(messages, "of_member", make):
        yield


# --- another's money, parts of a price, what M-Pesa gives back ------------------------------------


@bug(
    "I6 what only another",
    acts=("has_another_pay", "accepts", "refuses", "calls_off"),
    weather=({"auto": "0"},),
    begun=0.0,
    steps=100,
)
def what_another_paid_is_sent_to_the_buyer() -> Iterator[object]:
    with patch.object(refunds, "_PAYER", "m.msisdn"):
        yield


@bug("I5", acts=("buys_much", "pays_again"), weather=({"auto": "0"},), begun=0.0)
def a_part_of_a_price_counts_twice() -> Iterator[object]:
    def make(take_part: Any) -> Any:
        def doubled(db: Any, payable: Any, charge: Any, source: Any, now: Any) -> Any:
            mine, cents = ledger.buyer(payable.buyer_id), charge.amount_cents
            legs = [ledger.debit(source, cents), ledger.credit(mine, cents)]
            ledger.post(db, "part", f"again:{charge.id}", legs, now)
            return take_part(db, payable, charge, source, now)

        return doubled

    with _instead(settlements, "_take_part", make):
        yield


_GIVING_BACK: Final = {
    "acts": ("buys", "accepts", "gives_back", "reconciles", "books_what_went_back"),
    "weather": ({"auto": "0"},),
    "begun": 1.0,
    "steps": 100,
}


@bug("I9 what M-Pesa gave back", **_GIVING_BACK)
def what_mpesa_gave_back_is_booked_twice() -> Iterator[object]:
    def make(mark: Any) -> Any:
        def twice(db: Any, receipt: Any, now: Any) -> None:
            mark(db, receipt, now)
            movement: str = db.value("SELECT max(key) FROM transfers WHERE kind = 'difference'")
            legs = [ledger.debit(ledger.LOSS, 100), ledger.credit(ledger.C2B, 100)]
            ledger.post(db, "difference", f"{movement}:again", legs, now)

        return twice

    with _instead(reversals, "_mark", make):
        yield


@bug("I9 what M-Pesa gave back", **_GIVING_BACK)
def a_charge_stays_paid_whatever_mpesa_gave_back() -> Iterator[object]:
    with _saying({"UPDATE charges SET state = %(reversed)s": "UPDATE charges SET state = state"}):
        yield


# --- what holds money back ------------------------------------------------------------------------

_HELD: Final = ("accepts", "sends", "has_it", "withdraws", "freezes_member")


@bug("nothing is sent while its member is frozen", acts=_HELD, begun=1.0, steps=140)
def money_that_was_asked_for_leaves_whoever_is_frozen_since() -> Iterator[object]:
    with patch.object(payout_queue, "freezes", SimpleNamespace(is_frozen=lambda *_: False)):
        yield


@bug("I13 no payout is unknown for ever", acts=_HELD, begun=1.0, steps=140)
def a_lifted_freeze_wakes_nothing() -> Iterator[object]:
    with patch.object(freezes, "outbox", SimpleNamespace(put=_never)):
        yield


@bug(
    "nobody lets go, decides or changes what is their own",
    acts=("buys", "accepts", "sends", "has_it", "complains", "decides", "lets_choose_pin"),
    begun=1.0,
    steps=140,
)
def our_own_people_are_no_party_to_anything() -> Iterator[object]:
    with patch.object(staff, "is_member", lambda *_: False):
        yield


_UNASKED: Final = {"auto": "1032", "validation": False}


@bug("the accounts of its kind", acts=("buys", "pays_by_hand", "explains"), weather=(_UNASKED,))
def what_lay_in_suspense_goes_to_what_was_earned() -> Iterator[object]:
    changed = SimpleNamespace(**{**vars(ledger), "buyer": ledger.seller})
    with patch.object(suspense, "ledger", changed):
        yield
