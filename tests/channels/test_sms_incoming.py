"""SMS that come in: keywords, guided conversations, repeats, and all that nobody should send."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from core import (
    deals,
    disputes,
    evidence,
    gsm,
    ledger,
    members,
    opt_outs,
    orders,
    outbox,
    stock,
    wordings,
)
from core.database import Database
from core.deals import Deal, Side
from core.errors import Unavailable
from core.orders import Order
from core.rules import Rules
from flows import run
from tests.flows.handset import Clock, Handset
from tests.flows.street import SHOP, Bargain, Street

PATH = "/channels/sms/africastalking/sandbox-path-secret"
_ids = count(1)

Hear = Callable[..., list[str]]


@pytest.fixture
def post(client: FlaskClient, phone: str) -> Callable[..., int]:
    """One raw request of the gateway; fields by name, None leaves one out."""

    def send(**fields: str | None) -> int:
        form: dict[str, Any] = {
            "date": "2026-11-21T09:00:00Z",
            "from": phone,
            "id": f"ATXid_{next(_ids):032x}",
            "linkId": "",
            "text": "",
            "to": "22384",
            "networkCode": "63902",
            "cost": "KES 0.0000",
            **{name.rstrip("_"): value for name, value in fields.items()},
        }
        present = {name: value for name, value in form.items() if value is not None}
        return client.post(f"{PATH}/incoming", data=present).status_code

    return send


@pytest.fixture
def replies(market: Database, rules: Rules) -> Callable[[], list[str]]:
    """What was asked to be sent since it was last looked at, as phones will show it."""

    def sent() -> list[str]:
        with market.begin() as db:
            found = []
            for item in outbox.take_due(db, market.clock(), 1000):
                if item.kind not in {"sms", "sms_screen"}:
                    continue  # somebody else's work
                if item.kind == "sms_screen":
                    text = db.value(
                        "SELECT screen FROM hops WHERE digest = %(digest)s",
                        {"digest": bytes.fromhex(item.arguments["digest"])},
                    )
                    found.append(text)
                elif item.kind == "sms":
                    text = db.value(
                        "SELECT text FROM messages WHERE id = %(id)s",
                        {"id": UUID(item.arguments["message_id"])},
                    )
                    found.append(wordings.complete(text, {"dial": rules.dial_code}))
                outbox.done(db, item.id, market.clock())
        return found

    return sent


@pytest.fixture
def hear(post: Callable[..., int], replies: Callable[[], list[str]], clock: Clock) -> Hear:
    """Somebody writes this; what is written back."""

    def said(text: str, **fields: str) -> list[str]:
        clock.wait(seconds=5)
        replies()
        assert post(text=text, **fields) == 200
        return replies()

    return said


@pytest.fixture
def amina(register: Callable[..., None]) -> None:
    """The test's phone is Amina's."""
    register()


@pytest.fixture
def street(market: Database, clock: Clock, rules: Rules, phone: str) -> Callable[..., Any]:
    """Let something happen in a transaction of its own: a function of the Street."""

    def happen(act: Callable[[Street], Any]) -> Any:
        with market.begin() as db:
            return act(Street(db, clock, rules, phone))

    return happen


@pytest.fixture
def sent(amina: None, street: Callable[..., Any]) -> Bargain:
    """What Amina bought of the shop, paid and on its way."""

    def buy(at: Street) -> Bargain:
        tomatoes = at.offer("Tomatoes", "Wanjiku Fresh")
        stock.receive(at.db, tomatoes, 2000, "market day", at.clock())  # however many tests buy
        at.add(tomatoes, 2000)
        at.place()
        at.pay()
        (bargain,) = at.bought("paid")
        at.dispatch(bargain)
        (bargain,) = at.bought("dispatched")
        return bargain

    bought: Bargain = street(buy)
    return bought


def state_of(street: Callable[..., Any], bargain: Bargain) -> str:
    found: str = street(
        lambda at: at.db.value("SELECT state FROM orders WHERE id = %(id)s", {"id": bargain.id})
    )
    return found


# Conversations.


def test_a_whole_purchase_is_made_by_sms(
    hear: Hear, amina: None, street: Callable[..., Any]
) -> None:
    (found,) = hear("BUY tomatoes 2")
    assert "1 Tomatoes" in found
    (sellers,) = hear("1")
    assert "Wanjiku Fresh" in sellers
    (cart,) = hear("1")
    assert cart.startswith("It is in your basket.")
    hear("1")
    hear("1")
    asked = hear("1")
    (order,) = street(lambda at: at.bought("placed"))
    assert len(asked) == 2  # the screen, and the message that every order placed has
    assert all(text.startswith(f"Order {order.number}") for text in asked)


def test_how_many_is_asked_where_what_was_written_cannot_be(hear: Hear, amina: None) -> None:
    hear("BUY tomatoes 4000")
    hear("1")
    (quantity,) = hear("1")
    assert quantity.startswith("Tomatoes")


def test_a_price_list_leads_to_the_goods(hear: Hear, amina: None) -> None:
    (prices,) = hear("BEI nyanya")
    assert "KSh for each:\n1 Tomatoes " in prices


def test_every_screen_fits_three_parts(hear: Hear, amina: None) -> None:
    for text in ("BUY", "MENU", "STATUS", "CALL", "PROBLEM"):
        (screen,) = hear(text)
        encoding, parts = gsm.parts(screen)
        assert (encoding, parts <= 3) == ("gsm", True)


def test_where_an_order_stands_is_shown_with_what_can_be_done(hear: Hear, sent: Bargain) -> None:
    (shown,) = hear(f"STATUS {sent.number}")
    assert shown.startswith(f"{sent.number}: 2 crates Tomatoes, Wanjiku Fresh")
    assert "\n1 Code" in shown


def test_a_seller_is_told_how_a_sold_order_stands(hear: Hear, sent: Bargain) -> None:
    (told,) = hear(f"hali ya oda {sent.number}", from_=SHOP)
    assert f"{sent.number}" in told
    assert "KSh " in told


def test_a_seller_is_promised_nothing_of_an_order_that_has_ended(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    hear(f"OK {sent.number} {street(lambda at: at.code(sent))}")
    (told,) = hear(f"STATUS {sent.number}", from_=SHOP)
    assert "completed" in told or "imekamilika" in told
    assert "KSh" not in told


def test_an_order_of_other_people_is_not_found(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.register("Njeri", "en", "+254733900001"))
    for text in (f"STATUS {sent.number}", f"PROBLEM {sent.number} rotten", "STATUS 999999"):
        (told,) = hear(text, from_="+254733900001")
        assert told.startswith("We find no order ")


def test_a_problem_leads_to_its_report_with_what_was_said(hear: Hear, sent: Bargain) -> None:
    (shown,) = hear(f"PROBLEM {sent.number} rotten")
    assert str(sent.number) in shown
    assert "rotten" in shown.lower()


def test_a_seller_tells_his_side_of_a_complaint_in_one_sms(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.complain(sent))
    shown = hear(f"PROBLEM {sent.number} they were fresh when they left", from_=SHOP)
    assert any(text.startswith("Thank you. Case ") for text in shown)
    assert any(": Wanjiku Fresh has answered" in text for text in shown)
    assert words_of(street, sent) == ["they were fresh when they left"]


def test_a_seller_who_says_nothing_yet_is_asked_for_his_side(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.complain(sent))
    (asked,) = hear(f"shida {sent.number}", from_=SHOP)
    assert f"order {sent.number}: Amina says rotten or bad. What do you say?" in asked
    thanks = hear("Zilikuwa nzuri", from_=SHOP)
    assert any(text.startswith("Thank you. Case ") for text in thanks)
    assert words_of(street, sent) == ["Zilikuwa nzuri"]


def test_of_a_problem_that_nobody_has_a_seller_hears_how_the_order_stands(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    (told,) = hear(f"PROBLEM {sent.number} she pays me not", from_=SHOP)
    assert told.startswith(f"Order {sent.number}, for ")


def test_a_complaint_is_not_taken_back_by_sms_which_others_can_send(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.complain(sent))
    hear(f"STATUS {sent.number}")
    hear("2")
    (told,) = hear("1")
    assert told.startswith("Your PIN is not typed here.")
    assert state_of(street, sent) == "disputed"


def words_of(street: Callable[..., Any], bargain: Bargain) -> list[str]:
    """What was said of what is complained of, but by her who opened it."""

    def read(at: Street) -> list[str]:
        dispute = disputes.last_of(at.db, bargain.id)
        assert dispute is not None
        return [said.words for said in evidence.words(at.db, dispute.id)]

    found: list[str] = street(read)
    return found


# Deals.

OPENER = "+254722900002"


@pytest.fixture
def invited(street: Callable[..., Any]) -> Callable[..., Deal]:
    """Juma opens a deal with whoever has the test's phone; what was open before, he takes back."""

    def invite(side: Side) -> Deal:
        def open_one(at: Street) -> Deal:
            juma = Street(at.db, at.clock, at.rules, OPENER)
            juma.register("Juma Otieno", "en", OPENER)
            at.take_back_deals()
            found = deals.by_id(at.db, juma.propose(side, at.msisdn))
            assert found is not None
            return found

        opened: Deal = street(open_one)
        return opened

    return invite


