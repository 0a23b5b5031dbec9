"""Money events: each a short story, lived again with one thing befalling it at every boundary.

A story is prepared in peace; then the event begins, and whatever befalls, once it is quiet again
every invariant stands, M-Pesa's books are ours, and all ends as if nothing had befallen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from core import (
    approvals,
    checkouts,
    days,
    deals,
    deliveries,
    disputes,
    float_moves,
    members,
    shortages,
    trips,
    verdicts,
    withdrawals,
)
from core.database import Db
from simulator.books import PAID_IN
from simulator.world import SANDBOX_SHORTCODE
from tests.core import office
from tests.simulation import acts, invariants, staff
from tests.simulation.acts import WHY
from tests.simulation.day import Day, Lived, Profile, Step
from tests.simulation.fate import FATES, Job, Mercy, Script
from tests.simulation.town import Ground, Person, Town

PEACE: Final = Profile(begun=0.0, is_mute=True, loses=False)
DEAR: Final = 20  # see Event.share
TRIES_MAX: Final = 3  # somebody who hears nothing tries again


class Story:
    """A town in peace, until `begins`."""

    def __init__(self, ground: Ground, fate: Mercy) -> None:
        self.fate = fate
        self.town = Town(ground, "event", fate)
        self.day = Day(self.town, "event", PEACE, Lived("event"))
        self.amina, self.wanjiku, self.otieno = (
            self.town.buyers[0],
            *self.town.sellers,
        )
        self.rules(auto="0", auto_seconds=[1.0, 1.0])

    def rules(self, **given: Any) -> None:
        self.town.world.rulebook.change(given)

    def passes(self, **time: float) -> None:
        """Until nothing is due any more within that time."""
        until = self.town.now + timedelta(**time)
        self.day._run_until_quiet(until)
        self.town.wait(max(0.0, (until - self.town.now).total_seconds()))

    def tries(self, name: str, verb: Callable[[Db], object]) -> None:
        """Somebody does something, again where nothing was heard of it."""

        def act() -> str:
            with self.town.database.begin() as db:
                return str(verb(db))

        self.does(name, act)

    def does(self, name: str, act: Callable[[], str]) -> None:
        """The same of what opens its transactions itself."""
        for _ in range(TRIES_MAX):
            if self.day._outcome(Job(name), Step(name, "", name, act)) not in _UNHEARD:
                return

    def placed(
        self,
        tomatoes: int = 2,
        halves: int = 3,
        mills: int = 0,
        buyer: "Person | None" = None,
        payer: str = "",
    ) -> None:
        """Amina's basket, or another's, of Wanjiku's tomatoes and mills and Otieno's beans.

        payer: the phone that is to pay; hers if none.
        """
        town, buyer, market = self.town, buyer or self.amina, self.town.market
        counts = {market.tomatoes: tomatoes * 1000, market.beans: halves * 500}
        counts[town.mills] = mills * 1000
        deed = acts.basket(town, buyer, payer or buyer.msisdn, list(counts.items()))
        assert deed.do() == "placed"

    def paid(self, **basket: Any) -> None:
        self.placed(**basket)
        self.passes(seconds=70)

    def sent(self, **basket: Any) -> None:
        self.paid(**basket)
        for order in acts.orders_in(self.town, "paid"):
            for verb in (deliveries.accept, deliveries.dispatch):
                self.tries("prepare", self.of(verb, order, order.seller_id))

    def disputed(self) -> None:
        self.sent(halves=0)
        (order,) = acts.orders_in(self.town, "dispatched")
        self.tries("complain", lambda db: self.complain(db, order))

    def earned(self) -> None:
        """Otieno keeps KSh 600 less the fee here."""
        self.sent(tomatoes=0, halves=10)
        (order,) = acts.orders_in(self.town, "dispatched")
        self.tries("prepare", self.of(deliveries.received, order, order.buyer_id))
        self.passes(seconds=70)

    def of(self, verb: Any, order: Any, member_id: Any) -> Callable[[Db], object]:
        return lambda db: verb(db, order.id, member_id, self.town.now)

    def complain(self, db: Db, order: Any) -> object:
        return disputes.open(db, order.id, order.buyer_id, "rotten", None, self.town.now)

    def enter_code(self, db: Db, order: Any) -> object:
        code = acts.code_of(db, order.id, self.town)
        return deliveries.enter_code(
            db, order.id, order.seller_id, code, self.town.rules, self.town.now
        )

    def decide(self, db: Db, share: float) -> object:
        (dispute,) = staff.disputed_in(db)
        buyer_cents = int(dispute.held_cents * share) // 100 * 100
        return verdicts.decide(
            db, dispute.id, office.at_work(db, "olive"), buyer_cents,
            dispute.held_cents - buyer_cents, WHY, self.town.rules, self.town.now,
        )  # fmt: skip

    def approve_verdict(self, db: Db) -> object:
        found = staff.disputed_in(db)
        if not found:
            return "over"
        return verdicts.approve(db, found[0].id, office.at_work(db, "peter"), self.town.now)

    def approve_payout(self, payout_id: UUID) -> Callable[[Db], object]:
        return lambda db: approvals.approve(
            db, payout_id, office.at_work(db, "peter"), self.town.now
        )

    def withdraw(self, db: Db, member: Person, cents: int) -> object:
        """A person who hears nothing looks at the balance before asking again."""
        if db.value("SELECT count(*) FROM payouts WHERE requested_by = %s", [str(member.id)]):
            return "asked before"
        return withdrawals.withdraw(db, member.id, cents, self.town.rules, self.town.now)

    def pay_by_hand(self, reference: str, cents: int, phone: str = "") -> None:
        phone = phone or self.amina.msisdn
        self.town.world.c2b.pay(phone, SANDBOX_SHORTCODE, reference, cents)

    def give_up(self, db: Db, order: Any) -> object:
        return checkouts.cancel(db, order.checkout_id, order.buyer_id, self.town.now)

    def offer_deal(self, db: Db) -> object:
        otieno = members.by_id(db, self.otieno.id)
        assert otieno is not None
        now, rules, due_on = self.town.now, self.town.rules, days.coming(self.town.now, 2)[-1]
        return deals.open(
            db, otieno, "seller", self.amina.msisdn,
            title="Bicycle, used", terms="As seen.", total_cents=45_000, due_on=due_on,
            proved=True, rules=rules, now=now,
        )  # fmt: skip

    def accept_deal(self, db: Db) -> object:
        amina = members.by_id(db, self.amina.id)
        assert amina is not None
        deal_id: UUID = db.value("SELECT id FROM deals")
        return deals.accept(
            db, deal_id, amina, proved=True, rules=self.town.rules, now=self.town.now
        )

    def agree(self, db: Db, order: Any) -> object:
        return shortages.agree(db, order.id, order.seller_id, self.town.now)

    def less_came(self, db: Db, order: Any) -> object:
        line = trips.of_order(db, order.id)[0]
        had_milli = line.to_come_milli - line.step_milli
        return shortages.say_less_came(
            db, order.id, order.buyer_id, line.id, had_milli, self.town.now
        )

    def move_float(self, db: Db) -> object:
        """Olive looks whether one has arrived, or is on its way, before she asks again."""
        if db.value("SELECT count(*) FROM float_moves WHERE state <> 'failed'"):
            return "asked before"
        return float_moves.request(db, 20_000, "olive", self.town.now)

    def given_back(self) -> None:
        """M-Pesa gives the newest payment back, and Olive asks for the statement."""
        paid = [each for each in self.town.world.books.statement() if each.kind in PAID_IN]
        self.town.world.operations.reverse_by_mpesa(str(paid[-1].receipt))
        self.town.reversed.append(str(paid[-1].receipt))
        self.passes(minutes=1)

    def reconcile(self) -> None:
        """Until the statement could be had: the nights that follow would have it, too."""
        for _ in range(TRIES_MAX):
            self.does("reconcile", lambda: self.day._reconciled(days.today(self.town.now)))
            if staff.given_back(self.town):
                return

    def book_reversal(self) -> None:
        for case in staff.given_back(self.town):
            self.does("book", staff.booking(self.town, case).do)

    def charge(self) -> tuple[str, int]:
        """The newest charge's account and amount; if one is not paid, that one's."""
        with self.town.database.look() as db:
            reference, cents = db.value(
                "SELECT array[reference, amount_cents::text] FROM charges"
                " ORDER BY state = 'paid', id DESC LIMIT 1"
            )
        return reference, int(cents)

    def ends(self) -> dict[str, Any]:
        """How everything stands: what must be the same however it came about."""
        with self.town.database.look() as db:
            found: dict[str, Any] = db.value(_ENDS)
        return found


_UNHEARD: Final = ("dies", "Unavailable", "CommitUnknown", "BrokerAway")
_ENDS: Final = """
    SELECT json_build_object(
        'accounts', (SELECT json_object_agg(kind, cents) FROM (
            SELECT a.kind, sum(e.amount_cents) AS cents FROM accounts a
            JOIN entries e ON e.account_id = a.id GROUP BY a.kind ORDER BY a.kind) AS k),
        'orders', (SELECT json_agg(state ORDER BY number) FROM orders),
        'escrows', (SELECT json_agg(json_build_array(e.state, captured_cents, released_cents,
                                                     refunded_cents, e.fee_cents) ORDER BY number)
                    FROM escrows e JOIN orders o ON o.id = e.order_id),
        'payouts', (SELECT json_agg(json_build_array(kind, amount_cents, state, msisdn)
                                    ORDER BY kind, amount_cents, state, msisdn) FROM payouts
                    WHERE state <> 'failed'),
        'gone', (SELECT json_agg(outcome) FROM receipts WHERE outcome = 'reversed'),
        'stock', (SELECT json_agg(json_build_array(on_hand_milli, allocated_milli)
                                  ORDER BY offer_id) FROM stock))"""


@dataclass(frozen=True)
class Event:
    """prepare: in peace. happens: the event itself, up to when it is quiet again.

    share: of so many of its runs the tests live one; dear ones share many boundaries with others.
    """

    name: str
    prepare: Callable[[Story], None]
    happens: Callable[[Story], None]
    share: int = 4


EVENTS: Final[list[Event]] = []


def event(
    prepare: Callable[[Story], None], share: int = 4
) -> Callable[[Callable[[Story], None]], Event]:
    def register(happens: Callable[[Story], None]) -> Event:
        made = Event(happens.__name__.replace("_", " "), prepare, happens, share)
        EVENTS.append(made)
        return made

    return register


@dataclass(frozen=True)
class Enumerated:
    """points: the event's boundaries by name. runs: each with one thing befalling at one."""

    points: int
    runs: int
    broken: list[str]


