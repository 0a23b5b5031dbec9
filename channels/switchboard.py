"""The switchboard: where each incoming SMS goes, a conversation or a verb of the core.

An SMS proves nothing but the phone it comes from, and that only as well as the network does: no
PIN is taken by it, no money leaves by it, and an order's money goes to the seller only against the
order's own code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from channels import keywords
from channels.keywords import Ambiguous, Keyword
from channels.ussd import Hopper
from core import (
    deals,
    deliveries,
    heard,
    members,
    messages,
    money,
    opt_outs,
    orders,
    shortages,
    wallet,
)
from core.database import Database, Db
from core.deals import Deal
from core.errors import Unavailable
from core.members import Member
from core.orders import Order
from core.rules import Rules
from core.worth import UNDER_WAY
from flows import run
from flows.conversations import Wish
from flows.run import Answer, Begin, Inbound, Reply
from flows.words import common

SECONDS_MAX = 3.0
ROOM_SEPTETS: Final = 3 * 153  # of a screen: three parts, never more
HELP_EVERY: Final = timedelta(hours=1)  # for words that we cannot read

Said = Answer | Begin


@dataclass(frozen=True)
class Sms:
    """One that came in. id: the gateway's, the same when it is sent again."""

    id: str
    msisdn: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True)
class _Told:
    """What an SMS is answered with, in the words of messages.toml."""

    trigger: str
    values: Mapping[str, object] = field(default_factory=dict)
    order_id: UUID | None = None


Verb = Callable[[Db, datetime], _Told | None]  # what it does, it does in that transaction


@dataclass(frozen=True)
class _Known:
    """Who writes, and of which order. member: None where it is a stranger's phone or two people's.

    order: one that they bought or sold; None: there is no such one. deal: one that is theirs, and
    no order yet. language: "", theirs unknown. offered_once: they were asked whether less of it may
    come, and about nothing else, so that by a yes they can mean nothing else.
    """

    member: Member | None
    order: Order | None
    deal: Deal | None
    language: str
    offered_once: bool = False

    @property
    def sells(self) -> bool:
        return bool(self.member and self.order and self.order.seller_id == self.member.id)


