"""`python -m core.staff`: what staff do from a terminal, until there is a console.

Ends with 0 where it was done, 1 where it was refused (one line says why), 2 where the command
itself is wrong. Numbers are shown with their middle hidden.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from core import (
    audit,
    cases,
    deals,
    desk,
    differences,
    disputes,
    evidence,
    ledger,
    orders,
    resolutions,
    staff,
    suspense,
    verdicts,
)
from core.database import Database, Db
from core.disputes import Dispute
from core.errors import Unavailable
from core.money import show
from core.resolutions import AGAINST
from core.staff import ROLES, money, people, phones, proposals, resets, watch
from core.staff.terminal import (
    NOT_THERE,
    Command,
    Desk,
    Refused,
    in_words,
    masked,
    moment,
    origin,
    person,
    shillings,
    table,
)

DONE, REFUSED, USAGE = 0, 1, 2
ACTS_SHOWN: Final = 50

# Why it was refused, by what the verb said; the rest is put after the name of what was asked.
WHY: Final[Mapping[str, str]] = {
    "on_its_way": "their money is still being sent, and some may come back: again after that",
    "asked_for": "that reversal is one of ours: let the payout go, and its proof ends this",
    "already_decided": "it is decided or withdrawn already",
    "already_frozen": "that money is frozen already",
    "already_proposed": "a decision waits for a second person; approve or decline it",
    "insolvent": "other people's money would not be covered; own capital goes in first",
    "last_admin": "somebody must stay admin",
    "no_name": "a name is 2 to 30 of a-z, 0-9, . _ - after a letter, and not the system's own",
    "no_reason": "the reason is too short, or too long, to be understood later",
    "no_roles": "which roles? " + ", ".join(ROLES),
    "not_admin": "only an admin says who is staff; the first one must be an admin",
    "not_allowed": "your role does not allow that",
    "not_frozen": "that money is not frozen",
    "no_such_posting": "it cannot be booked there: an unknown payment goes to suspense, a balance "
    "is only explained",
    "no_one_member": "that number is no member's, or two people's; whoever paid registers first",
    "no_order": "no placed order has that number",
    "not_in_suspense": "no such receipt lies in suspense",
    "not_open": "no such case is open",
    "not_proposed": "there is no decision to approve or decline",
    "not_there": NOT_THERE,
    "not_yet": "the seller still has time to answer",
    "outdated": "the difference is another one by now; decide anew",
    "own": "a second person must do that: it is your own act or your own money",
    "party": "you are a party to it, or paid for it; an incident is open",
    "too_little": "there is less than that on one of the two accounts",
    "wrong_sum": "the two shares are not what is held",
    **money.WHY,
    **watch.WHY,
    **phones.WHY,
    **resets.WHY,
}
GOOD: Final[Mapping[str, str]] = {
    "added": "added",
    "changed": "changed",
    "captured": "booked; her orders are paid",
    "closed": "closed",
    "decided": "decided; both are told",
    "declined": "declined; it is open to decide",
    "frozen": "frozen: no money leaves",
    "late": "booked; her orders wait no more, so it goes back to her",
    "lifted": "lifted: what waited goes on its way",
    "over": "booked; her orders are paid, and the rest goes back to her",
    "proposed": "kept; a second person must approve it before anything moves",
    "resolved": "resolved, and booked as decided",
    "retired": "retired",
    "returned": "booked; it goes back to that member",
    "second_payment": "booked; her orders were paid before, so it goes back to her",
    "short": "booked; it is too little for her orders, and she is told what is missing",
    **money.GOOD,
    **watch.GOOD,
}


def add(desk_: Desk, given: argparse.Namespace) -> str:
    by = desk_.actor(given.by) if given.by else None
    return staff.add(desk_.db, given.name, given.roles, given.msisdn, by, desk_.origin, desk_.now)


def retire(desk_: Desk, given: argparse.Namespace) -> str:
    return staff.retire(desk_.db, given.name, desk_.actor(given.by), desk_.now)


def list_staff(desk_: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            one.name,
            ", ".join(one.roles),
            "acts" if one.active else "has left",
            masked(one.msisdn) if one.msisdn else "",
        )
        for one in staff.everybody(desk_.db)
    ]
    nobody = "Nobody is staff yet. The first: add NAME --roles admin"
    return table(("name", "roles", "", "as a member"), rows, nobody)


def list_disputes(desk_: Desk, _given: argparse.Namespace) -> str:
    rows = []
    for dispute in disputes.undecided(desk_.db):
        verdict = verdicts.standing(desk_.db, dispute.id)
        stands = "to approve" if verdict else _stands(dispute)
        due = dispute.decide_by or dispute.answer_by
        rows.append(
            (
                str(dispute.number),
                str(_order_of(desk_.db, dispute).number),
                dispute.reason,
                show(ledger.balance(desk_.db, ledger.escrow(dispute.order_id))),
                stands,
                moment(due) + (" LATE" if due <= desk_.now else ""),
            )
        )
    return table(("case", "order", "reason", "KSh held", "stands", "due"), rows, "Nothing to do.")


def show_dispute(desk_: Desk, given: argparse.Namespace) -> str:
    db, dispute = desk_.db, desk_.dispute(given.case)
    order = _order_of(db, dispute)
    names = {order.buyer_id: "buyer", order.seller_id: "seller"}
    lines = [
        f"Case {dispute.number}: order {order.number}, {dispute.reason}, {_stands(dispute)}",
        f"  buyer   {person(db, order.buyer_id)}",
        f"  seller  {person(db, order.seller_id)}",
        f"  KSh {show(order.total_cents)}, fee {show(order.fee_cents)}; held now:"
        f" {show(ledger.balance(db, ledger.escrow(order.id)))}",
        f"  reported {moment(dispute.opened_at)}, to be answered by {moment(dispute.answer_by)}",
    ]
    if deal := deals.of_order(db, order.id):
        lines += [f"  agreed between them: {deal.title}; {deal.terms}"]
    if dispute.decide_by is not None:
        lines.append(f"  to be decided by {moment(dispute.decide_by)}")
    if dispute.default_buyer:
        lines.append("  The seller did not answer: the buyer's, unless you find otherwise.")
    lines += ["", "What they say"]
    lines += [f"  {moment(dispute.opened_at)} buyer: {dispute.words}"] if dispute.words else []
    lines += [
        f"  {moment(said.at)} {names[said.member_id]}: {said.words}"
        for said in evidence.words(db, dispute.id)
    ]
    lines += [
        f"  {moment(photo.at)} {names[photo.member_id]}: photo {photo.key}"
        for photo in evidence.photos(db, dispute.id)
    ]
    if verdict := verdicts.standing(db, dispute.id):
        lines += [
            "",
            "Carried out" if verdict.state == "carried_out" else "Waits for a second person",
            f"  buyer KSh {show(verdict.buyer_cents)}, seller KSh {show(verdict.seller_cents)}"
            " before the fee",
            f"  {verdict.reason}",
        ]
    lines += ["", "Of the order"]
    lines += [f"  {moment(event.at)} {event.kind}" for event in orders.timeline(db, order.id)]
    lines += ["", "By staff"]
    lines += [
        f"  {moment(act.at)} {act.who} {act.what}" for act in audit.of(db, f"case {dispute.number}")
    ]
    return "\n".join(lines)


def decide(desk_: Desk, given: argparse.Namespace) -> str:
    """One share may be left out: it is the rest."""
    by, dispute = desk_.actor(given.by), desk_.dispute(given.case)
    if given.buyer is None and given.seller is None:
        raise Refused("say what the buyer gets, or the seller")
    held = ledger.balance(desk_.db, ledger.escrow(dispute.order_id))
    buyer = held - given.seller if given.buyer is None else given.buyer
    seller = held - given.buyer if given.seller is None else given.seller
    return verdicts.decide(
        desk_.db, dispute.id, by, buyer, seller, given.reason, desk_.rules, desk_.now
    )


def approve(desk_: Desk, given: argparse.Namespace) -> str:
    by = desk_.actor(given.by)
    return verdicts.approve(desk_.db, desk_.dispute(given.case).id, by, desk_.now)


def decline(desk_: Desk, given: argparse.Namespace) -> str:
    by, dispute = desk_.actor(given.by), desk_.dispute(given.case)
    return verdicts.decline(desk_.db, dispute.id, by, given.reason, desk_.now)


def freeze(desk_: Desk, given: argparse.Namespace) -> str:
    by, found = desk_.actor(given.by), people.find(desk_, given.whose)
    done = desk.freeze(desk_.db, found.ids, given.reason, by, desk_.now)
    return _of(found, done)


def unfreeze(desk_: Desk, given: argparse.Namespace) -> str:
    by, found = desk_.actor(given.by), people.find(desk_, given.whose)
    return _of(found, desk.unfreeze(desk_.db, found.ids, by, desk_.now))


def _of(found: people.Found, done: str) -> str:
    if done in WHY:
        raise Refused(found.said(WHY[done]))
    return found.said(GOOD[done])


def list_cases(desk_: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            str(case.number),
            moment(case.opened_at),
            case.about,
            person(desk_.db, case.member_id),
            str(case.conversation[-1]["label"]) if case.conversation else "",
        )
        for case in cases.waiting(desk_.db)
    ]
    return table(("case", "since", "about", "member", "came from"), rows, "Nobody waits.")


def close_case(desk_: Desk, given: argparse.Namespace) -> str:
    by = desk_.actor(given.by)
    return desk.close_case(desk_.db, given.case, given.note, by, desk_.now)


def list_differences(desk_: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            str(it.number),
            f"{it.what} {it.kind}".replace("_", " "),
            it.receipt or "",
            moment(it.at),
            show(it.theirs_cents),
            show(it.ours_cents),
            f"{it.age_days(desk_.now)} d",
            "to approve" if resolutions.proposed(desk_.db, it.id) else it.action,
        )
        for it in differences.undone(desk_.db)
    ]
    heads = ("case", "what", "receipt", "when", "at M-Pesa", "with us", "age", "to do")
    return table(heads, rows, "Nothing differs.")


def resolve(desk_: Desk, given: argparse.Namespace) -> str:
    by = desk_.actor(given.by)
    return resolutions.decide(
        desk_.db, given.case, by, given.against, given.reason, desk_.rules, desk_.now
    )


def approve_resolution(desk_: Desk, given: argparse.Namespace) -> str:
    return resolutions.approve(desk_.db, given.case, desk_.actor(given.by), desk_.now)


def decline_resolution(desk_: Desk, given: argparse.Namespace) -> str:
    by = desk_.actor(given.by)
    return resolutions.decline(desk_.db, given.case, by, given.reason, desk_.now)


def list_suspense(desk_: Desk, _given: argparse.Namespace) -> str:
    rows = [
        (
            it.receipt,
            moment(it.at),
            show(it.amount_cents),
            it.reference,
            _said_of(desk_.db, it),
        )
        for it in suspense.unexplained(desk_.db)
    ]
    heads = ("receipt", "when", "KSh", "account named", "to do")
    return table(heads, rows, "Nothing is unexplained.")


def _said_of(db: Db, it: suspense.Unexplained) -> str:
    if it.member_id is not None:
        return f"to approve, back to {person(db, it.member_id)}"
    return f"to approve, for order {it.order_number}" if it.order_number else "to explain"


def explain(desk_: Desk, given: argparse.Namespace) -> str:
    by = desk_.actor(given.by)
    return suspense.explain(desk_.db, given.receipt, given.order, by, given.reason, desk_.now)


def give_back(desk_: Desk, given: argparse.Namespace) -> str:
    by = desk_.actor(given.by)
    return suspense.give_back(desk_.db, given.receipt, given.msisdn, by, given.reason, desk_.now)


def approve_explanation(desk_: Desk, given: argparse.Namespace) -> str:
    return suspense.approve(desk_.db, given.receipt, desk_.actor(given.by), desk_.now)


def decline_explanation(desk_: Desk, given: argparse.Namespace) -> str:
    return suspense.decline(desk_.db, given.receipt, desk_.actor(given.by), desk_.now)


def list_acts(desk_: Desk, given: argparse.Namespace) -> str:
    acts = audit.of(desk_.db, given.of) if given.of else audit.newest(desk_.db, ACTS_SHOWN)[::-1]
    rows = [
        (moment(act.at), act.who, act.what, act.subject, _change(act.before, act.after), act.origin)
        for act in acts
    ]
    return table(("when", "who", "what", "of", "change", "from"), rows, "Nothing was done.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what it prints and how it ends is said above."""
    given = _parser().parse_args(arguments)
    from settings import from_environment  # here only: the business itself knows no settings

    settings = from_environment()
    assert settings.database_url is not None, "settings without a database were let through"
    database = Database(settings.database_url)
    try:
        with database.begin() as db:
            said, code = run(Desk(db, settings.rules(), database.clock(), origin()), given)
    except Unavailable:
        said, code = "Refused: the database cannot be reached", REFUSED
    finally:
        database.close()
    print(said, file=sys.stderr if code else sys.stdout)
    return code