def enumerate_all(ground: Ground, told: Event, share: int = 1) -> Enumerated:
    """The event with everything that may befall it at each of its boundaries, met first.

    share: of so many runs one is lived, others of other events.
    """
    calm = Mercy()
    clean = _lived(ground, told, calm)
    firsts = {point: at for at, (point, _) in reversed(list(enumerate(calm.passed)))}
    fates = [(it, at, what) for it, at in firsts.items() for what in FATES[calm.passed[at][1]]]
    chosen = fates[EVENTS.index(told) % share :: share]
    broken = []
    for point, at, befalls in chosen:
        try:
            ends = _lived(ground, told, Script(at, befalls))
        except Exception as error:  # noqa: BLE001 - told with where it was
            broken.append(f"{befalls} at {point}: {type(error).__name__}: {error}")
            continue
        differs = {name: (clean[name], ends[name]) for name in clean if clean[name] != ends[name]}
        if differs:
            broken.append(f"{befalls} at {point} ends otherwise: {differs}")
    return Enumerated(len(firsts), len(chosen), broken)


def _lived(ground: Ground, told: Event, fate: Mercy) -> dict[str, Any]:
    story = Story(ground, fate)
    told.prepare(story)
    fate.begins()
    told.happens(story)
    found = story.day.broken() + invariants.differing_books(story.town)
    assert not found, "; ".join(found)
    return story.ends()