def order_of(street: Callable[..., Any], deal: Deal) -> Order:
    def read(at: Street) -> Order:
        found = orders.numbered(at.db, deal.number)
        assert found is not None, "nothing was agreed"
        return found

    found: Order = street(read)
    return found


def test_a_buyer_reads_the_terms_and_agrees_by_sms(
    hear: Hear, amina: None, invited: Callable[..., Deal], street: Callable[..., Any]
) -> None:
    deal = invited("seller")
    (shown,) = hear(f"DEAL {deal.number}")
    assert shown.startswith("Juma sells you Bicycle, used for KSh 4,500, by ")
    (terms,) = hear("1")
    assert terms.startswith("Terms: As seen, with its lock.\n1 I agree")
    asked = hear("1")
    assert any(text.startswith(f"Deal {deal.number} is agreed. M-Pesa will") for text in asked)
    order = order_of(street, deal)
    assert (order.state, order.agreed) == ("placed", True)
    street(lambda at: at.pay())
    assert order_of(street, deal).state == "accepted"


def test_a_seller_agrees_by_sms_and_by_pin_once_it_is_paid(
    hear: Hear, amina: None, invited: Callable[..., Deal], street: Callable[..., Any]
) -> None:
    deal = invited("buyer")
    (shown,) = hear(f"dili {deal.number} ndiyo")
    assert "You get 4,387 (fee 113)." in shown
    hear("1")
    agreed = hear("1")
    assert any("Send nothing yet" in text for text in agreed)
    assert not order_of(street, deal).agreed
    street(lambda at: Street(at.db, at.clock, at.rules, OPENER).pay())
    assert order_of(street, deal).state == "paid"
    (told,) = hear(f"STATUS {deal.number}")
    assert told.startswith(f"Order {deal.number}, for ")


