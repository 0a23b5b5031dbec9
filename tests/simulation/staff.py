"""Staff: what operators, approvers and the bank do, and what they clear away in the evening.

As in the terminal: each act by one of ours, in the audit log. Olive decides, Peter is the second
pair of eyes, and Wanda, who is both, also trades here, as Wanjiku.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, get_args
from uuid import UUID

from core import (
    approvals,
    balances,
    days,
    desk,
    differences,
    float_moves,
    freezes,
    ledger,
    number_changes,
    orders,
    payouts,
    pin_resets,
    resolutions,
    settlements,
    solvency,
    suspense,
    treasury,
    verdicts,
)
from core.database import Db
from core.differences import Difference
from core.staff import Actor
from tests.core import office
from tests.core.market import msisdn
from tests.simulation.acts import WHY, Deed, act, doing, orders_in, somebody
from tests.simulation.town import B2C_UTILITY, C2B_UTILITY, PIN, Person, Town
from worker import reconciliation

# By whom something is decided, mostly; and who tries it, too.
_OPERATORS: Final = ("olive", "olive", "olive", "olive", "wanda", "peter")
_APPROVERS: Final = ("peter", "peter", "peter", "peter", "wanda", "olive")


def by_staff(
    town: Town, name: str, what: str, verb: Callable[[Db, Actor, datetime], object], *moves: str
) -> Deed:
    """A verb of the core's by one of ours, in a transaction of its own. moves: as doing's."""

    def act_of(db: Db, now: datetime) -> object:
        return verb(db, office.at_work(db, name), now)

    return doing(town, name.capitalize(), what, act_of, *moves)


# --- disputes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Disputed:
    id: UUID
    number: int
    held_cents: int


def disputed(town: Town) -> list[_Disputed]:
    with town.database.look() as db:
        return disputed_in(db)


def disputed_in(db: Db) -> list[_Disputed]:
    return db.rows(
        _Disputed,
        """
        SELECT d.id, d.number, e.captured_cents - e.released_cents - e.refunded_cents
            - e.fee_cents AS held_cents
        FROM disputes d JOIN escrows e ON e.order_id = d.order_id
        WHERE d.state IN ('open', 'seller_reply', 'review') ORDER BY d.number
        """,
    )


@act(8)
def decides(town: Town, dice: random.Random) -> Deed | None:
    if not (found := disputed(town)):
        return None
    dispute = dice.choice(found)
    shillings = dispute.held_cents // 100
    buyer_cents = dice.choice([0, shillings, dice.randint(0, shillings)]) * 100
    seller_cents = dispute.held_cents - buyer_cents + dice.choice([0, 0, 0, 0, 100])
    what = f"gives the buyer {buyer_cents // 100} of case {dispute.number}"

    def verb(db: Db, by: Actor, now: datetime) -> object:
        return verdicts.decide(db, dispute.id, by, buyer_cents, seller_cents, WHY, town.rules, now)

    return by_staff(town, dice.choice(_OPERATORS), what, verb, "decided")


@act(3)
def approves_verdict(town: Town, dice: random.Random) -> Deed | None:
    if not (found := disputed(town)):
        return None
    dispute, agrees = dice.choice(found), dice.random() < 0.8

    def verb(db: Db, by: Actor, now: datetime) -> object:
        if agrees:
            return verdicts.approve(db, dispute.id, by, now)
        return verdicts.decline(db, dispute.id, by, WHY, now)

    what = f"{_does(agrees)} the verdict on case {dispute.number}"
    return by_staff(town, dice.choice(_APPROVERS), what, verb, "decided")


def _does(agrees: bool) -> str:
    return "approves" if agrees else "declines"


# --- payouts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Waiting:
    id: UUID
    amount_cents: int


def waiting_payouts(town: Town) -> list[_Waiting]:
    with town.database.look() as db:
        return db.rows(
            _Waiting,
            """
            SELECT id, amount_cents FROM payouts WHERE state = 'requested' ORDER BY created_at, id
            """,
        )


@act(4)
def approves_payout(town: Town, dice: random.Random) -> Deed | None:
    if not (found := waiting_payouts(town)):
        return None
    payout, agrees = dice.choice(found), dice.random() < 0.75

    def verb(db: Db, by: Actor, now: datetime) -> object:
        if agrees:
            return approvals.approve(db, payout.id, by, now)
        return approvals.reject(db, payout.id, WHY, by, now)

    what = f"{'approves' if agrees else 'rejects'} a payout of {payout.amount_cents // 100}"
    return by_staff(town, dice.choice(_APPROVERS), what, verb, "rejected")


@act(1)
def resumes(town: Town, dice: random.Random) -> Deed:
    def verb(db: Db, by: Actor, now: datetime) -> object:
        return approvals.resume(db, None, by, town.rules, now)

    return by_staff(town, dice.choice(_OPERATORS), "resumes payouts", verb, "resumed")


# --- what holds a member's money back -----------------------------------------------------------


@act(2)
def freezes_member(town: Town, dice: random.Random) -> Deed:
    member = somebody(town, dice)

    def verb(db: Db, by: Actor, now: datetime) -> object:
        return desk.freeze(db, [member.id], "lost phone", by, now)

    return by_staff(town, dice.choice(_OPERATORS), f"freezes {member.name}", verb)


@act(4)
def lifts(town: Town, dice: random.Random) -> Deed | None:
    those = frozen(town) or town.people[:1] * (dice.random() < 0.1)
    return lifting(town, dice.choice(those), dice.choice(_APPROVERS)) if those else None


def lifting(town: Town, member: Person, name: str) -> Deed:
    def verb(db: Db, by: Actor, now: datetime) -> object:
        return desk.unfreeze(db, [member.id], by, now)

    return by_staff(town, name, f"lets {member.name} go on", verb)


def frozen(town: Town) -> list[Person]:
    with town.database.look() as db:
        return [each for each in town.people if freezes.is_frozen(db, each.id)]


@act(5)
def gives_number(town: Town, dice: random.Random) -> Deed:
    """Somebody comes with another phone, or is no more at hers; a second person looks at it."""
    if (waiting := proposed_numbers(town)) and dice.random() < 0.8:
        member, agrees = dice.choice(waiting), dice.random() < 0.8

        def decide(db: Db, by: Actor, now: datetime) -> object:
            if agrees:
                return number_changes.approve(db, member.id, by, now)
            return number_changes.decline(db, member.id, WHY, by, now)

        what = f"{_does(agrees)} the number of {member.name}"
        return by_staff(town, dice.choice(_APPROVERS), what, decide)
    member = somebody(town, dice)
    taken = dice.choice([town.sister, dice.choice(town.people).msisdn or None, None])
    number = msisdn(dice.randint(200, 215)) if dice.random() < 0.7 else taken

    def propose(db: Db, by: Actor, now: datetime) -> object:
        return number_changes.propose(db, member.id, number, WHY, by, now)

    what = f"gives {member.name} {f'the number ..{number[-3:]}' if number else 'no number'}"
    return by_staff(town, dice.choice(_OPERATORS), what, propose)


def proposed_numbers(town: Town) -> list[Person]:
    """Whose number waits for a second person."""
    with town.database.look() as db:
        changes = number_changes.unfinished(db)
    ids = {each.member_id for each in changes if each.state == "proposed"}
    return [each for each in town.people if each.id in ids]


def without_number(town: Town) -> list[Person]:
    return [each for each in town.people if not each.msisdn]


def numbering(town: Town, member: Person) -> Deed:
    """Whoever has no number at last comes with one, whatever was proposed before."""

    def verb(db: Db, now: datetime) -> object:
        olive, peter = office.at_work(db, "olive"), office.at_work(db, "peter")
        number_changes.decline(db, member.id, WHY, peter, now)
        number = msisdn(300 + db.value("SELECT count(*) FROM number_changes"))
        number_changes.propose(db, member.id, number, WHY, olive, now)
        return number_changes.approve(db, member.id, peter, now)

    return doing(town, "Olive", f"finds a number for {member.name}", verb)


@act(5)
def lets_choose_pin(town: Town, dice: random.Random) -> Deed:
    """A forgotten PIN: proposed, approved or not, and chosen anew on the member's own line."""
    with town.database.look() as db:
        resets = pin_resets.unfinished(db, town.now)
    if not resets or dice.random() < 0.1:
        member = somebody(town, dice)

        def propose(db: Db, by: Actor, now: datetime) -> object:
            return pin_resets.propose(db, member.id, WHY, by, now)

        what = f"says that {member.name} forgot her PIN"
        return by_staff(town, dice.choice(_OPERATORS), what, propose)
    reset = dice.choice(resets)
    member = next(each for each in town.people if each.id == reset.member_id)
    if reset.state == "approved" and dice.random() < 0.8:
        return doing(
            town, member.name, "chooses a new PIN",
            lambda db, now: pin_resets.use(db, member.id, PIN, town.rules, now),
        )  # fmt: skip
    agrees = dice.random() < 0.8

    def decide(db: Db, by: Actor, now: datetime) -> object:
        if agrees:
            return pin_resets.approve(db, member.id, by, town.rules, now)
        return pin_resets.decline(db, member.id, WHY, by, now)

    what = f"{_does(agrees)} a new PIN for {member.name}"
    return by_staff(town, dice.choice(_APPROVERS), what, decide)