# --- money that comes in --------------------------------------------------------------------------


def _paid_at_last(story: Story, phone: str = "") -> None:
    """A push that was begun and died is not made again: if it was not paid, as the statement says,
    she pays by hand, or whoever has that phone."""
    story.passes(minutes=3)
    story.fate.ends()
    if acts.orders_in(story.town, "placed"):
        story.day._reconcile()
    for _ in story.town.buyers:
        if acts.orders_in(story.town, "placed"):
            story.pay_by_hand(*story.charge(), phone)
            story.passes(minutes=1)


def _sent_at_last(story: Story) -> None:
    """What was claimed and never reached M-Pesa is known to be absent after a day, and an operator
    sends it anew."""
    story.passes(minutes=8)
    story.fate.ends()
    story.passes(hours=27)

    def resume(db: Db) -> object:
        by = office.at_work(db, "olive")
        return approvals.resume(db, None, by, story.town.rules, story.town.now)

    story.tries("resume", resume)
    for payout in staff.waiting_payouts(story.town):
        story.tries("approve", story.approve_payout(payout.id))
    story.passes(minutes=10)


@event(Story.placed)
def a_push_is_paid(story: Story) -> None:
    _paid_at_last(story)


def _placed_with(**rules: Any) -> Callable[[Story], None]:
    def prepare(story: Story) -> None:
        story.rules(**rules)
        story.placed()

    return prepare