def run(desk_: Desk, given: argparse.Namespace) -> tuple[str, int]:
    """What to print, and how to end. What a refusal left, an incident, is to be committed."""
    command: Command = given.command
    try:
        said = command(desk_, given)
    except Refused as refused:
        return f"Refused: {refused}", REFUSED
    if said in WHY:
        return f"Refused: {WHY[said]}", REFUSED
    return GOOD.get(said, said), DONE


def _stands(dispute: Dispute) -> str:
    match dispute.state:
        case "open":
            return "waits for the seller"
        case "seller_reply":
            return "answered, to decide"
        case "review":
            return "to decide" + (", seller silent" if dispute.default_buyer else "")
        case _:
            return dispute.state.replace("_", ": ")


def _order_of(db: Db, dispute: Dispute) -> orders.Order:
    order = orders.by_id(db, dispute.order_id)
    assert order is not None, f"dispute {dispute.id} is of no order"
    return order


def _change(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """`state review > resolved_buyer, reason …`: only what is other than it was."""
    return ", ".join(
        f"{in_words(name, before[name])} > {value}" if name in before else in_words(name, value)
        for name, value in after.items()
        if before.get(name) != value
    )


def _case(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text):
        raise argparse.ArgumentTypeError("a case is a number, like 5001")
    return int(text)


def _roles(text: str) -> list[str]:
    roles = [role for role in text.split(",") if role]
    if unknown := set(roles) - set(ROLES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not of {', '.join(ROLES)}")
    return roles


_OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "name": {"help": "what they sign with"},
    "case": {"type": _case, "help": "its number, as people say it"},
    "msisdn": {"type": people.read_msisdn, "help": "a phone number"},
    "--roles": {"type": _roles, "required": True, "help": f"of {','.join(ROLES)}, as here"},
    "--msisdn": {"type": people.read_msisdn, "help": "of one who also trades here"},
    "--buyer": {"type": shillings, "metavar": "KSH", "help": "goes back to the buyer"},
    "--seller": {"type": shillings, "metavar": "KSH", "help": "the seller's, before the fee"},
    "--reason": {"required": True, "help": "in writing; buyer and seller may read a decision's"},
    "--note": {"required": True, "help": "what came of it"},
    "--against": {
        "choices": AGAINST,
        "required": True,
        "help": "where it is booked; charges: what M-Pesa took, owed: what we owe it for them; "
        "payment: that M-Pesa itself gave back, so its orders end",
    },
    "receipt": {"help": "M-Pesa's, as suspense shows it"},
    "--order": {"type": _case, "required": True, "help": "its number, as people say it"},
    "--of": {"help": "one subject, like 'case 5001'"},
    "--by": {"required": True, "metavar": "NAME", "help": "who you are"},
    **money.OPTIONS,
    **watch.OPTIONS,
    **people.OPTIONS,
    **phones.OPTIONS,
}
_COMMANDS: Final[Mapping[str, tuple[Command, Sequence[str], str]]] = {
    **watch.COMMANDS,
    **proposals.COMMANDS,
    "add": (add, ("name", "--roles", "--msisdn", "--by"), "somebody joins, or has other roles"),
    "retire": (retire, ("name", "--by"), "somebody acts no more"),
    "list": (list_staff, (), "who is staff"),
    "disputes": (list_disputes, (), "what is to be decided, the most urgent first"),
    "show": (show_dispute, ("case",), "all that is known of a dispute"),
    "decide": (
        decide,
        ("case", "--buyer", "--seller", "--reason", "--by"),
        "divide what a dispute holds",
    ),
    "approve": (approve, ("case", "--by"), "agree to a decision, as a second person"),
    "decline": (decline, ("case", "--reason", "--by"), "do not agree, or take your own back"),
    "freeze": (freeze, ("whose", "--reason", "--by"), "no money of that phone's members leaves"),
    "unfreeze": (unfreeze, ("whose", "--by"), "it may leave again, says a second person"),
    "cases": (list_cases, (), "who waits for a call"),
    "close-case": (close_case, ("case", "--note", "--by"), "they were called"),
    "differences": (list_differences, (), "where M-Pesa and our books differ, the oldest first"),
    "resolve": (resolve, ("case", "--against", "--reason", "--by"), "book a difference"),
    "approve-resolution": (approve_resolution, ("case", "--by"), "agree, as a second person"),
    "decline-resolution": (
        decline_resolution,
        ("case", "--reason", "--by"),
        "do not agree, or take your own back",
    ),
    "suspense": (list_suspense, (), "money that nobody could explain, the oldest first"),
    "explain": (
        explain,
        ("receipt", "--order", "--reason", "--by"),
        "say which order it was meant for",
    ),
    "give-back": (
        give_back,
        ("receipt", "msisdn", "--reason", "--by"),
        "say which member paid it for nothing of ours",
    ),
    "approve-explanation": (
        approve_explanation,
        ("receipt", "--by"),
        "agree, as a second person: it pays the order, or goes back",
    ),
    "decline-explanation": (
        decline_explanation,
        ("receipt", "--by"),
        "do not agree, or take your own back",
    ),
    **phones.COMMANDS,
    **resets.COMMANDS,
    **money.COMMANDS,
    "audit": (list_acts, ("--of",), "who did what"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.staff", description="What staff do.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, (command, options, about) in _COMMANDS.items():
        one = commands.add_parser(name, help=about, description=about)
        one.set_defaults(command=command)
        for option in options:
            settings = dict(_OPTIONS[option])
            if (name, option) == ("add", "--by"):  # the first of all
                settings["required"] = False
            one.add_argument(option, **settings)  # type: ignore[arg-type]
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