class Switchboard:
    """For one process. What it answers is sent by the worker, written with what it did."""

    def __init__(self, database: Database, hopper: Hopper, rules: Rules) -> None:
        self._database = database
        self._hopper = hopper
        self._rules = rules

    def hear(self, sms: Sms) -> bool:
        """Act on it, once however often it comes. False: not kept, it must come again."""
        try:
            asked = keywords.parse(sms.text)
            if asked is None or self._is_told(sms, asked):
                return self._typed(sms)
            return self._asked(sms, asked)
        except Unavailable:
            return False

    def _is_told(self, sms: Sms, asked: Keyword | Ambiguous) -> bool:
        """Words that answer a question, though the first of them is also one of our keywords."""
        if not (isinstance(asked, Keyword) and asked.words and asked.number is None):
            return False
        with self._database.autocommit(seconds=SECONDS_MAX) as db:
            return run.awaits_words(db, "sms", sms.msisdn)

    def _typed(self, sms: Sms) -> bool:
        """No keyword: an answer to the screen that its sender was sent last; else help."""
        reply = self._hop(sms, Answer(sms.id, sms.text))
        if reply.label != "over":
            return _kept(reply)

        def help_now_and_then(db: Db, now: datetime) -> _Told | None:
            told = messages.told_since(db, "sms_help", sms.msisdn, now - HELP_EVERY)
            return None if told else _Told("sms_help")

        return self._act(sms, self._known(sms, None), help_now_and_then)

    def _asked(self, sms: Sms, asked: Keyword | Ambiguous) -> bool:
        known = self._known(sms, asked)
        verb = self._verb(sms, asked, known)
        if verb is not None:
            return self._act(sms, known, verb)
        begin = Begin(sms.id)  # who is unknown, or one of two, begins at the beginning
        if isinstance(asked, Keyword) and known.member is not None:
            begin = _begin(sms, asked, known)
        order_id = known.order.id if known.order else None
        return _kept(self._hop(sms, begin, known.language or None, order_id))

    def _known(self, sms: Sms, asked: Keyword | Ambiguous | None) -> _Known:
        number = asked.number if isinstance(asked, Keyword) else None
        with self._database.autocommit(seconds=SECONDS_MAX) as db:
            member = members.by_msisdn(db, sms.msisdn)
            people = [member] if member else members.sharing(db, sms.msisdn)
            order = orders.numbered(db, number) if people and number is not None else None
            deal = deals.numbered(db, number) if member and number is not None else None
            agrees = order is not None and isinstance(asked, Keyword) and asked.kind == "agree"
            once = agrees and shortages.offered_once(db, order.id) if order else False
        if deal and (member is None or deal.side_of(member) is None):
            deal = None
        if order and not {order.buyer_id, order.seller_id} & {person.id for person in people}:
            order = None
        spoken = people[0].language if people else asked.language if asked else ""
        return _Known(member, order, deal, spoken, once)

    def _verb(self, sms: Sms, asked: Keyword | Ambiguous, known: _Known) -> Verb | None:
        """What is done and answered at once; None: a conversation answers."""
        member, order = known.member, known.order
        match asked:
            case Keyword("help"):
                return lambda _db, _now: _Told("sms_help")
            case Keyword("stop"):
                return lambda db, now: _stop(db, sms.msisdn, now)
            case Keyword("refuse"):
                return lambda db, now: _refuse(db, sms.msisdn, now)
            case Keyword("start"):
                return lambda db, _now: _start(db, sms.msisdn)
            case Keyword("confirm", code=code) if order is not None:  # the code says enough
                return lambda db, now: _confirm(db, order, code, self._rules, now)
            case _ if member is None:
                return None
            case Keyword("balance"):
                return lambda db, _now: _balance(db, member)
            case Ambiguous("confirm"):
                return lambda db, _now: _which_code(db, member)
            case Ambiguous(numbers=(first, *_)):
                return lambda _db, _now: _Told("sms_one_order", {"order": first})
            case Keyword("deal", number=int(number)) if known.deal is None:
                return lambda _db, _now: _Told("sms_no_deal", {"order": str(number)})
            case Keyword("status") if known.deal and order is None:
                return None
            case Keyword("agree") if order and known.offered_once and not known.sells:
                return lambda db, now: _agree(db, order, member, now)
            case Keyword("confirm" | "status" | "problem" | "agree", number=int(number)) if (
                order is None
            ):
                return lambda _db, _now: _Told("sms_no_order", {"order": str(number)})
            case Keyword("problem") if order and known.sells and order.state == "disputed":
                return None  # he tells his side
            case Keyword("status" | "problem" | "agree") if order is not None and known.sells:
                return lambda _db, _now: _stands(order, member.language)
            case _:
                return None

    def _act(self, sms: Sms, known: _Known, verb: Verb) -> bool:
        """Do it and answer it, in one transaction, unless this very SMS was here before."""
        digest = run.digest(self._rules, _session(sms), sms.id)
        with self._database.begin(seconds=SECONDS_MAX) as db:
            now = self._database.clock()
            if not heard.first(db, digest, now):
                return True
            told = verb(db, now)
            if told is not None:
                messages.of_phone(
                    db,
                    told.trigger,
                    digest.hex(),
                    sms.msisdn,
                    known.language,
                    told.values,
                    now,
                    member_id=known.member.id if known.member else None,
                    order_id=told.order_id,
                )
        return True

    def _hop(
        self, sms: Sms, said: Said, language: str | None = None, order_id: UUID | None = None
    ) -> Reply:
        of_order = {"order_id": str(order_id)} if order_id else {}
        inbound = Inbound(
            channel="sms",
            address=sms.msisdn,
            msisdn=sms.msisdn,
            session=_session(sms),
            service_code="",
            said=said,
            room_septets=ROOM_SEPTETS,
            private=False,
            language=language,
        )
        return self._hopper.answer(inbound, lambda _reply: Wish("sms_screen", of_order))


def _kept(reply: Reply) -> bool:
    """An apology was kept nowhere: the gateway comes again with the same SMS."""
    return reply.label != "apology"