# --- what nobody explains -----------------------------------------------------------------------

_EXPLAINED: Final = (*get_args(settlements.More), "returned")


@act(5)
def explains(town: Town, dice: random.Random) -> Deed | None:
    """Whose is what lies in suspense? One of ours says so, and a second person agrees."""
    with town.database.look() as db:
        found = suspense.unexplained(db)
    if not found:
        return None
    unexplained, luck = dice.choice(found), dice.random()
    receipt = unexplained.receipt
    if unexplained.order_number is None and unexplained.member_id is None:
        placed = orders_in(town, *orders.MOVES)
        member, order = dice.choice(town.people), dice.choice(placed) if placed else None

        def propose(db: Db, by: Actor, now: datetime) -> object:
            if luck < 0.4 or order is None:
                return suspense.give_back(db, receipt, member.msisdn, by, WHY, now)
            return suspense.explain(db, receipt, order.number, by, WHY, now)

        return by_staff(town, dice.choice(_OPERATORS), f"says whose {receipt} is", propose)

    def decide(db: Db, by: Actor, now: datetime) -> object:
        if luck < 0.8:
            return suspense.approve(db, receipt, by, now)
        return suspense.decline(db, receipt, by, now)

    what = f"{_does(luck < 0.8)} whose {receipt} is"
    return by_staff(town, dice.choice(_APPROVERS), what, decide, *_EXPLAINED)


