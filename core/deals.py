"""Deals: two people who found each other elsewhere agree on something, and pay by our escrow.

One opens a deal, as its buyer or as its seller; the other, whose phone he names, accepts it or
does not. Accepted, it is an order like any other, by the number that the deal had from the
beginning; nothing here knows of it any more.
"""

import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal, LiteralString
from uuid import UUID

import sqlalchemy as sa

from core import (
    catalogue,
    checkouts,
    days,
    freezes,
    members,
    messages,
    money,
    names,
    opt_outs,
    orders,
    outbox,
    phone,
    quiet,
)
from core.database import Db, metadata
from core.errors import Invalid
from core.gsm import SEPTETS, plain
from core.members import Member
from core.rules import Rules

Side = Literal["buyer", "seller"]
State = Literal["open", "accepted", "declined", "withdrawn", "lapsed"]

TITLE_MAX: Final = 24  # septets, as of terms; a title stands in our SMS
TERMS_MAX: Final = 90
DAYS_MAX: Final = 60  # until it is due
OPEN_MAX: Final = 5  # of one opener
OPENED_A_DAY_MAX: Final = 10
# By whomever they are opened: nobody can have a phone flooded by us.
INVITATIONS_A_DAY_MAX: Final = 10
INVITATIONS_A_DAY_STRANGER_MAX: Final = 3
ANSWER_WITHIN: Final = timedelta(hours=72)
REMIND_BEFORE: Final = timedelta(hours=12)
PAY_WITHIN: Final = timedelta(hours=24)  # who opened it may be away from the phone

deals = sa.Table(
    "deals",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),  # and its order's
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("opener_id", sa.Uuid, sa.ForeignKey("members.id"), nullable=False),
    sa.Column("opener_is", sa.Text, nullable=False),
    sa.Column("invited_msisdn", sa.Text, nullable=False),
    # Whose phone it was when the deal was opened; NULL: a stranger's, or two people's.
    sa.Column("invited_id", sa.Uuid, sa.ForeignKey("members.id")),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("terms", sa.Text, nullable=False),
    sa.Column("total_cents", sa.BigInteger, nullable=False),
    sa.Column("fee_cents", sa.BigInteger, nullable=False),  # as its seller was shown it
    sa.Column("due_on", sa.Date, nullable=False),
    sa.Column("answer_by", sa.DateTime(timezone=True), nullable=False),
    sa.Column("seller_proved", sa.Boolean, nullable=False),  # his PIN stands behind his word
    sa.Column("invited_at", sa.DateTime(timezone=True)),  # told by SMS
    sa.Column("reminded_at", sa.DateTime(timezone=True)),
    sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id"), unique=True),
    sa.Column("closed_at", sa.DateTime(timezone=True)),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(
        "state IN ('open', 'accepted', 'declined', 'withdrawn', 'lapsed')", name="state"
    ),
    sa.CheckConstraint("opener_is IN ('buyer', 'seller')", name="opener_is"),
    sa.CheckConstraint("opener_id <> invited_id", name="two_people"),
    sa.CheckConstraint(
        "total_cents BETWEEN 1000 AND 25000000 AND total_cents % 100 = 0", name="total_cents"
    ),
    sa.CheckConstraint("fee_cents BETWEEN 0 AND total_cents", name="fee_cents"),
    sa.CheckConstraint("(state = 'open') = (closed_at IS NULL)", name="closed_at"),
    sa.CheckConstraint("(state = 'accepted') = (order_id IS NOT NULL)", name="order_id"),
    sa.CheckConstraint("state <> 'accepted' OR invited_id IS NOT NULL", name="invited_id"),
    sa.Index("ix_deals_opener_id", "opener_id", "created_at"),
    sa.Index("ix_deals_invited_msisdn", "invited_msisdn", "created_at"),
    # The same deal opened twice is one.
    sa.Index(
        "uq_deals_open",
        *("opener_id", "opener_is", "invited_msisdn", "title", "terms", "total_cents", "due_on"),
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    ),
)

