"""Watch: what staff look at when money is stuck, from a terminal: what is wrong, and one payment's
way from end to end.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from core import charges, incidents, payouts, traces
from core.incidents import Open
from core.money import show
from core.staff import people
from core.staff.terminal import (
    Command,
    Desk,
    Refused,
    in_words,
    masked,
    moment,
    person,
    second,
    table,
)
from core.traces import Trace

SHOWN: Final = 100
OF_A_MEMBER: Final = 10
NOTE_LETTERS_MIN: Final = 5

# What to do about each. Those that end by themselves, once what they tell of ends, say how.
TO_DO: Final[Mapping[str, str]] = {
    "balance_differs": "reconcile: which line is missing, here or there? ends when they are equal",
    "call_me": "call; then close-case",
    "delivery_silent": "call the buyer: is it there?",
    "differences": "differences, then resolve; ends with the last",
    "dispute_late": "show the case, and decide it today",
    "disputed": "show the case; ends when it is decided",
    "float_low": "move-float, or pay capital in; ends when all that waited could go",
    "float_move_failed": "move-float again; ends when a move arrives",
    "float_move_unanswered": "look at M-Pesa's portal, then end-float-move",
    "float_overdrawn": "reconcile; ends when the float is not below zero",
    "insolvent": "reconcile, or pay capital in; until then nothing is sent",
    "payout_failed_by_us": "mend what its code says, then resume-payouts",
    "payout_to_approve": "approve-payout or reject-payout",
    "payouts_halted": "mend what its code says, then resume-payouts",
    "resolution_to_approve": "approve-resolution or decline-resolution",
    "reversal_without_receipt": "wait for the statement; ends with its receipt",
    "sim_unanswered": "is Africa's Talking up? ends with the network's answer",
    "sms_halted": "is Africa's Talking up, its account paid? ends when it takes one",
    "unexplained_money": "suspense, then explain or give-back",
    "verdict_to_approve": "approve or decline",
}
# Those that end when somebody of ours has looked, and says what came of it: close-incident.
BY_HAND: Final[Mapping[str, str]] = {
    "callback_doubted": "trace it; a forger, or M-Pesa was asked and knows better",
    "charge_unanswered": "look for the account it named at M-Pesa's portal; ask",
    "confirmation_unreadable": "M-Pesa sent what we do not understand: tell a developer",
    "explanation_by_a_party": "speak with whoever it was",
    "explanation_own_approval": "speak with whoever it was",
    "failure_after_payment": "trace it; the receipt stands unless the statement takes it back",
    "failure_after_payout": "trace it; the receipt stands unless the statement takes it back",
    "float_move_doubted": "look at M-Pesa's portal",
    "ledger_is_wrong": "stop payouts and call a developer now",
    "number_not_changed": "it could not be done any more: call, and propose it anew",
    "number_own_change": "speak with whoever it was",
    "paid_after_failure": "it was paid twice: ask the member for what the other one brought",
    "payout_conflict": "trace it, and ask M-Pesa which is right",
    "payout_doubted": "trace it; a forger, or M-Pesa was asked and knows better",
    "payout_own_approval": "speak with whoever it was",
    "payout_refused": "trace it; what does M-Pesa's code say?",
    "payout_unanswered": "look at M-Pesa's portal; ask",
    "pin_reset_own": "speak with whoever it was",
    "proposal_lapsed": "nobody agreed in time, nothing is changed: propose it anew, or leave it",
    "receipt_conflict": "one receipt, two stories: ask M-Pesa which is right",
    "refund_failed": "call the member: which phone can be paid, or why is it not?",
    "resolution_by_a_party": "speak with whoever it was",
    "resolution_own_approval": "speak with whoever it was",
    "sms_flood": "is it a person? else tell a developer",
    "sms_unanswered": "nothing is lost; look whether it was sent twice",
    "statement_unreadable": "fetch it from M-Pesa's portal, then core.reconcile --statement",
    "task_fails": "read the log of the worker at that time; tell a developer",
    "unknown_code": "trace it; a code that is new to us: tell a developer",
    "unreachable": "call; the line takes no SMS",
    "verdict_by_a_party": "speak with whoever it was",
    "verdict_own_approval": "speak with whoever it was",
}

WHY: Final[Mapping[str, str]] = {
    "ends_by_itself": "it ends by itself once what it tells of is over; incidents says how",
    "no_note": "say what came of it",
    "nothing_to_ask": "M-Pesa has nothing to say of it: it has ended, or was never sent",
}
GOOD: Final[Mapping[str, str]] = {
    "asked_now": "M-Pesa is asked; trace it again in a moment",
    "noted": "closed, with your note",
}


def list_incidents(desk: Desk, _given: argparse.Namespace) -> str:
    found = incidents.undone(desk.db, SHOWN)
    names = traces.names(desk.db, [each.subject for each in found])
    rows = [
        (
            _name(each),
            moment(each.opened_at),
            each.kind,
            names.get(each.subject, each.subject),
            _detail(each),
            _to_do(each),
        )
        for each in found
    ]
    heads = ("incident", "since", "kind", "about", "", "to do")
    return table(heads, rows, "Nothing is wrong.")


def close_incident(desk: Desk, given: argparse.Namespace) -> str:
    """Nothing moves by it."""
    by = desk.actor(given.by)
    if not by.may("operator"):
        return "not_allowed"
    found = incidents.ending(desk.db, given.incident)
    if len(found) != 1:
        raise Refused("no incident of that name is open" if not found else "type more of its name")
    if found[0].kind in TO_DO:
        return "ends_by_itself"
    if found[0].detail.get("by") == by.name:  # it tells of them
        return "own"
    note = " ".join(given.note.split())
    if len(note) < NOTE_LETTERS_MIN:
        return "no_note"
    incidents.close(desk.db, found[0].id, f"{by.name}: {note}", desk.now)
    before, after = {"state": "open"}, {"state": "closed", "note": note}
    by.write(desk.db, f"{found[0].kind}_closed", found[0].subject, before, after, desk.now)
    return "noted"


def trace(desk: Desk, given: argparse.Namespace) -> str:
    """By what is known of it; by a member, what there is to choose from."""
    if whose := _whose(given.what):
        meant = people.find(desk, whose)
        return "\n\n".join(_of_member(desk, member_id, meant.how) for member_id in meant.ids)
    found = _found(desk, given.what)
    lines = [*_purchase(desk, found), *_payout(desk, found), ""]
    rows = [
        (second(each.at), each.whose, each.what, "" if each.cents is None else show(each.cents))
        for each in found.happened
    ]
    lines.append(table(("when", "of", "what", "KSh"), rows, "Nothing happened yet."))
    lines.append("")
    lines += [
        f"Next   {second(each.due_at)}  {each.kind}"
        + (f", begun {each.attempts} times" if each.attempts else "")
        + (f"; put off: {each.last_error}" if each.last_error else "")
        for each in found.next
    ] or ["Nothing more is to be done."]
    lines += [
        f"Wrong  {second(each.opened_at)}  {each.kind} {_detail(each)}: {_to_do(each)}"
        for each in found.incidents
    ]
    return "\n".join(lines)


def ask(desk: Desk, given: argparse.Namespace) -> str:
    by = desk.actor(given.by)
    if not by.may("operator"):
        return "not_allowed"
    asked = traces.ask(desk.db, _found(desk, given.what), desk.now)
    if asked == "asked":
        by.write(desk.db, "mpesa_asked", given.what, {}, {}, desk.now)
        return "asked_now"
    return asked


def _found(desk: Desk, what: str) -> Trace:
    found = traces.find(desk.db, what)
    if found is None:
        raise Refused("no order, receipt, account or payout has that name")
    return found


def _of_member(desk: Desk, member_id: UUID, how: str) -> str:
    orders = [
        (str(it.number), moment(it.at), it.state, show(it.total_cents), it.prompt or "")
        for it in traces.bought(desk.db, member_id, OF_A_MEMBER)
    ]
    sent = [
        (_end(it), moment(it.created_at), it.state, show(it.amount_cents), it.receipt or "")
        for it in payouts.of_member(desk.db, member_id, OF_A_MEMBER)
    ]
    return "\n".join(
        [
            how or person(desk.db, member_id),
            "",
            table(("order", "since", "stands", "KSh", "last prompt"), orders, "Bought nothing."),
            "",
            table(("payout", "since", "stands", "KSh", "receipt"), sent, "Was paid nothing."),
        ]
    )


def _purchase(desk: Desk, found: Trace) -> list[str]:
    lines = [
        f"Order {it.number}: {it.state}, KSh {show(it.worth.total_cents)};"
        f" buyer {person(desk.db, it.buyer_id)}, seller {person(desk.db, it.seller_id)}"
        for it in found.orders
    ]
    return lines + [_prompt(it) for it in found.charges]


def _prompt(it: charges.Charge) -> str:
    code = f", code {it.code}" if it.code else ""
    receipt = f", receipt {it.receipt}" if it.receipt else ""
    return (
        f"Prompt {it.reference}: {it.state}{code}{receipt}; KSh {show(it.amount_cents)}"
        f" of {masked(it.msisdn)}"
    )


def _payout(desk: Desk, found: Trace) -> list[str]:
    it = found.payout
    if it is None:
        return []
    stands = f"waits: {it.waits_for}" if it.waits_for else it.state
    return [
        f"Payout {_end(it)}: {stands}; {it.kind} of KSh {show(it.amount_cents)}"
        f" to {person(desk.db, it.member_id)} at {masked(it.msisdn)}",
        f"At M-Pesa: {it.originator_id or 'not named yet'}",
    ]


def _end(payout: payouts.Payout) -> str:
    return payout.id.hex[-8:]


def _name(incident: Open) -> str:
    return incident.id.hex[-8:]


def _to_do(incident: Open) -> str:
    """Also of a kind that only an older version of ours opened."""
    return {**TO_DO, **BY_HAND}.get(incident.kind, "trace it, and tell a developer")


def _detail(incident: Open) -> str:
    return ", ".join(in_words(name, value) for name, value in incident.detail.items())


def _whose(text: str) -> str | None:
    """A member's name, or a phone number: of nine digits or more, unless it is none."""
    if not text.startswith("id:") and (
        len(re.sub("[^0-9]", "", text)) < 9 or re.search("[A-Za-z]", text)
    ):
        return None
    try:
        return people.read(text)
    except argparse.ArgumentTypeError:
        return None


def _incident(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{8,32}", text.replace("-", "").lower()):
        raise argparse.ArgumentTypeError("an incident is named as incidents shows it")
    return text.replace("-", "").lower()


OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "incident": {"type": _incident, "help": "as incidents names it"},
    "what": {
        "help": "an order's number, M-Pesa's receipt, the account a payer named, a payout's name,"
        " a phone number, a member's now or before, or id:… as we name members",
    },
}
COMMANDS: Final[Mapping[str, tuple[Command, Sequence[str], str]]] = {
    "incidents": (list_incidents, (), "what is wrong now, the oldest first, and what to do"),
    "close-incident": (close_incident, ("incident", "--note", "--by"), "you have looked"),
    "trace": (trace, ("what",), "one purchase or payout from end to end, and what comes next"),
    "ask": (ask, ("what", "--by"), "have M-Pesa asked now what became of it"),
}