@event(_placed_with(callback="never", c2b_confirmation=0.0))
def a_push_is_paid_and_only_the_query_tells(story: Story) -> None:
    _paid_at_last(story)


@event(_placed_with(callback="never"))
def a_push_is_paid_and_only_the_confirmation_tells(story: Story) -> None:
    _paid_at_last(story)


@event(_placed_with(contradiction=["1037", "0"], callback_gap_seconds=20.0))
def a_push_fails_and_then_was_paid(story: Story) -> None:
    _paid_at_last(story)


def _cancelled(story: Story) -> None:
    story.rules(auto="1032")
    story.placed()
    story.passes(seconds=70)


def _two_baskets(story: Story) -> None:
    """Of two buyers; their payments are told of at the same moment."""
    story.placed()
    story.placed(buyer=story.town.buyers[1])


@event(_two_baskets)
def two_pushes_are_paid_at_once(story: Story) -> None:
    _paid_at_last(story)


@event(_cancelled)
def a_basket_is_paid_by_hand(story: Story) -> None:
    story.pay_by_hand(*story.charge())
    story.passes(minutes=3)


@event(_cancelled)
def a_basket_is_paid_by_hand_in_two_parts(story: Story) -> None:
    reference, cents = story.charge()
    story.pay_by_hand(reference, cents - 10_000)
    story.passes(minutes=2)
    story.pay_by_hand(reference, 10_000)
    story.passes(minutes=3)


@event(_cancelled)
def a_basket_is_paid_by_hand_too_much(story: Story) -> None:
    reference, cents = story.charge()
    story.pay_by_hand(reference, cents + 5_000)
    _sent_at_last(story)


@event(_cancelled)
def nobody_knows_what_is_paid_for(story: Story) -> None:
    story.rules(validation=False)
    story.pay_by_hand("MAMA1", 30_000)
    story.passes(minutes=3)


@event(Story.paid)
def a_second_payment_is_given_back(story: Story) -> None:
    story.rules(validation=False)
    story.pay_by_hand(*story.charge())
    _sent_at_last(story)


def _too_late(story: Story) -> None:
    _cancelled(story)
    story.passes(minutes=20)


@event(_too_late)
def a_late_payment_is_given_back(story: Story) -> None:
    story.rules(validation=False)
    story.pay_by_hand(*story.charge())
    _sent_at_last(story)


@event(_cancelled)
def a_basket_expires(story: Story) -> None:
    story.passes(minutes=20)


# --- another's phone, and more than M-Pesa moves at once ------------------------------------------


def _paid_by_a_sister(story: Story) -> None:
    story.paid(payer=story.town.sister)