_COLUMNS: Final[LiteralString] = """
    d.id, d.number, d.state, d.opener_id, d.opener_is, d.invited_msisdn, d.invited_id, d.title,
    d.terms, d.total_cents, d.fee_cents, d.due_on, d.answer_by, d.seller_proved, d.invited_at,
    d.reminded_at, d.order_id, d.created_at,
    (SELECT o.state FROM orders o WHERE o.id = d.order_id) AS order_state"""


@dataclass(frozen=True)
class Deal:
    """fee_cents: the seller's, fixed when it was opened. answer_by: whoever is invited."""

    id: UUID
    number: int
    state: State
    opener_id: UUID
    opener_is: Side
    invited_msisdn: str = field(repr=False)
    invited_id: UUID | None
    title: str
    terms: str
    total_cents: int
    fee_cents: int
    due_on: date
    answer_by: datetime
    seller_proved: bool
    invited_at: datetime | None
    reminded_at: datetime | None
    order_id: UUID | None
    created_at: datetime
    order_state: str | None

    @property
    def net_cents(self) -> int:
        return self.total_cents - self.fee_cents

    def is_open(self, now: datetime) -> bool:
        """By the clock, also where the timer of its deadline is late."""
        return self.state == "open" and now < self.answer_by

    def invites(self, member: Member) -> bool:
        """Is this member the other one? Of two who share the phone, whoever did not open it."""
        if self.invited_id is not None:
            return member.id == self.invited_id
        return member.msisdn == self.invited_msisdn and member.id != self.opener_id

    def side_of(self, member: Member) -> Side | None:
        """What the member is in it; None: nothing."""
        if member.id == self.opener_id:
            return self.opener_is
        if not self.invites(member):
            return None
        return "seller" if self.opener_is == "buyer" else "buyer"


def open(  # noqa: A001 - read as deals.open
    db: Db,
    opener: Member,
    side: Side,
    invited_msisdn: str,
    *,
    title: str,
    terms: str,
    total_cents: int,
    due_on: date,
    proved: bool,
    rules: Rules,
    now: datetime,
) -> UUID | Literal["too_many", "frozen", "yourself", "day_over"]:
    """Propose it to whoever has that phone. The deal's id; of the same one, if it is open already.

    title, terms, total_cents: as parse_title, parse_terms and parse_amount return them. proved: the
    opener has typed the PIN. "too_many": open ones, or on one day. "frozen": the opener's account.
    """
    # Two hops of one opener wait for each other here, so that both count what the other opens.
    db.run(
        "SELECT pg_advisory_xact_lock(hashtextextended('deals ' || %(id)s, 0))",
        {"id": str(opener.id)},
    )
    permitted = may_open(db, opener, now)
    if permitted == "frozen":
        return "frozen"
    if not days.today(now) < due_on <= days.today(now) + timedelta(days=DAYS_MAX):
        return "day_over"
    invited = members.by_msisdn(db, invited_msisdn)
    if invited is not None and invited.id == opener.id:
        return "yourself"
    what = {
        "opener_id": opener.id,
        "opener_is": side,
        "invited_msisdn": invited_msisdn,
        "title": title,
        "terms": terms,
        "total_cents": total_cents,
        "due_on": due_on,
    }
    known: UUID | None = db.value(
        """
        SELECT id FROM deals
        WHERE opener_id = %(opener_id)s AND opener_is = %(opener_is)s
          AND invited_msisdn = %(invited_msisdn)s AND title = %(title)s AND terms = %(terms)s
          AND total_cents = %(total_cents)s AND due_on = %(due_on)s AND state = 'open'
        """,
        what,
    )
    if known is not None:
        return known
    if permitted == "too_many":
        return "too_many"
    deal_id, answer_by = db.new_id(), min(now + ANSWER_WITHIN, days.end(due_on))
    db.run(
        """
        INSERT INTO deals (id, number, state, opener_id, opener_is, invited_msisdn, invited_id,
                           title, terms, total_cents, fee_cents, due_on, answer_by, seller_proved,
                           created_at, updated_at)
        VALUES (%(id)s, %(number)s, 'open', %(opener_id)s, %(opener_is)s, %(invited_msisdn)s,
                %(invited_id)s, %(title)s, %(terms)s, %(total_cents)s, %(fee_cents)s, %(due_on)s,
                %(answer_by)s, %(proved)s, %(now)s, %(now)s)
        """,
        {
            **what,
            "id": deal_id,
            "number": orders.new_number(db),
            "invited_id": invited.id if invited else None,
            "fee_cents": money.fee_cents(total_cents, rules.fee_basis_points),
            "answer_by": answer_by,
            "proved": proved and side == "seller",
            "now": now,
        },
    )
    outbox.put(db, "deal_invitation", due_at=quiet.over_at(now, rules), deal_id=deal_id)
    outbox.put(db, "deal_deadline", due_at=answer_by, deal_id=deal_id)
    remind_at = quiet.over_at(answer_by - REMIND_BEFORE, rules)
    if now < remind_at < answer_by:
        outbox.put(db, "deal_reminder", due_at=remind_at, deal_id=deal_id)
    return deal_id


