"""The books: money only moves, and a restart finds it where it was."""

import base64
import random
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from simulator.books import NoSuchAccount
from simulator.c2b import NotPaid
from simulator.journal import Journal, JournalDamaged
from simulator.mpesa import PushRequest, SubscriberLocked
from simulator.operations import DuplicateId, NotReversible, Request
from simulator.world import World
from tests.simulator.pretend import CALLBACK, PAYER, RESULT, START, TIMEOUT, Outside

NUMBERS = st.sampled_from(["+254712345678", "+254112345678", "+254700000001"])
AMOUNTS = st.integers(1, 20_000)
SHORTCODES = st.sampled_from(["174379", "600997"])


def wish(msisdn: str, amount: int, **changes) -> PushRequest:
    values = {
        "shortcode": "174379",
        "kind": "CustomerPayBillOnline",
        "amount_cents": amount * 100,
        "msisdn": msisdn,
        "to_shortcode": "174379",
        "callback_url": CALLBACK,
        "reference": "ORD7K2",
        "description": "Goods",
    }
    return PushRequest(**(values | changes))


class Money(RuleBasedStateMachine):
    """Anything people, shops and rules may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(virtual_from=START, chance=random.Random(1), post=Outside())
        self.prompts: list[str] = []
        self.paid_out: set[int] = set()

    @rule(msisdn=NUMBERS, amount=AMOUNTS)
    def push(self, msisdn, amount):
        try:
            self.prompts.append(self.world.mpesa.push(wish(msisdn, amount)).prompt_id)
        except SubscriberLocked:
            assert self.prompts, "locked without a push"

    @precondition(lambda self: self.prompts)
    @rule(data=st.data(), pin=st.sampled_from(["1234", "0000", None]))
    def answer(self, data, pin):
        prompt_id = data.draw(st.sampled_from(self.prompts))
        for number in ("+254712345678", "+254112345678", "+254700000001"):
            if any(each.prompt_id == prompt_id for each in self.world.mpesa.prompts(number)):
                self.world.mpesa.answer(prompt_id, pin)

    @rule(msisdn=NUMBERS, amount=AMOUNTS)
    def pay_by_hand(self, msisdn, amount):
        before = self.world.books.balance_cents(msisdn)
        try:
            self.world.c2b.pay(msisdn, "174379", "ORD1", amount * 100)
        except NotPaid:
            assert self.world.books.balance_cents(msisdn) in (before, 10_000_00)

    @rule(amount=st.integers(0, 50_000), shortcode=SHORTCODES)
    def fund(self, amount, shortcode):
        with self.world.journal.change():
            self.world.books.inject(f"{shortcode}/Utility", amount * 100, "bank", START)

    @rule(msisdn=NUMBERS, amount=AMOUNTS, name=st.integers(1, 9))
    def pay_out(self, msisdn, amount, name):
        asked = Request(
            "b2c", "600997", RESULT, TIMEOUT, amount * 100, msisdn, originator_id=f"p{name}"
        )
        try:
            self.world.operations.accept(asked, None)
            assert name not in self.paid_out
        except DuplicateId:
            assert name in self.paid_out
        self.paid_out.add(name)

    @rule(data=st.data(), is_whole=st.booleans(), by_mpesa=st.booleans())
    def reverse(self, data, is_whole, by_mpesa):
        paid = [each for each in self.world.books.statement() if each.receipt]
        if not paid:
            return
        it = data.draw(st.sampled_from(paid))
        if by_mpesa:
            with suppress(NotReversible):
                self.world.operations.reverse_by_mpesa(it.receipt)
            return
        cents = it.amount_cents + (0 if is_whole else 100)
        asked = Request("reversal", "174379", RESULT, TIMEOUT, cents, receipt=it.receipt)
        self.world.operations.accept(asked, None)

    @rule(amount=AMOUNTS)
    def top_up(self, amount):
        asked = Request("topup", "174379", RESULT, TIMEOUT, amount * 100, "600997")
        self.world.operations.accept(asked, None)

    @rule(shortcode=SHORTCODES)
    def settle_charges(self, shortcode):
        with self.world.journal.change():
            self.world.books.settle_charges(shortcode, START)

    @rule(msisdn=NUMBERS, balance=st.integers(0, 50_000))
    def set_balance(self, msisdn, balance):
        with self.world.journal.change():
            self.world.books.set_balance(msisdn, balance * 100, START)

    @rule(given=st.sampled_from([
        {"reset": True}, {"auto": "observed"}, {"auto": {"0": 1}}, {"same_amount_seconds": 0},
        {"contradiction": ["1037", "0"]}, {"callback": "before_ack"}, {"pin_tries": 2},
        {"result": "before_ack"}, {"queue": "echo"}, {"acts": False}, {"result_code": "26"},
        {"result_contradiction": ["0", "1", "0"]},
    ]))  # fmt: skip
    def change_rules(self, given):
        self.world.rulebook.change(given)

    @rule(seconds=st.sampled_from([0, 1, 5, 61, 200]))
    def wait(self, seconds):
        self.world.advance(seconds)

    @invariant()
    def books_balance(self):
        audit = self.world.books.audit()
        assert audit["balanced"], audit
        assert audit["total"] == audit["injected"], audit

    @invariant()
    def customers_and_shortcodes_hold_what_came_in_but_for_charges_paid(self):
        audit = self.world.books.audit()
        settled = sum(
            each.amount_cents
            for each in self.world.books.statement()
            if each.kind == "charges settled"
        )
        assert audit["customers"] + audit["shortcodes"] + settled == audit["injected"], audit

    @invariant()
    def receipts_are_unique_but_for_the_charge_of_each(self):
        receipts = [
            each.receipt
            for each in self.world.books.statement()
            if each.receipt and each.kind != "charge"
        ]
        assert len(receipts) == len(set(receipts))

    @invariant()
    def nothing_is_given_back_twice(self):
        back = [e.reference for e in self.world.books.statement() if e.kind == "reversal"]
        assert len(back) == len(set(back))

    def teardown(self):
        self.world.stop()


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_an_audit_sees_a_balance_that_no_movement_explains(world):
    with world.journal.change():
        world.books.subscriber(PAYER, START)
    world.books._balances[PAYER] += 1
    found = world.books.audit()
    world.books._balances[PAYER] -= 1
    assert not found["balanced"]


def test_a_kenyan_mobile_exists_from_its_first_use(world):
    with world.journal.change():
        person = world.books.subscriber("+254110000001", START)
    assert (person.pin, person.network) == ("1234", "safaricom")
    assert world.books.balance_cents("+254110000001") == 10_000_00


def test_a_foreign_number_never_has_an_account(world):
    with world.journal.change(), pytest.raises(NoSuchAccount):
        world.books.subscriber("+255712345678", START)


def test_money_that_is_not_there_cannot_be_moved(world):
    with world.journal.change(), pytest.raises(AssertionError):
        world.books.move(PAYER, "174379/Utility", 1, "push", "ORD1", START)


def run_a_day(home) -> World:
    """A world in which one push was paid, one cancelled, one left open, and URLs registered."""
    world = World(virtual_from=START, chance=random.Random(7), post=Outside(), home=home)
    world.rulebook.change({"next": [{"auto": "0"}, {"auto": "1032"}]})
    for number in ("+254712345678", "+254700000001"):
        world.mpesa.push(wish(number, 2250))
    world.advance(40)
    world.mpesa.push(wish("+254700000002", 300))
    world.advance(5)
    return world


def facts(world: World):
    audit = world.books.audit()
    pushes = {
        each.checkout_id: (each.result, each.receipt) for each in world.mpesa._pushes.values()
    }
    return audit, world.books.statement(), pushes


def test_a_restart_finds_every_movement_and_result(tmp_path):
    before = run_a_day(tmp_path)
    with before.journal.change():
        before.books.change_subscriber(PAYER, START, pin="4321", network="airtel")
    before.stop()
    after = World(virtual_from=START, chance=random.Random(8), post=Outside(), home=tmp_path)
    assert facts(after) == facts(before)
    with after.journal.change():
        assert after.books.subscriber(PAYER, START).pin == "4321"
        assert after.books.subscriber(PAYER, START).network == "airtel"
    after.stop()


def test_a_push_that_was_open_when_the_world_stopped_runs_out(tmp_path):
    run_a_day(tmp_path).stop()
    outside = Outside()
    after = World(virtual_from=START, chance=random.Random(8), post=outside, home=tmp_path)
    after.advance(120)
    (push,) = [each for each in after.mpesa._pushes.values() if each.request.amount_cents == 30000]
    assert push.result == "1037"
    assert [call.stk["ResultCode"] for call in outside.stk()] == [1037]
    after.stop()


def test_a_torn_last_line_is_dropped_and_the_rest_kept(tmp_path):
    before = run_a_day(tmp_path)
    before.stop()
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'[{"is":"movement","receipt":"S')
    after = World(virtual_from=START, chance=random.Random(8), post=Outside(), home=tmp_path)
    assert facts(after) == facts(before)
    after.stop()
    assert path.read_bytes() == whole


def test_a_damaged_line_in_the_middle_stops_the_start(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('[{"is":\n[]\n')
    with pytest.raises(JournalDamaged, match="line 1"):
        Journal(path)


def test_a_payment_and_its_push_stand_on_one_line_so_neither_survives_alone(tmp_path):
    run_a_day(tmp_path).stop()
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    (paid,) = [line for line in lines if '"kind":"push"' in line]
    assert '"result":"0"' in paid


def test_a_change_within_a_change_is_written_with_the_outer_one(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    with journal.change():
        with journal.change():
            journal.note({"is": "a"})
        assert path.read_text() == ""
        journal.note({"is": "b"})
    assert path.read_text() == '[{"is":"a"},{"is":"b"}]\n'
    journal.close()


def test_a_receipt_is_never_drawn_twice(world):
    class Stuck(random.Random):
        drawn = iter(["AAAAAAAAA", "AAAAAAAAA", "BBBBBBBBB"])

        def choices(self, *arguments, **more):
            return list(next(self.drawn))

    world.books._chance = Stuck()
    assert [world.books.new_receipt() for _ in "12"] == ["SAAAAAAAAA", "SBBBBBBBBB"]


def test_the_same_world_twice_gives_the_same_ids():
    def run():
        world = World(virtual_from=START, chance=random.Random(7), post=Outside())
        push = world.mpesa.push(wish(PAYER, 100))
        world.advance(2)
        receipt = world.mpesa.answer(push.prompt_id, "1234").receipt
        return push.merchant_id, push.checkout_id, receipt

    assert run() == run()


def test_the_password_of_the_reference_is_the_one_the_world_checks(shop):
    assert base64.b64decode(shop.wish()["Password"]).startswith(b"174379bfb279")