def test_a_deal_is_refused_by_sms(
    hear: Hear, amina: None, invited: Callable[..., Deal], street: Callable[..., Any]
) -> None:
    deal = invited("seller")
    (shown,) = hear(f"STATUS {deal.number}")
    assert shown.startswith("Juma sells you")
    hear("2")
    told = hear("1")
    assert any(text.startswith(f"Deal {deal.number}, Bicycle, used, is refused.") for text in told)
    (again,) = hear(f"DEAL {deal.number}")
    assert again == f"Deal {deal.number}, Bicycle, used, KSh 4,500: refused."


def test_a_deal_of_other_people_is_not_found(
    hear: Hear, amina: None, invited: Callable[..., Deal], street: Callable[..., Any]
) -> None:
    deal = invited("seller")
    street(lambda at: at.register("Njeri", "en", "+254733900001"))
    for number in (deal.number, 999_999):
        (told,) = hear(f"DEAL {number}", from_="+254733900001")
        assert told.startswith(f"We find no deal {number} of yours.")


def test_a_deal_is_opened_by_sms_and_a_sellers_word_is_taken_without_a_pin(
    hear: Hear, amina: None, street: Callable[..., Any], phone: str
) -> None:
    (menu,) = hear("DEAL")
    assert menu.startswith("Safe Pay: ")
    for typed in ("3", "Goat, female", "9000", OPENER, "2", "Healthy, two years old."):
        hear(typed)
    (told,) = hear("1")
    assert "We tell 0722900002 by SMS" in told
    (deal,) = street(lambda at: deals.opened_by(at.db, at.owner, 2))
    assert (deal.opener_is, deal.seller_proved) == ("seller", False)