@event(lambda story: story.placed(payer=story.town.sister), share=DEAR)
def anothers_push_is_paid(story: Story) -> None:
    _paid_at_last(story, story.town.sister)


@event(_paid_by_a_sister, share=DEAR)
def what_another_paid_goes_back_to_that_phone(story: Story) -> None:
    order, _ = acts.orders_in(story.town, "paid")
    story.tries("cancel", story.of(deliveries.cancel, order, order.buyer_id))
    _sent_at_last(story)


@event(lambda story: story.placed(tomatoes=0, halves=0, mills=3), share=DEAR)
def a_large_price_is_paid_in_parts(story: Story) -> None:
    story.passes(minutes=8)
    _paid_at_last(story)
    story.passes(minutes=8)


def _one_part_paid(story: Story) -> None:
    """The payer does not answer the prompt for the second one."""
    story.rules(next=[{"auto": "0"}, {"auto": "1032"}])
    story.placed(tomatoes=0, halves=0, mills=3)
    story.passes(minutes=5)


@event(_one_part_paid, share=8)
def the_missing_part_is_paid_by_hand(story: Story) -> None:
    story.pay_by_hand(*story.charge())
    story.passes(minutes=3)


@event(_one_part_paid, share=8)
def a_large_price_is_given_up_after_its_first_part(story: Story) -> None:
    (order,) = acts.orders_in(story.town, "placed")
    story.tries("give up", lambda db: story.give_up(db, order))
    _sent_at_last(story)


# --- two who found each other elsewhere -----------------------------------------------------------


def _offered(story: Story) -> None:
    """Otieno sells Amina his bicycle."""
    story.tries("prepare", story.offer_deal)


@event(_offered, share=8)
def a_deal_is_agreed_and_paid(story: Story) -> None:
    story.tries("accept", story.accept_deal)
    _paid_at_last(story)


def _deal_sent(story: Story) -> None:
    _offered(story)
    story.tries("prepare", story.accept_deal)
    story.passes(seconds=70)
    (order,) = acts.orders_in(story.town, "accepted")
    story.tries("prepare", story.of(deliveries.dispatch, order, order.seller_id))


@event(_deal_sent, share=8)
def a_deal_is_released(story: Story) -> None:
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("received", story.of(deliveries.received, order, order.buyer_id))
    story.passes(minutes=3)


# --- escrow ---------------------------------------------------------------------------------------


@event(lambda story: story.sent(halves=0))
def the_code_releases(story: Story) -> None:
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("enter code", lambda db: story.enter_code(db, order))
    _sent_at_last(story)


@event(lambda story: story.sent(tomatoes=0))
def the_buyers_word_releases(story: Story) -> None:
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("received", story.of(deliveries.received, order, order.buyer_id))
    story.passes(minutes=3)


@event(lambda story: story.sent(tomatoes=0))
def time_releases(story: Story) -> None:
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("claim", story.of(deliveries.claim, order, order.seller_id))
    story.passes(hours=25)


@event(lambda story: story.paid(halves=0))
def an_order_is_refused_and_reversed(story: Story) -> None:
    (order,) = acts.orders_in(story.town, "paid")
    story.tries("refuse", story.of(deliveries.refuse, order, order.seller_id))
    _sent_at_last(story)


@event(Story.paid)
def one_of_two_orders_is_called_off_and_refunded(story: Story) -> None:
    order, _ = acts.orders_in(story.town, "paid")
    story.tries("cancel", story.of(deliveries.cancel, order, order.buyer_id))
    _sent_at_last(story)


def _less_came(story: Story) -> None:
    story.sent(tomatoes=0, halves=4)
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("prepare", lambda db: story.less_came(db, order))


@event(_less_came, share=DEAR)
def the_seller_agrees_that_less_came(story: Story) -> None:
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("agree", lambda db: story.agree(db, order))
    _sent_at_last(story)


@event(lambda story: story.paid(halves=0))
def nobody_accepts_in_time(story: Story) -> None:
    story.passes(hours=25)
    _sent_at_last(story)


