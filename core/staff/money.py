"""Money: what staff see and do of payouts, our floats and our own money, from a terminal."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from core import (
    approvals,
    balances,
    float_moves,
    halts,
    ledger,
    outbox,
    payouts,
    solvency,
    treasury,
)
from core.balances import Float
from core.money import show
from core.payouts import Payout
from core.staff.terminal import Command, Desk, Refused, moment, person, shillings, table
from core.treasury import Booking, Kind

SHOWN: Final = 100
NAMES: Final[Mapping[Float, str]] = {"c2b": "collection", "b2c": "payout"}

WHY: Final[Mapping[str, str]] = {
    "known_receipt": "that receipt stands for other money",
    "known_reference": "that reference is proposed or booked already",
    "member_frozen": "that member's money is frozen",
    "no_reference": "what does the bank or M-Pesa call it?",
    "not_earned": "so much of our fees is not there: some was taken to the bank before",
    "not_owed": "we do not owe M-Pesa so much",
    "not_unknown": "no move between the floats is unknown now",
    "not_waiting": "nothing of that name waits for a second person",
    "not_whole": "whole shillings only",
    "one_is_open": "a move between the floats is on its way already",
    "overdrawn": "that float does not hold so much that is free",
    "too_large": "that is more than anybody has here",
    "too_small": "that is too little to be moved",
}
GOOD: Final[Mapping[str, str]] = {
    "approved": "approved; it is sent",
    "arrived": "it has arrived; what waited for it goes on",
    "asked": "M-Pesa is asked; look at floats in a moment",
    "booked": "booked",
    "failed": "it has failed; the money is on the collection float again",
    "rejected": "rejected; it is back in the wallet, and the member is told",
    "resumed": "resumed; what waited goes on",
    "taken_back": "declined; nothing was booked",
}


def list_payouts(desk: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            _name(payout.id),
            payout.kind,
            show(payout.amount_cents),
            person(desk.db, payout.member_id),
            _stands(payout),
            moment(payout.claimed_at or payout.approved_at or payout.created_at),
        )
        for payout in payouts.unfinished(desk.db, SHOWN)
    ]
    heads = ("payout", "kind", "KSh", "to", "stands", "since")
    return table(heads, rows, "No payout is on its way.")


def approve_payout(desk: Desk, given: argparse.Namespace) -> str:
    by = desk.actor(given.by)
    return approvals.approve(desk.db, _payout_id(desk, given.payout), by, desk.now)


def reject_payout(desk: Desk, given: argparse.Namespace) -> str:
    by, payout_id = desk.actor(given.by), _payout_id(desk, given.payout)
    return approvals.reject(desk.db, payout_id, given.reason, by, desk.now)


def resume_payouts(desk: Desk, given: argparse.Namespace) -> str:
    return approvals.resume(desk.db, given.why, desk.actor(given.by), desk.rules, desk.now)


def show_floats(desk: Desk, _given: argparse.Namespace) -> str:
    """Books beside what M-Pesa said last, and whether everybody's money is there."""
    db = desk.db
    rows = []
    for of, name in NAMES.items():
        float_, seen = balances.account(of), balances.last(db, of)
        rows.append(
            (
                name,
                show(ledger.balance(db, float_)),
                show(payouts.free_cents(db, float_)),
                show(seen.held_cents) if seen else "",
                seen.outcome if seen else "not asked yet",
                moment(seen.at) if seen else "",
            )
        )
    heads = ("float", "in the books", "of it free", "at M-Pesa", "", "asked")
    lines = [table(heads, rows, ""), ""]
    for account, name in (
        (ledger.TRANSIT, "between them"),
        (ledger.MPESA_CHARGES_OWED, "charges owed"),
        (ledger.CAPITAL, "capital"),
        (ledger.FEES, "fees"),
        (ledger.BANK, "of them at the bank"),
    ):
        lines.append(f"{name:<20}{show(ledger.balance(db, account)):>14}")
    surplus_cents = solvency.surplus_cents(db)
    lines.append(f"{'beyond all we owe':<20}{show(surplus_cents):>14}")
    if surplus_cents < 0:
        lines.append("MONEY OF OTHER PEOPLE IS MISSING: nothing is sent.")
    move = float_moves.open_one(db)
    if move is not None:
        cents = show(move.amount_cents)
        lines.append(f"Move {move.number} of KSh {cents} to the payout float: {move.state}")
    lines += [f"Halted: {why}" for why in _HALTS if halts.is_halted(db, why)]
    return "\n".join(lines)


def ask_balances(desk: Desk, given: argparse.Namespace) -> str:
    by = desk.actor(given.by)
    if not by.may("operator"):
        return "not_allowed"
    for of in balances.FLOATS:
        outbox.put(desk.db, "ask_balance", due_at=desk.now, float=of)
    by.write(desk.db, "balances_asked", "floats", {}, {}, desk.now)
    return "asked"


def move_float(desk: Desk, given: argparse.Namespace) -> str:
    by = desk.actor(given.by)
    if not by.may("operator"):
        return "not_allowed"
    done = float_moves.request(desk.db, given.ksh, by.name, desk.now)
    if not isinstance(done, UUID):
        return done
    move = float_moves.by_id(desk.db, done)
    assert move is not None, f"float move {done} was requested, and is not there"
    subject, after = f"float move {move.number}", {"state": "requested", "cents": given.ksh}
    by.write(desk.db, "float_move_requested", subject, {}, after, desk.now)
    return f"move {move.number} of KSh {show(given.ksh)} is on its way"