def test_a_stranger_who_answers_a_deal_registers_first(
    hear: Hear, invited: Callable[..., Deal]
) -> None:
    deal = invited("seller")
    (shown,) = hear(f"DEAL {deal.number}")
    assert "Kiswahili" in shown


def test_of_two_who_share_a_phone_nobody_answers_a_deal_by_sms(
    hear: Hear, amina: None, invited: Callable[..., Deal], street: Callable[..., Any]
) -> None:
    deal = invited("seller")
    street(lambda at: at.share_phone())
    (shown,) = hear(f"DEAL {deal.number}")
    assert "Bicycle" not in shown


def test_call_me_asks_what_about(hear: Hear, amina: None) -> None:
    (shown,) = hear("Piga simu")
    assert "\n1 " in shown


def test_what_was_left_on_ussd_goes_on_by_a_yes(hear: Hear, member: Handset) -> None:
    member.dial()
    member.choose("Buy")
    left = member.reply("tomatoes")
    (shown,) = hear("YES")
    assert shown == left.text
    assert member.dial().label == "home.offer"


def test_a_yes_with_nothing_left_shows_the_menu(hear: Hear, amina: None) -> None:
    (shown,) = hear("Ndiyo!")
    assert shown.startswith("Sokoni. Welcome, Amina")


def test_a_keyword_leaves_what_was_under_way_for_later(hear: Hear, amina: None) -> None:
    hear("BUY tomatoes 2")
    hear("1")
    (shown,) = hear("STATUS")
    assert "Tomatoes" not in shown


def test_a_pin_is_never_asked_for(hear: Hear, sent: Bargain) -> None:
    hear(f"STATUS {sent.number}")
    (shown,) = hear("1")
    assert "PIN" not in shown or "*384*7042#" in shown
    (shown,) = hear("2580")
    assert "Code" not in shown


def test_a_stranger_begins_to_register(hear: Hear, phone: str) -> None:
    (shown,) = hear("NUNUA nyanya")
    assert "Kiswahili" in shown or "Sokoni" in shown


def test_words_that_we_cannot_read_get_help_once_an_hour(hear: Hear, amina: None) -> None:
    (told,) = hear("good morning to you all")
    assert told.startswith("Sokoni: write BUY maize 2")
    assert hear("are you there?") == []
    (again,) = hear("HELP")
    assert again == told


def test_in_the_middle_of_a_conversation_words_are_answers(hear: Hear, amina: None) -> None:
    hear("BUY")
    (found,) = hear("tomatos")
    assert "1 Tomatoes" in found


def test_words_that_answer_a_question_are_no_keyword(hear: Hear, sent: Bargain) -> None:
    hear(f"PROBLEM {sent.number}")
    (asked,) = hear("5")  # another reason: in her own words
    assert "\n1 " not in asked
    (told,) = hear("Price was not what he said")
    assert "KSh for each" not in told
    assert "Price was not what he said"[:10] in told or "1 " in told