def may_open(db: Db, opener: Member, now: datetime) -> Literal["free", "too_many", "frozen"]:
    """What open would say of its opener now; nothing is locked."""
    if freezes.is_frozen(db, opener.id):
        return "frozen"
    many: bool = db.value(
        """
        SELECT count(*) FILTER (WHERE state = 'open' AND answer_by > %(now)s) >= %(open_max)s
            OR count(*) FILTER (WHERE created_at > %(day_ago)s) >= %(day_max)s
        FROM deals WHERE opener_id = %(id)s
        """,
        {
            "id": opener.id,
            "now": now,
            "day_ago": now - timedelta(days=1),
            "open_max": OPEN_MAX,
            "day_max": OPENED_A_DAY_MAX,
        },
    )
    return "too_many" if many else "free"


def accept(
    db: Db, deal_id: UUID, member: Member, *, proved: bool, rules: Rules, now: datetime
) -> Literal["asked", "agreed", "not_open", "stuck", "not_yours"]:
    """The other agrees: it is an order now, and its buyer is asked to pay.

    proved: the member has typed the PIN. A seller who has not, by SMS, accepts the order once more
    when it is paid, where he can. "asked": M-Pesa prompts the buyer's phone. "agreed": it cannot
    now, or it is night and she is asleep; she pays from her orders. "stuck": the account of one of
    them is frozen or closed.
    """
    deal = _lock(db, deal_id)
    if not deal.invites(member):
        return "not_yours"
    if not deal.is_open(now):
        return "not_open"
    opener = members.by_id(db, deal.opener_id)
    if opener is None or any(freezes.is_frozen(db, one.id) for one in (opener, member)):
        return "stuck"
    buyer, seller = (opener, member) if deal.opener_is == "buyer" else (member, opener)
    is_awake = buyer is member or quiet.over_at(now, rules) == now
    placed = checkouts.agree(
        db,
        buyer.id,
        orders.NewOrder(
            seller.id,
            deal.total_cents,
            deal.fee_cents,
            title=deal.title,
            number=deal.number,
            agreed=deal.seller_proved or (proved and seller is member),
        ),
        buyer.msisdn if is_awake and phone.has_mpesa(buyer.msisdn) else None,
        deal.due_on,
        _pay_by(deal, rules, now),
        rules,
        now,
    )
    db.run(
        """
        UPDATE deals SET state = 'accepted', invited_id = %(invited_id)s, order_id = %(order_id)s,
                         closed_at = %(now)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"invited_id": member.id, "order_id": placed.order_id, "now": now, "id": deal_id},
    )
    return "asked" if placed.is_asked else "agreed"


def decline(
    db: Db, deal_id: UUID, member: Member, now: datetime
) -> Literal["declined", "not_open", "not_yours"]:
    """The other does not want it."""
    deal = _lock(db, deal_id)
    if not deal.invites(member):
        return "not_yours"
    if not deal.is_open(now):
        return "not_open"
    _close(db, deal, "declined", now)
    messages.of_member(db, "deal_declined", deal.opener_id, _values(deal), now)
    return "declined"


def withdraw(
    db: Db, deal_id: UUID, member: Member, now: datetime
) -> Literal["withdrawn", "not_open", "not_yours"]:
    """Who opened it takes it back before it is answered; who was told of it hears that too."""
    deal = _lock(db, deal_id)
    if deal.opener_id != member.id:
        return "not_yours"
    if not deal.is_open(now):
        return "not_open"
    _close(db, deal, "withdrawn", now)
    if deal.invited_at is not None:
        _tell_invited(db, deal, "deal_withdrawn", now)
    return "withdrawn"


def follow(db: Db, member_id: UUID, from_msisdn: str, to_msisdn: str | None, now: datetime) -> None:
    """The invited has another number, or none: whoever gets the old one sees no deal of theirs.

    The change is made already. Of a phone that two share nobody knows whom a deal was for.
    """
    db.run(
        """
        UPDATE deals
        SET invited_id = %(member_id)s, invited_msisdn = coalesce(%(to)s, invited_msisdn),
            updated_at = %(now)s
        WHERE invited_msisdn = %(from)s AND state = 'open' AND opener_id <> %(member_id)s
          AND (invited_id = %(member_id)s OR (invited_id IS NULL AND NOT EXISTS (
               SELECT FROM members WHERE msisdn = %(from)s AND deleted_at IS NULL)))
        """,
        {"member_id": member_id, "from": from_msisdn, "to": to_msisdn, "now": now},
    )


def invite(
    db: Db, deal_id: UUID, now: datetime
) -> Literal["invited", "unwanted", "enough", "not_open"]:
    """For the timer deal_invitation: whoever has the phone is told of it by SMS, once.

    "unwanted": the phone asked us to stop what it did not ask for. "enough": it was told of so many
    today. The deal is there all the same, for whoever dials.
    """
    deal = _lock(db, deal_id)
    if not deal.is_open(now) or deal.invited_at is not None:
        return "not_open"
    if opt_outs.of(db, deal.invited_msisdn):
        return "unwanted"
    db.run(
        "SELECT pg_advisory_xact_lock(hashtextextended('invited ' || %(msisdn)s, 0))",
        {"msisdn": deal.invited_msisdn},
    )
    invited_today: int = db.value(
        """
        SELECT count(*) FROM deals
        WHERE invited_msisdn = %(msisdn)s AND invited_at > %(day_ago)s
          AND created_at > %(long_ago)s
        """,
        {
            "msisdn": deal.invited_msisdn,
            "day_ago": now - timedelta(days=1),
            "long_ago": now - timedelta(days=1) - ANSWER_WITHIN,
        },
    )
    known = _invited(db, deal)
    if invited_today >= (INVITATIONS_A_DAY_MAX if known else INVITATIONS_A_DAY_STRANGER_MAX):
        return "enough"
    db.run(
        "UPDATE deals SET invited_at = %(now)s, updated_at = %(now)s WHERE id = %(id)s",
        {"now": now, "id": deal_id},
    )
    _tell_invited(db, deal, "deal_to_sell" if deal.opener_is == "buyer" else "deal_to_buy", now)
    return "invited"


def remind(db: Db, deal_id: UUID, now: datetime) -> Literal["reminded", "not_yet", "not_open"]:
    """For the timer deal_reminder: it will not be open much longer. A stranger is not told twice.

    "not_yet" has set the timer anew.
    """
    deal = _lock(db, deal_id)
    if not deal.is_open(now) or deal.reminded_at is not None:
        return "not_open"
    remind_at = deal.answer_by - REMIND_BEFORE
    if now < remind_at:
        outbox.put(db, "deal_reminder", due_at=remind_at, deal_id=deal_id)
        return "not_yet"
    if deal.invited_at is None or _invited(db, deal) is None:
        return "not_open"
    db.run(
        "UPDATE deals SET reminded_at = %(now)s, updated_at = %(now)s WHERE id = %(id)s",
        {"now": now, "id": deal_id},
    )
    _tell_invited(db, deal, "deal_reminder", now)
    return "reminded"


def lapse(db: Db, deal_id: UUID, now: datetime) -> Literal["lapsed", "not_yet", "not_open"]:
    """For the timer deal_deadline: nobody answered it. "not_yet" has set the timer anew."""
    deal = _lock(db, deal_id)
    if deal.state != "open":
        return "not_open"
    if now < deal.answer_by:
        outbox.put(db, "deal_deadline", due_at=deal.answer_by, deal_id=deal_id)
        return "not_yet"
    _close(db, deal, "lapsed", now)
    messages.of_member(db, "deal_lapsed", deal.opener_id, _values(deal), now)
    return "lapsed"


def waiting(db: Db, member: Member, now: datetime, limit: int = 20) -> list[Deal]:
    """What waits for this member's answer, that with the least time first."""
    return db.rows(
        Deal,
        f"""
        SELECT {_COLUMNS} FROM deals d
        WHERE d.invited_msisdn = %(msisdn)s AND d.state = 'open' AND d.answer_by > %(now)s
          AND d.opener_id <> %(id)s AND coalesce(d.invited_id, %(id)s) = %(id)s
        ORDER BY d.answer_by, d.number LIMIT %(limit)s
        """,
        {"msisdn": member.msisdn, "id": member.id, "now": now, "limit": limit},
    )


def opened_by(db: Db, member_id: UUID, limit: int) -> list[Deal]:
    """What the member opened, in whatever state, the newest first."""
    return db.rows(
        Deal,
        f"""
        SELECT {_COLUMNS} FROM deals d WHERE d.opener_id = %(id)s
        ORDER BY d.created_at DESC, d.number DESC LIMIT %(limit)s
        """,
        {"id": member_id, "limit": limit},
    )


def by_id(db: Db, deal_id: UUID) -> Deal | None:
    """One as it stands; nothing is locked."""
    return db.row(Deal, f"SELECT {_COLUMNS} FROM deals d WHERE d.id = %(id)s", {"id": deal_id})


def numbered(db: Db, number: int) -> Deal | None:
    """The one that people call by this number."""
    return db.row(Deal, f"SELECT {_COLUMNS} FROM deals d WHERE d.number = %(n)s", {"n": number})


def of_order(db: Db, order_id: UUID) -> Deal | None:
    """What an order was agreed as; None: it is of our catalogue."""
    return db.row(
        Deal, f"SELECT {_COLUMNS} FROM deals d WHERE d.order_id = %(id)s", {"id": order_id}
    )


def parse_title(text: str) -> str:
    """What it is about, in a few words. Raises Invalid: "title", "words_only"."""
    return _parse(text, TITLE_MAX, "title")


def parse_terms(text: str) -> str:
    """What else they agreed on. Raises Invalid: "terms", "words_only"."""
    return _parse(text, TERMS_MAX, "terms")


def parse_amount(text: str) -> int:
    """What was typed, in cents: whole shillings, 10 to 250,000. Raises Invalid("amount")."""
    try:
        cents = catalogue.parse_price(text)
    except Invalid:
        raise Invalid("amount") from None
    if cents < money.PAYOUT_CENTS_MIN:
        raise Invalid("amount")
    return cents


def parse_day(text: str, now: datetime) -> date:
    """The day by which it is due: "25/12", "25.12.2026"; without a year the next such day.

    Raises Invalid("due_day"): there is none, or it is not one of the next sixty.
    """
    typed = _DAY.fullmatch(text.strip())
    if typed is None:
        raise Invalid("due_day")
    today = days.today(now)
    years = [int(typed["year"])] if typed["year"] else [today.year, today.year + 1]
    for year in years:
        try:
            day = date(year, int(typed["month"]), int(typed["day"]))
        except ValueError:
            continue
        if today < day <= today + timedelta(days=DAYS_MAX):
            return day
    raise Invalid("due_day")


_DAY: Final = re.compile(
    r"(?P<day>[0-9]{1,2})[/. -](?P<month>[0-9]{1,2})(?:[/. -](?P<year>20[0-9]{2}))?"
)
# What people type comes to somebody else as an SMS of ours. It may name goods and prices, and
# neither lead anywhere nor speak for us: no link, no number that can be called or paid.
_SIGNS: Final = frozenset(" ,.'-/&+()%!?")
_LINK: Final = re.compile(r"[^\W\d_]\.[^\W\d_]|\bwww\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]{6}|[0-9](?:[ ,.'/&+()-]*[0-9]){8}")
_POSING: Final = re.compile(r"sokoni|m\W?pesa|safaricom|\b(?:pin|otp|password)\b", re.IGNORECASE)
_LETTERS_MIN: Final = 3


def _parse(text: str, septets_max: int, hint: str) -> str:
    """In letters that every phone has, and none that a template would read."""
    words = " ".join(plain(text).split())
    if sum(map(str.isalpha, words)) < _LETTERS_MIN or len(words) > septets_max:
        raise Invalid(hint)
    if not all(c in SEPTETS and (c.isalpha() or c.isdecimal() or c in _SIGNS) for c in words):
        raise Invalid("words_only")
    if _LINK.search(words) or _NUMBER.search(words) or _POSING.search(words):
        raise Invalid("words_only")
    return words


def _pay_by(deal: Deal, rules: Rules, now: datetime) -> datetime:
    """A day, but not past the deal's own; yet never less than any buyer has."""
    least = now + timedelta(minutes=rules.reservation_minutes)
    return max(min(now + PAY_WITHIN, days.end(deal.due_on)), least)


def _lock(db: Db, deal_id: UUID) -> Deal:
    """Before the checkout that it may become: the first of the locks after conversations."""
    deal = db.row(
        Deal,
        f"SELECT {_COLUMNS} FROM deals d WHERE d.id = %(id)s FOR NO KEY UPDATE",
        {"id": deal_id},
    )
    assert deal is not None, f"no deal {deal_id}"
    return deal


def _close(db: Db, deal: Deal, state: State, now: datetime) -> None:
    db.run(
        """
        UPDATE deals SET state = %(state)s, closed_at = %(now)s, updated_at = %(now)s
        WHERE id = %(id)s
        """,
        {"state": state, "now": now, "id": deal.id},
    )


def _invited(db: Db, deal: Deal) -> Member | None:
    """Whoever would read it on that phone; None: a stranger."""
    if deal.invited_id is not None:
        return members.by_id(db, deal.invited_id)
    known = members.by_msisdn(db, deal.invited_msisdn)
    return known or next(iter(members.sharing(db, deal.invited_msisdn)), None)


def _tell_invited(db: Db, deal: Deal, trigger: str, now: datetime) -> None:
    """In the language of the phone's owner; a stranger's is that of who knows the number."""
    opener, invited = members.by_id(db, deal.opener_id), _invited(db, deal)
    spoken = invited or opener
    values = {**_values(deal), "name": names.called(opener.name) if opener else "-"}
    messages.of_phone(
        db,
        trigger,
        str(deal.id),
        deal.invited_msisdn,
        spoken.language if spoken else "",
        values,
        now,
        member_id=deal.invited_id,
    )


def _values(deal: Deal) -> dict[str, object]:
    return {
        "order": str(deal.number),
        "title": deal.title,
        "total": money.show(deal.total_cents),
        "answer_by": deal.answer_by,
    }