# --- our own money ------------------------------------------------------------------------------


@act(1)
def fills_float(town: Town, dice: random.Random) -> Deed:
    key = f"{town.now.isoformat()} {dice.random()}"
    return filling(town, dice.choice([50_000, 200_000]), key)


def filling(town: Town, cents: int, key: str) -> Deed:
    what = f"adds {cents // 100} of our own"
    return Deed("Chief", what, lambda: town.fill_float(cents, key))


def missing_in_float(town: Town) -> int:
    """What waits to be sent and no float of ours can spare, in cents."""
    with town.database.look() as db:
        waiting = payouts.waiting_cents(db)
        return max(0, waiting - payouts.free_cents(db, ledger.B2C)) if waiting else 0


@act(2)
def books(town: Town, dice: random.Random) -> Deed:
    """Olive tells of fees taken to the bank, of charges or of capital; a second person agrees."""
    kind: treasury.Kind = dice.choice(["fees", "charges", "capital"])
    shillings, name, agrees = dice.choice([1, 10, 5_000]), dice.choice(_APPROVERS), dice.random()
    reference = f"BANK{dice.getrandbits(32)}"
    of: balances.Float = "c2b" if kind == "fees" else dice.choice(balances.FLOATS)
    accounts, utility = town.world.books, C2B_UTILITY if of == "c2b" else B2C_UTILITY
    comes_cents = shillings * 100 * (1 if kind == "capital" else -1)

    def do() -> str:
        with town.database.begin() as db:
            by = office.at_work(db, "olive")
            asked = treasury.propose(db, kind, of, shillings * 100, reference, by, town.now)
        if isinstance(asked, str):
            return asked
        with town.database.begin() as db:
            by = office.at_work(db, name)
            decide = treasury.book if agrees < 0.9 else treasury.decline
            return decide(db, asked.number, by, town.now)

    def moved() -> str:
        # Our books may still hold what M-Pesa has given back: it moves only what is there.
        if town.reversed and accounts.balance_cents(utility) + comes_cents < 0:
            return "M-Pesa holds less"
        try:
            return do()
        finally:  # whatever we heard of it: the bank did what is in the books
            with town.fate.working(None), town.database.look() as db:
                done = db.value(
                    "SELECT count(*) FROM bookings WHERE reference = %(it)s AND state = 'booked'",
                    {"it": reference},
                )
            if done:
                with town.world.journal.change():
                    accounts.inject(utility, comes_cents, reference, town.now)

    return Deed("Olive", f"books {shillings} of {kind}", moved, frozenset(["booked"]))