def test_a_number_typed_days_later_is_no_answer_to_the_old_screen(
    hear: Hear, amina: None, clock: Clock
) -> None:
    hear("BUY tomatoes")
    clock.wait(days=2)
    (told,) = hear("1")
    assert told.startswith("Sokoni: write ")


def test_a_fault_of_ours_is_no_reason_to_send_it_again(
    post: Callable[..., int], monkeypatch: pytest.MonkeyPatch, amina: None, heard: Any
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(run, "glance", broken)
    assert post(text="hello") == 200
    assert heard.broken == ["hop_broken"]
    heard.broken.clear()


def test_a_message_as_long_as_a_page_is_politely_refused(hear: Hear, amina: None) -> None:
    hear("BUY")
    (told,) = hear("nyanya " * 600)
    assert told.startswith("That was too long.")


@pytest.mark.parametrize("text", ["", "   ", "\0", "\U0001f345", "?" * 4096])
def test_a_message_that_says_nothing_gets_help(hear: Hear, amina: None, text: str) -> None:
    (told,) = hear(text)
    assert told.startswith("Sokoni: write ")


def test_a_message_without_text_gets_help(
    post: Callable[..., int], replies: Callable[[], list[str]], amina: None
) -> None:
    replies()
    assert post(text=None) == 200
    (told,) = replies()
    assert told.startswith("Sokoni: write ")


# Codes.


@pytest.mark.parametrize("seller_writes", [True, False])
def test_the_orders_own_code_releases_its_money(
    hear: Hear, sent: Bargain, street: Callable[..., Any], seller_writes: bool, phone: str
) -> None:
    code = street(lambda at: at.code(sent))
    told = hear(f"ok {sent.number}-{code}", from_=SHOP if seller_writes else phone)
    assert state_of(street, sent) == "completed"
    assert all(" is complete" in text for text in told)
    assert len(told) == 2


def test_a_code_that_comes_again_does_nothing_more(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    code = street(lambda at: at.wrong_code(sent))
    (told,) = hear(f"OK {sent.number} {code}", id="ATXid_again")
    assert told.startswith("That is not the code of order")
    for _ in range(6):
        assert hear(f"OK {sent.number} {code}", id="ATXid_again") == []
    tries = "SELECT tries FROM deliveries WHERE order_id = %(id)s"
    assert street(lambda at: at.db.value(tries, {"id": sent.id})) == 1


def test_five_wrong_codes_lock_it(hear: Hear, sent: Bargain, street: Callable[..., Any]) -> None:
    wrong, right = street(lambda at: (at.wrong_code(sent), at.code(sent)))
    told = [hear(f"OK {sent.number} {wrong}", from_=SHOP) for _ in range(5)]
    assert any("is locked" in text for text in told[-1])
    (refused,) = hear(f"OK {sent.number} {right}", from_=SHOP)
    assert "is locked" in refused
    assert state_of(street, sent) == "dispatched"


def test_who_has_no_part_in_an_order_cannot_try_its_code(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.register("Otieno", "en", "+254733900002"))
    code = street(lambda at: at.code(sent))
    (told,) = hear(f"OK {sent.number} {code}", from_="+254733900002")
    assert told.startswith("We find no order ")
    assert state_of(street, sent) == "dispatched"


def test_a_code_without_its_order_is_asked_back_with_the_numbers(hear: Hear, sent: Bargain) -> None:
    (told,) = hear("OK 4821")
    assert told.endswith(f"On the way: {sent.number}.")


def test_a_code_of_another_length_is_no_try(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    (told,) = hear(f"OK {sent.number} 482199")
    assert told.startswith("That is not the code")
    tries = "SELECT tries FROM deliveries WHERE order_id = %(id)s"
    assert street(lambda at: at.db.value(tries, {"id": sent.id})) == 0


def test_the_code_of_a_disputed_order_is_kept_and_pays_nobody(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.complain(sent))
    code = street(lambda at: at.code(sent))
    (told,) = hear(f"OK {sent.number} {code}", from_=SHOP)
    assert told.startswith("A problem with order")
    assert state_of(street, sent) == "disputed"


def test_by_sms_nobody_says_that_the_goods_came_without_the_code(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    hear(f"STATUS {sent.number}")
    (sure,) = hear("2")
    assert sure.startswith("Do you have all that was sent of order")
    (told,) = hear("1")
    assert told.startswith(f"Here we need its code: write OK {sent.number}")
    assert state_of(street, sent) == "dispatched"


def test_no_order_of_sms_moves_money_out(
    hear: Hear, sent: Bargain, street: Callable[..., Any], market: Database
) -> None:
    """Whatever is chosen after STATUS: what is held in escrow stays there."""
    escrow = ledger.escrow(sent.id)
    held = street(lambda at: ledger.balance(at.db, escrow))
    assert held > 0
    for first in ("1", "2", "3"):
        for second in ("1", "2", "0"):
            hear(f"STATUS {sent.number}")
            hear(first)
            hear(second)
    assert street(lambda at: ledger.balance(at.db, escrow)) == held


# Opting out.


def test_stop_ends_advertising_until_start(
    hear: Hear, phone: str, market: Database, amina: None
) -> None:
    (told,) = hear("Stop.")
    assert told.startswith("You get no more news")
    hear("BUY tomatoes")
    with market.begin() as db:
        assert opt_outs.of(db, phone) == {"marketing"}
    (told,) = hear("START")
    assert told.startswith("Sokoni sends you news")
    with market.begin() as db:
        assert opt_outs.of(db, phone) == set()


def test_a_strangers_stop_is_answered_in_its_language(hear: Hear) -> None:
    (told,) = hear("Acha!")
    assert told.startswith("Hutapata tena")


@pytest.mark.parametrize(
    ("number", "barred"), [("+254733777001", True), ("0733777001", True), ("SOKONI", False)]
)
def test_the_networks_opt_out_is_noted_and_start_does_not_undo_it(
    client: FlaskClient, hear: Hear, market: Database, number: str, barred: bool
) -> None:
    form = {"senderId": "SOKONI", "phoneNumber": number}
    assert client.post(f"{PATH}/optout", data=form).status_code == 200
    hear("START", from_="+254733777001")
    with market.begin() as db:
        assert ("all" in opt_outs.of(db, "+254733777001")) == barred
        db.run("DELETE FROM opt_outs")


def test_the_balance_is_what_may_be_withdrawn(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    assert hear("BALANCE") == ["Your Sokoni balance is KSh 0."]
    (before,) = hear("SALIO", from_=SHOP)
    street(lambda at: at.confirm(sent))
    (after,) = hear("SALIO", from_=SHOP)
    assert before != after


# Repeats, and what should not come.


def test_the_same_message_twice_at_once_has_one_effect(
    sent: Bargain, post: Callable[..., int], street: Callable[..., Any]
) -> None:
    wrong = street(lambda at: at.wrong_code(sent))
    with ThreadPoolExecutor(4) as gateway:
        answered = [
            gateway.submit(post, text=f"OK {sent.number} {wrong}", id="ATXid_at_once")
            for _ in range(4)
        ]
        assert {each.result(60) for each in answered} == {200}
    tries = "SELECT tries FROM deliveries WHERE order_id = %(id)s"
    assert street(lambda at: at.db.value(tries, {"id": sent.id})) == 1


def test_two_messages_of_one_phone_at_once_are_two_turns(
    amina: None, post: Callable[..., int], replies: Callable[[], list[str]]
) -> None:
    replies()
    with ThreadPoolExecutor(2) as gateway:
        answered = [gateway.submit(post, text=text) for text in ("BUY tomatoes", "MENU")]
        assert {each.result(60) for each in answered} == {200}
    assert len(replies()) == 2


def test_a_repeated_message_is_answered_once(hear: Hear, amina: None) -> None:
    assert len(hear("BUY tomatoes", id="ATXid_one")) == 1
    assert hear("BUY tomatoes", id="ATXid_one") == []
    assert len(hear("1", id="ATXid_two")) == 1
    assert hear("1", id="ATXid_two") == []
    assert len(hear("HELP", id="ATXid_three")) == 1
    assert hear("HELP", id="ATXid_three") == []


def test_without_an_id_its_date_and_text_name_it(hear: Hear, amina: None) -> None:
    assert len(hear("HELP", id="")) == 1
    assert hear("HELP", id="") == []
    assert len(hear("HELP", id="", date="2026-11-21 09:00:01")) == 1


@pytest.mark.parametrize("sender", ["22384", "MPESA", "Safaricom", "", "+", "0", "+1", "\0", "🙂"])
def test_a_sender_that_is_no_phone_is_kept_out_quietly(
    post: Callable[..., int], replies: Callable[[], list[str]], sender: str
) -> None:
    replies()
    assert post(from_=sender, text="OK 1042 4821") == 200
    assert post(from_=None, text="STOP") == 200
    assert replies() == []


def test_a_local_number_is_the_same_phone(
    hear: Hear, amina: None, phone: str, market: Database
) -> None:
    hear("STOP", from_=f"0{phone[4:]}")
    with market.begin() as db:
        assert opt_outs.of(db, phone) == {"marketing"}


def test_another_secret_finds_nothing(client: FlaskClient) -> None:
    for path in ("incoming", "optout"):
        answer = client.post(f"/channels/sms/africastalking/wrong/{path}", data={"text": "STOP"})
        assert (answer.status_code, answer.data) == (404, b"")


def test_a_message_as_long_as_a_book_is_not_read(post: Callable[..., int]) -> None:
    assert post(text="x" * 100_000) == 413


@pytest.mark.parametrize("text", ["STOP", "BUY tomatoes", "hello", "1"])
def test_what_could_not_be_kept_is_asked_for_again(
    post: Callable[..., int], monkeypatch: pytest.MonkeyPatch, amina: None, text: str
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("no connection")

    monkeypatch.setattr(Database, "begin", away)
    monkeypatch.setattr(Database, "autocommit", away)
    assert post(text=text) == 503


def test_neither_number_nor_words_nor_code_are_logged(
    hear: Hear, sent: Bargain, street: Callable[..., Any], phone: str, capsys: Any
) -> None:
    code = street(lambda at: at.code(sent))
    hear(f"OK {sent.number} {code}")
    hear("my secret words")
    shown = "".join(capsys.readouterr())
    for secret in (code, phone[1:], "secret words"):
        assert secret not in shown


def test_no_reply_keeps_a_code(
    hear: Hear, sent: Bargain, market: Database, street: Callable[..., Any]
) -> None:
    code = street(lambda at: at.code(sent))
    hear(f"OK {code}")
    hear(f"OK {sent.number} {code}9")
    kept = "SELECT string_agg(text, '|') FROM messages WHERE class = 'reply' AND msisdn = %(phone)s"
    with market.begin() as db:
        text = db.value(kept, {"phone": street(lambda at: at.msisdn)})
    assert code not in text.replace("OK 1042 4821", "")


def test_a_member_who_speaks_swahili_is_answered_in_it(
    hear: Hear, register: Callable[..., None]
) -> None:
    register(language="sw")
    (told,) = hear("HELP")
    assert told.startswith("Sokoni: andika NUNUA")


def test_two_people_of_one_phone_are_shown_nothing_private(
    hear: Hear, amina: None, street: Callable[..., Any], rules: Rules, clock: Clock
) -> None:
    street(
        lambda at: members.share(
            at.db,
            at.owner,
            name="Njeri",
            language="en",
            consent_version="test",
            consent_wording="I agree.",
            pin="7391",
            rules=rules,
            now=clock(),
        )
    )
    (shown,) = hear("BALANCE")
    assert "KSh" not in shown


def test_who_gets_a_number_answers_nothing_that_was_left_there(
    hear: Hear, amina: None, phone: str, street: Callable[..., Any], clock: Clock
) -> None:
    hear("BUY tomatoes")

    def given_away(at: Street) -> None:
        at.db.run("UPDATE members SET deleted_at = %(now)s WHERE msisdn = %(msisdn)s", {
            "now": clock(), "msisdn": phone,
        })  # fmt: skip
        at.register("Juma")

    street(given_away)
    (told,) = hear("1")
    assert told.startswith("Sokoni: write ")
    (shown,) = hear("MENU")
    assert shown.startswith("Sokoni. Welcome, Juma")


# Less than was ordered.


@pytest.fixture
def short(amina: None, street: Callable[..., Any]) -> Bargain:
    """Of two that Amina bought the shop can send one."""

    def buy(at: Street) -> Bargain:
        tomatoes = at.offer("Tomatoes", "Wanjiku Fresh")
        stock.receive(at.db, tomatoes, 2000, "market day", at.clock())
        at.add(tomatoes, 2000)
        at.place()
        at.pay()
        (bargain,) = at.bought("paid")
        at.offer_less(bargain)
        return bargain

    bought: Bargain = street(buy)
    return bought


def reductions_of(street: Callable[..., Any], bargain: Bargain) -> list[str]:
    found: list[str] = street(
        lambda at: at.db.value(
            "SELECT array_agg(state) FROM reductions WHERE order_id = %s",
            [bargain.id],
        )
    )
    return found


def test_a_buyer_agrees_to_less_by_sms(
    hear: Hear, short: Bargain, street: Callable[..., Any]
) -> None:
    told = hear(f"Yes {short.number}")
    assert reductions_of(street, short) == ["agreed"]
    assert [text for text in told if "goes on with less" in text]
    assert state_of(street, short) == "paid"


def test_a_second_offer_is_shown_before_it_is_agreed_to(
    hear: Hear, short: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.take_less_back(short))
    street(lambda at: at.offer_less(short))
    (shown,) = hear(f"NDIYO {short.number}")
    assert shown.startswith(f"{short.number}: Wanjiku Fresh can send 1 of 2")
    assert sorted(reductions_of(street, short)) == ["open", "withdrawn"]
    hear("1")
    assert sorted(reductions_of(street, short)) == ["agreed", "withdrawn"]


def test_a_seller_agrees_to_nothing_by_sms(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.say_less_came(sent))
    (told,) = hear(f"YES {sent.number}", from_=SHOP)
    assert "dial" in told
    assert reductions_of(street, sent) == ["open"]


def test_a_yes_to_an_order_that_asks_nothing_shows_it(hear: Hear, sent: Bargain) -> None:
    (shown,) = hear(f"YES {sent.number}")
    assert shown.startswith(f"{sent.number}: 2 crates Tomatoes")
    (told,) = hear("YES 999999")
    assert "999999" in told


def test_the_code_waits_while_the_buyer_says_that_less_came(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    street(lambda at: at.say_less_came(sent))
    code = street(lambda at: at.code(sent))
    (told,) = hear(f"OK {sent.number} {code}", from_=SHOP)
    assert "the buyer says that less came" in told
    assert state_of(street, sent) == "dispatched"


def test_by_sms_nobody_says_that_less_came(
    hear: Hear, sent: Bargain, street: Callable[..., Any]
) -> None:
    for answer in (f"STATUS {sent.number}", "4", "1", "1"):
        hear(answer)
    (told,) = hear("1")
    assert told.startswith("For that dial")
    assert state_of(street, sent) == "dispatched"