def end_float_move(desk: Desk, given: argparse.Namespace) -> str:
    """By M-Pesa's statement: with its receipt it has arrived, without one it never left."""
    by = desk.actor(given.by)
    if not by.may("operator"):
        return "not_allowed"
    move = float_moves.open_one(desk.db)
    if move is None or move.state != "unknown":
        return "not_unknown"
    state = float_moves.end_by_hand(desk.db, move.id, given.receipt, desk.now)
    if state == "known_receipt":
        return state
    subject, after = f"float move {move.number}", {"state": state, "as": given.receipt or ""}
    by.write(desk.db, "float_move_ended", subject, {"state": move.state}, after, desk.now)
    return state


def capital(desk: Desk, given: argparse.Namespace) -> str:
    return _propose(desk, given, "capital", given.float)


def settle_charges(desk: Desk, given: argparse.Namespace) -> str:
    return _propose(desk, given, "charges", given.float)


def withdraw_fees(desk: Desk, given: argparse.Namespace) -> str:
    return _propose(desk, given, "fees", "c2b")


def list_bookings(desk: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            str(booking.number),
            booking.kind,
            show(booking.amount_cents),
            NAMES[booking.of],
            booking.reference,
            booking.proposed_by,
            moment(booking.proposed_at),
        )
        for booking in treasury.proposed(desk.db)
    ]
    heads = ("number", "what", "KSh", "float", "as", "proposed by", "at")
    return table(heads, rows, "Nothing waits to be booked.")


def book(desk: Desk, given: argparse.Namespace) -> str:
    return treasury.book(desk.db, given.number, desk.actor(given.by), desk.now)


def decline_booking(desk: Desk, given: argparse.Namespace) -> str:
    return treasury.decline(desk.db, given.number, desk.actor(given.by), desk.now)


def _propose(desk: Desk, given: argparse.Namespace, kind: Kind, of: Float) -> str:
    by = desk.actor(given.by)
    done = treasury.propose(desk.db, kind, of, given.ksh, given.reference, by, desk.now)
    if not isinstance(done, Booking):
        return done
    return f"booking {done.number} is kept; a second person must book it before anything moves"


def _payout_id(desk: Desk, name: str) -> UUID:
    """The one that waits for a second person and is shown by that name."""
    found = payouts.requested_ending(desk.db, name)
    if len(found) != 1:
        raise Refused(WHY["not_waiting"] if not found else "that name is of several; type more")
    return found[0]


def _name(payout_id: UUID) -> str:
    """Its last letters: ids begin with the time, so their ends tell them apart."""
    return payout_id.hex[-8:]


def _stands(payout: Payout) -> str:
    if payout.state == "requested":
        swapped_on = payout.sim_swapped_on
        return "to approve" + (f": SIM swapped {swapped_on:%d/%m/%Y}" if swapped_on else "")
    return f"waits: {payout.waits_for}" if payout.waits_for else payout.state


def _end_of_id(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{8,32}", text.replace("-", "").lower()):
        raise argparse.ArgumentTypeError("a payout is named as payouts shows it, like 1f0c33a9")
    return text.replace("-", "").lower()


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text):
        raise argparse.ArgumentTypeError("a number, like 12")
    return int(text)


def _receipt(text: str) -> str:
    if not re.fullmatch("[A-Z0-9]{6,20}", text):
        raise argparse.ArgumentTypeError("M-Pesa's receipt, like SG632NMUAB")
    return text


_HALTS: Final[Sequence[halts.Halt]] = ("initiator", "float")
OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "payout": {"type": _end_of_id, "help": "as payouts names it"},
    "number": {"type": _number, "help": "of the booking"},
    "ksh": {"type": shillings, "metavar": "KSH", "help": "how much"},
    "--why": {"choices": _HALTS, "help": "what was mended; all of it if left out"},
    "--float": {"choices": balances.FLOATS, "default": "b2c", "help": "b2c is the payout float"},
    "--reference": {"required": True, "help": "what the bank or M-Pesa calls it"},
    "--receipt": {"type": _receipt, "help": "M-Pesa's, if it arrived"},
}
COMMANDS: Final[Mapping[str, tuple[Command, Sequence[str], str]]] = {
    "payouts": (list_payouts, (), "what is on its way to phones, or waits"),
    "approve-payout": (approve_payout, ("payout", "--by"), "let it go, as a second person"),
    "reject-payout": (reject_payout, ("payout", "--reason", "--by"), "do not let it go"),
    "resume-payouts": (resume_payouts, ("--why", "--by"), "what halted them is mended"),
    "floats": (show_floats, (), "our money at M-Pesa, and whether everybody's is there"),
    "ask-balances": (ask_balances, ("--by",), "ask M-Pesa now what lies on the floats"),
    "move-float": (move_float, ("ksh", "--by"), "from the collection to the payout float"),
    "end-float-move": (
        end_float_move,
        ("--receipt", "--by"),
        "a move nobody knows of: arrived with this receipt, or never left",
    ),
    "capital": (capital, ("ksh", "--float", "--reference", "--by"), "our own money came in"),
    "settle-charges": (
        settle_charges,
        ("ksh", "--float", "--reference", "--by"),
        "M-Pesa took what we owed it",
    ),
    "withdraw-fees": (withdraw_fees, ("ksh", "--reference", "--by"), "our fees go to the bank"),
    "bookings": (list_bookings, (), "what waits to be booked by a second person"),
    "book": (book, ("number", "--by"), "agree, as a second person"),
    "decline-booking": (decline_booking, ("number", "--by"), "do not, or take your own back"),
}