@act(2)
def moves_float(town: Town, dice: random.Random) -> Deed:
    """Olive fills up what is paid out of, from what came in."""
    shillings = dice.choice([10, 200, 1_000, 50_000])

    def verb(db: Db, now: datetime) -> object:
        asked = float_moves.request(db, shillings * 100, "olive", now)
        return asked if isinstance(asked, str) else "asked"

    return doing(town, "Olive", f"moves {shillings} of the float", verb, "asked")


@act(2)
def ends_float_move(town: Town, dice: random.Random) -> Deed | None:
    """Olive reads in M-Pesa's statement whether it has arrived, and under which receipt."""
    with town.database.look() as db:
        move = float_moves.open_one(db)
    if move is None or move.state != "unknown":
        return None

    def verb(db: Db, now: datetime) -> object:
        still = float_moves.open_one(db)
        if still is None or (still.id, still.state) != (move.id, "unknown"):
            return "not unknown"
        shown = [str(each.receipt) for each in town.world.books.statement() if each.kind == "topup"]
        known: list[str] = db.value(
            "SELECT coalesce(array_agg(receipt), '{}') FROM float_moves WHERE receipt IS NOT NULL"
        )
        unknown = [receipt for receipt in shown if receipt not in known]
        return float_moves.end_by_hand(db, move.id, unknown[-1] if unknown else None, now)

    what = f"looks what became of move {move.number}"
    return doing(town, "Olive", what, verb, "arrived", "failed")


# --- what M-Pesa's statement shows --------------------------------------------------------------


@act(2)
def reconciles(town: Town, dice: random.Random) -> Deed | None:
    """Olive asks for the statement of the day, when she has heard that something is wrong."""
    if not town.reversed and not (town.lost and dice.random() < 0.3):
        return None

    def do() -> str:
        done = reconciliation.of_day(town.work, days.today(town.now))
        return f"{done.settled} settled, {done.judged.open} open"

    return Deed("Olive", "reconciles the day", do)


@act(4)
def books_what_went_back(town: Town, dice: random.Random) -> Deed | None:
    found = given_back(town)
    return booking(town, dice.choice(found)) if found else None


@act(3)
def books_what_nobody_told(town: Town, dice: random.Random) -> Deed | None:
    """A payment that only the statement shows comes to suspense; or it is not agreed to."""
    with town.database.look() as db:
        found = [each for each in differences.undone(db) if each.is_unknown_payment]
    if not found:
        return None
    case, luck = dice.choice(found), dice.random()

    def verb(db: Db, by: Actor, now: datetime) -> object:
        if luck < 0.6:
            return resolutions.decide(db, case.number, by, "suspense", WHY, town.rules, now)
        if luck < 0.9:
            return resolutions.approve(db, case.number, by, now)
        return resolutions.decline(db, case.number, by, WHY, now)

    names = _OPERATORS if luck < 0.6 else _APPROVERS
    what = f"speaks of case {case.number}"
    return by_staff(town, dice.choice(names), what, verb, "resolved")