@event(lambda story: story.sent(halves=0))
def a_complaint_freezes(story: Story) -> None:
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("complain", lambda db: story.complain(db, order))
    story.passes(minutes=3)


def _heard(story: Story) -> None:
    story.disputed()
    story.passes(hours=49)


@event(_heard)
def a_dispute_is_split(story: Story) -> None:
    story.tries("decide", lambda db: story.decide(db, 0.4) if staff.disputed_in(db) else "over")
    _sent_at_last(story)


def _large(story: Story) -> None:
    story.sent(tomatoes=8, halves=0)
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("complain", lambda db: story.complain(db, order))
    story.passes(hours=49)


@event(_large)
def a_large_dispute_needs_a_second_person(story: Story) -> None:
    story.tries("decide", lambda db: story.decide(db, 1.0) if staff.disputed_in(db) else "over")
    story.tries("approve", story.approve_verdict)
    _sent_at_last(story)


# --- money that goes out --------------------------------------------------------------------------


def _withdrawn(story: Story) -> None:
    story.tries("withdraw", lambda db: story.withdraw(db, story.otieno, 50_000))
    _sent_at_last(story)


@event(Story.earned)
def a_withdrawal_is_paid(story: Story) -> None:
    _withdrawn(story)


def _earned_with(**rules: Any) -> Callable[[Story], None]:
    def prepare(story: Story) -> None:
        story.earned()
        story.rules(b2c=rules)

    return prepare


@event(_earned_with(result="never"))
def a_withdrawal_is_paid_and_only_its_status_tells(story: Story) -> None:
    _withdrawn(story)


@event(_earned_with(queue="echo", queue_seconds=5.0, act_seconds=20.0))
def a_withdrawal_waits_too_long_in_the_queue_and_is_paid(story: Story) -> None:
    _withdrawn(story)


@event(_earned_with(result_code="2040"))
def a_withdrawal_fails_and_comes_back(story: Story) -> None:
    _withdrawn(story)


@event(_earned_with(result_contradiction=["2040", "0"], result_gap_seconds=20.0))
def a_withdrawal_fails_and_was_paid_after_all(story: Story) -> None:
    _withdrawn(story)


@event(_earned_with(acts=False))
def a_withdrawal_is_forgotten_by_mpesa(story: Story) -> None:
    _withdrawn(story)


def _dear(story: Story) -> None:
    story.sent(tomatoes=8, halves=0)
    (order,) = acts.orders_in(story.town, "dispatched")
    story.tries("prepare", story.of(deliveries.received, order, order.buyer_id))
    story.passes(seconds=70)


@event(_dear)
def a_large_payout_is_let_go_by_a_second_person(story: Story) -> None:
    for payout in staff.waiting_payouts(story.town):
        story.tries("approve", story.approve_payout(payout.id))
    _sent_at_last(story)


@event(_dear)
def a_large_payout_is_rejected(story: Story) -> None:
    for payout in staff.waiting_payouts(story.town):
        story.tries(
            "reject",
            lambda db, payout=payout: approvals.reject(  # type: ignore[misc]
                db, payout.id, WHY, office.at_work(db, "peter"), story.town.now
            ),
        )
    story.passes(minutes=3)


# --- our own money, and what M-Pesa gives back ----------------------------------------------------


@event(lambda story: story.sent(halves=0), share=DEAR)
def the_float_is_moved(story: Story) -> None:
    story.tries("move", story.move_float)
    story.passes(minutes=8)
    story.fate.ends()
    story.passes(hours=3)
    story.tries("move", story.move_float)
    story.passes(minutes=10)


@event(lambda story: story.sent(halves=0), share=DEAR)
def what_mpesa_gave_back_ends_an_order(story: Story) -> None:
    story.given_back()
    story.reconcile()
    story.book_reversal()
    story.passes(minutes=3)


def _given_back_after_all(story: Story) -> None:
    story.earned()
    story.town.fill_float(60_000, "for a loss")
    story.given_back()
    story.reconcile()


@event(_given_back_after_all)
def what_mpesa_gave_back_is_taken_from_the_seller(story: Story) -> None:
    story.book_reversal()
    story.passes(minutes=3)