def _session(sms: Sms) -> str:
    """An SMS conversation never ends."""
    return f"sms:{sms.msisdn}"


def _begin(sms: Sms, asked: Keyword, known: _Known) -> Begin:
    """The conversation that a member's keyword leads into."""
    order = {"order": str(known.order.id)} if known.order else {}
    match asked.kind:
        case "deal" | "status" if known.deal is not None and not (order and asked.kind == "status"):
            return Begin(sms.id, "safe_pay", "look", {"deal": str(known.deal.id)})
        case "deal":
            return Begin(sms.id, "safe_pay")
        case "buy" | "prices" if asked.words:
            wanted = {"wanted": asked.quantity} if asked.quantity else {}
            return Begin(sms.id, "buy", "found", {"words": asked.words, **wanted})
        case "buy" | "prices":
            return Begin(sms.id, "buy")
        case "status" | "agree" if order:
            return Begin(sms.id, "my_orders", "stands", order)
        case "status":
            return Begin(sms.id, "my_orders")
        case "problem":
            words = {"text": asked.words} if asked.words else {}
            if known.sells:
                return Begin(sms.id, "sell", "said", {**order, **words})
            return Begin(sms.id, "problem", "", {**order, **words})
        case "call_me":
            return Begin(sms.id, "call_me")
        case "wallet":  # which asks for the PIN, and by SMS says where to dial instead
            return Begin(sms.id, "wallet")
        case "go_on":
            return Begin(sms.id, resumes=True)
        case _:
            return Begin(sms.id)


def _stop(db: Db, msisdn: str, now: datetime) -> _Told:
    opt_outs.stop(db, msisdn, now)
    return _Told("sms_stopped")


def _start(db: Db, msisdn: str) -> _Told:
    opt_outs.start(db, msisdn)
    return _Told("sms_started")


def _refuse(db: Db, msisdn: str, now: datetime) -> _Told:
    opt_outs.refuse(db, msisdn, now)
    return _Told("sms_refused")


def _balance(db: Db, member: Member) -> _Told:
    """What the member has here; of a phone that two share nobody comes this far."""
    cents = wallet.balance(db, member.id).total_cents
    return _Told("sms_balance", {"total": money.show(cents)})


def _which_code(db: Db, member: Member) -> _Told:
    """Asked back with the numbers that it can be."""
    numbers = orders.on_their_way(db, member.id)[: messages.ORDERS_NAMED_MAX]
    return _Told("sms_which_code", {"orders": ", ".join(map(str, numbers)) or "-"})


def _confirm(db: Db, order: Order, code: str, rules: Rules, now: datetime) -> _Told | None:
    """The order's own code, from its seller or its buyer, says that she has the goods."""
    if len(code) != keywords.CODE_DIGITS:  # a slip of the finger is no try
        return _Told("sms_code_wrong", {"order": str(order.number)}, order.id)
    outcome = deliveries.enter_code(db, order.id, order.seller_id, code, rules, now)
    trigger = {
        "released": None,  # both have a receipt of it
        "wrong_code": "sms_code_wrong",
        "code_locked": "sms_code_locked",
        "frozen": "sms_frozen",
        "waits": "sms_waits",
        "not_open": "sms_not_open",
    }[outcome]
    return _Told(trigger, {"order": str(order.number)}, order.id) if trigger else None


def _agree(db: Db, order: Order, member: Member, now: datetime) -> _Told | None:
    """Its buyer takes less; no money goes by it but back to her."""
    outcome = shortages.agree(db, order.id, member.id, now)
    if outcome == "agreed":
        return None  # both have a message of it
    return _Told("sms_no_question", {"order": str(order.number)}, order.id)


def _stands(order: Order, language: str) -> _Told:
    """For its seller, who does the rest where his PIN can be asked for, if there is a rest."""
    known = common().texts[f"status.{order.state}"]
    values = {
        "order": str(order.number),
        "day": order.deliver_on,
        "status": known.get(language) or known["en"],
    }
    if order.state not in UNDER_WAY:
        return _Told("sms_order_over", values, order.id)
    return _Told("sms_order", {**values, "net": money.show(order.worth.net_cents)}, order.id)