def given_back(town: Town) -> list[Difference]:
    """What the statement showed of it, and nobody has booked."""
    with town.database.look() as db:
        return [each for each in differences.undone(db) if each.kind == "reversed"]


def booking(town: Town, case: Difference) -> Deed:
    """Olive and, above a limit, Peter: each in a transaction, and whoever died begins again."""

    def decide(db: Db) -> str:
        by = office.at_work(db, "olive")
        return resolutions.decide(db, case.number, by, "payment", WHY, town.rules, town.now)

    def do() -> str:
        with town.database.begin() as db:
            said = decide(db)
        if said not in ("proposed", "already_proposed"):
            return said
        with town.database.begin() as db:
            return resolutions.approve(db, case.number, office.at_work(db, "peter"), town.now)

    moves = frozenset(["resolved"])
    return Deed("Olive", f"books what went back, case {case.number}", do, moves)


def lacking(town: Town, case: Difference) -> int:
    """The capital that must come in before what went back can be booked, in cents, at most."""
    with town.database.look() as db:
        return max(0, -case.gap_cents - solvency.surplus_cents(db))


# --- the evening --------------------------------------------------------------------------------


def clearing(town: Town) -> list[Deed]:
    """What the staff does in the evening: everything that waits for a person is ended.

    Wanda tries first, whatever is her own.
    """
    with town.database.look() as db:
        unexplained, is_halted = suspense.unexplained(db), bool(db.value(_HALTED))

    def decide(dispute: _Disputed) -> Callable[[Db, datetime], object]:
        half = dispute.held_cents // 200 * 100
        rest = dispute.held_cents - half

        def verb(db: Db, now: datetime) -> object:
            for name in ("wanda", "olive"):
                by = office.at_work(db, name)
                done = verdicts.decide(db, dispute.id, by, half, rest, WHY, town.rules, now)
                if done != "party":
                    break
            if done in ("proposed", "already_proposed"):
                return verdicts.approve(db, dispute.id, office.at_work(db, "peter"), now)
            return done

        return verb

    def approve(payout: _Waiting) -> Callable[[Db, datetime], object]:
        def verb(db: Db, now: datetime) -> object:
            done = approvals.approve(db, payout.id, office.at_work(db, "wanda"), now)
            if done == "own":
                return approvals.approve(db, payout.id, office.at_work(db, "peter"), now)
            return done

        return verb

    def explain(receipt: str) -> Callable[[Db, datetime], object]:
        def verb(db: Db, now: datetime) -> object:
            olive, peter = office.at_work(db, "olive"), office.at_work(db, "peter")
            suspense.decline(db, receipt, peter, now)
            suspense.give_back(db, receipt, town.buyers[0].msisdn, olive, WHY, now)
            return suspense.approve(db, receipt, peter, now)

        return verb

    def resume(db: Db, now: datetime) -> object:
        return approvals.resume(db, None, office.at_work(db, "olive"), town.rules, now)

    def deed(who: str, what: str, verb: Callable[[Db, datetime], object]) -> Deed:
        return replace(doing(town, who, what, verb), moves=None)

    return [
        *(numbering(town, each) for each in [*proposed_numbers(town), *without_number(town)]),
        *(lifting(town, each, "peter") for each in frozen(town)),
        *(deed("Olive", f"decides case {each.number}", decide(each)) for each in disputed(town)),
        *(deed("Peter", "approves a payout", approve(each)) for each in waiting_payouts(town)),
        *(deed("Olive", f"gives {it.receipt} back", explain(it.receipt)) for it in unexplained),
        *([deed("Olive", "resumes payouts", resume)] if is_halted else []),
    ]


# Where nothing says so, what waits goes on by itself.
_HALTED: Final = """
    SELECT EXISTS (SELECT FROM incidents WHERE closed_at IS NULL
                     AND kind IN ('payouts_halted', 'payout_failed_by_us'))"""
