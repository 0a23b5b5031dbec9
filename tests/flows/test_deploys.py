"""A release in the middle of a conversation never changes the meaning of an answer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from core.database import Db
from core.rules import Rules
from flows import engine, run
from flows.book import BOOK
from flows.engine import Ask, Book, Context, Flow, Frame, Moved, Option, Outdated, Pick
from flows.words import common
from tests.flows import books
from tests.flows.books import ASK, CALL, CLOSED, PICK, STALL, THANKS, flow
from tests.flows.handset import ROOM_SEPTETS, Clock, Handset
from tests.flows.street import PHONE

UPDATED, START_OVER = (common().texts[f"hint.{name}"] for name in ("updated", "start_over"))


@pytest.fixture
def at_stall(db: Db, clock: Clock, rules: Rules) -> Context:
    return Context(db, clock(), rules, PHONE, "en", None, ROOM_SEPTETS)


def book(stall: Flow) -> Book:
    """That stall, and a home to go to."""
    words = dict.fromkeys(("product", "quantity", "thanks", "closed"))
    said = {"en": "Home.", "sw": "Mwanzo.", "option": {"buy": {"en": "Buy", "sw": "Nunua"}}}
    home = flow((books.menu("menu", buy="@stall"),), {**words, "menu": said}, name="home")
    return {"home": home, "stall": stall}


def saved(frame: Frame | None) -> Frame:
    """As the conversation's table gives it back."""
    assert frame is not None
    return Frame(**json.loads(json.dumps(vars(frame))))


def kept_at(name: str, stall: Flow, context: Context) -> Frame:
    """A conversation that stands at a state of the stall, maize chosen on the way."""
    step = engine.begin(book(stall), "stall", context)
    while step.frame is not None and step.frame.state != name:
        step = engine.take(book(stall), step.frame, "2", context)
    return saved(step.frame)


@dataclass
class Surnamed:
    surname: int | None = None
    product: str | None = None
    quantity: int | None = None


@dataclass
class Counted:
    product: str | None = None
    number: int | None = None


def sold_or_more(_context: Context, _answers: Any) -> Literal["sold", "sold_out"]:
    return "sold"


SAME = ("quantity", {"product": "maize"})  # where "2" led when it was shown
OPEN_LIST = replace(PICK, empty=None)
# What a release brings, and what becomes of a "2" typed at the list of goods shown before it.
AT_THE_LIST: dict[str, tuple[Flow, str]] = {
    "nothing new": (flow(), "taken"),
    "other words elsewhere": (flow(words={"quantity.en": "How much?"}), "taken"),
    "other words in another language": (flow(words={"product.sw": "Kipi?"}), "taken"),
    "a list that is never empty": (flow((OPEN_LIST, *STALL[1:])), "taken"),
    "an answer more, later": (
        flow((*STALL, Ask("name", parse=books.quantity, to="thanks", field="quantity")),
             {"name": {"en": "Name?", "sw": "Jina?"}}),
        "taken",
    ),
    "what is done later is done otherwise": (
        flow((PICK, ASK, replace(CALL, do=sold_or_more), THANKS, CLOSED)), "taken",
    ),
    "another question": (flow(words={"product.en": "What shall we take away?"}), "asked again"),
    "it leads elsewhere": (flow((replace(PICK, to="closed"), *STALL[1:])), "asked again"),
    "words may be typed": (
        flow((replace(PICK, typed=engine.Typed("quantity", books.quantity, "sell")), *STALL[1:])),
        "asked again",
    ),
    "the list is a menu now": (
        flow((books.menu("product", beans="quantity"), *STALL[1:]),
             {"product.option": {"beans": {"en": "Beans", "sw": "Maharagwe"}}}),
        "asked again",
    ),
    "the list is a question now": (
        flow((Ask("product", parse=books.quantity, to="quantity", field="quantity"), *STALL[1:])),
        "asked again",
    ),
    "its answers are of another type": (
        flow((replace(PICK, field="quantity"), *STALL[1:])), "asked again"
    ),
    "something is asked before it": (
        flow((Ask("surname", parse=books.quantity, to="product"), *STALL),
             {"surname": {"en": "Your number?", "sw": "Nambari yako?"}}, Surnamed),
        "outdated",
    ),
    "the state is no more": (flow(STALL[1:]), "outdated"),
    "the state has another name": (
        flow((replace(PICK, name="goods", field="product", empty=None), *STALL[1:]),
             {"goods": books.WORDS["product"]}),
        "outdated",
    ),
    "the state has another name, and it is said": (
        replace(flow((replace(PICK, name="goods", field="product", empty=None), *STALL[1:]),
                     {"goods": books.WORDS["product"]}),
                moved=Moved(states={"product": "goods"})),
        "taken",
    ),
    "the state after it has another name, and it is said": (
        replace(flow((replace(PICK, to="number"),
                      replace(ASK, name="number", field="quantity"), *STALL[2:]),
                     {"number": books.WORDS["quantity"]}),
                moved=Moved(states={"quantity": "number"})),
        "taken, and leads to number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("release", AT_THE_LIST)
def test_a_number_means_what_it_meant_or_is_asked_again(release: str, at_stall: Context) -> None:
    later, becomes = AT_THE_LIST[release]
    kept = kept_at("product", flow(), at_stall)
    if becomes == "outdated":
        with pytest.raises(Outdated):
            engine.take(book(later), kept, "2", at_stall)
        return
    step = engine.take(book(later), kept, "2", at_stall)
    assert step.frame is not None
    if becomes == "asked again":
        assert (step.frame.state, step.frame.answers, step.kind) == ("product", {}, "hint")
        assert step.screen.text.startswith(UPDATED["en"])
    else:
        there = becomes.rpartition(" ")[2] if "leads" in becomes else "quantity"
        assert (step.frame.state, step.frame.answers) == (there, SAME[1])


def test_what_is_asked_again_is_asked_of_today_and_then_taken(at_stall: Context) -> None:
    def fruit(_context: Context, _answers: Any) -> list[Option[str]]:
        return [Option(name, {"product": name}) for name in ("apples", "pears")]

    today = book(flow((replace(PICK, options=fruit), *STALL[1:]), {"product.en": "Which fruit?"}))
    again = engine.take(today, kept_at("product", flow(), at_stall), "2", at_stall)
    assert [label for _, label in again.screen.lines] == ["apples", "pears"]
    step = engine.take(today, saved(again.frame), "2", at_stall)
    assert step.frame is not None
    assert (step.frame.state, step.frame.answers) == ("quantity", {"product": "pears"})


def sure(words: dict[str, str] | None = None, **to: str) -> Flow:
    """The stall with a last question: its options by name, their English words if others."""
    said = words or {}
    options = {name: {"en": said.get(name, name), "sw": name} for name in to}
    table = (PICK, replace(ASK, to="sure"), books.menu("sure", **to), CALL, THANKS, CLOSED)
    return flow(table, {"sure": {"en": "Sure?", "sw": "Hakika?", "option": options}})


YES_NO = sure(yes="sell", no="closed")
# What a release brings to that question, and the label of what "1" (yes) leads to.
AT_THE_MENU: dict[str, tuple[Flow, str]] = {
    "nothing new": (YES_NO, "stall.thanks"),
    "another order": (sure(no="closed", yes="sell"), "stall.thanks"),
    "an option more": (sure(later="product", yes="sell", no="closed"), "stall.thanks"),
    "the targets change places": (sure(yes="closed", no="sell"), "stall.sure"),
    "the words change places": (
        sure({"yes": "no", "no": "yes"}, yes="sell", no="closed"), "stall.sure"
    ),
    "another wording": (sure({"yes": "Yes, buy"}, yes="sell", no="closed"), "stall.sure"),
    "the option is gone": (sure(no="closed"), "stall.sure"),
    "the option has another name": (sure(ok="sell", no="closed"), "stall.sure"),
}  # fmt: skip


@pytest.mark.parametrize("release", AT_THE_MENU)
def test_an_option_means_what_it_meant_or_is_asked_again(release: str, at_stall: Context) -> None:
    later, label = AT_THE_MENU[release]
    step = engine.take(book(later), kept_at("sure", YES_NO, at_stall), "1", at_stall)
    assert step.screen.label == label
    assert step.screen.text.startswith(UPDATED["en"]) == (label == "stall.sure")


def test_an_option_that_was_not_shown_cannot_be_typed_before_it_is(at_stall: Context) -> None:
    later = book(sure(yes="sell", no="closed", later="product"))
    step = engine.take(later, kept_at("sure", YES_NO, at_stall), "3", at_stall)
    assert (step.screen.label, step.kind) == ("stall.sure", "hint")
    assert [label for _, label in step.screen.lines][:2] == ["yes", "no"]


def test_keys_that_mean_the_same_everywhere_mean_it_after_a_release_too(at_stall: Context) -> None:
    later, kept = book(sure(yes="closed", no="sell")), kept_at("sure", YES_NO, at_stall)
    assert engine.take(later, kept, "0", at_stall).screen.label == "stall.quantity"
    assert engine.take(later, kept, "000", at_stall).screen.label == "home.menu"


def test_a_typed_answer_is_not_read_by_another_question(at_stall: Context) -> None:
    """Three crates are not three pieces."""
    later = book(flow(words={"quantity.en": "How many pieces?"}))
    step = engine.take(later, kept_at("quantity", flow(), at_stall), "3", at_stall)
    assert step.frame is not None
    assert (step.frame.state, step.frame.answers) == SAME
    assert step.screen.text == f"{UPDATED['en']}\nHow many pieces?"


def renamed_answer(*moved: tuple[str, str | None]) -> Flow:
    table = (PICK, replace(ASK, field="number", to="sure"), *YES_NO.table[2:])
    return replace(YES_NO, table=table, answers=Counted, moved=Moved(answers=dict(moved)))


def test_an_answer_given_goes_on_under_its_new_name(at_stall: Context) -> None:
    kept = kept_at("sure", YES_NO, at_stall)
    step = engine.redraw(book(renamed_answer(("quantity", "number"))), kept, at_stall)
    assert step.frame is not None
    assert step.frame.answers == {"product": "maize", "number": 2}


@pytest.mark.parametrize("moved", [(), (("quantity", None),)], ids=["unsaid", "forgotten"])
def test_an_answer_that_is_lost_is_never_missed_halfway(
    moved: tuple[Any, ...], at_stall: Context
) -> None:
    """Today's flow cannot ask whether she is sure before she said how many."""
    kept = kept_at("sure", YES_NO, at_stall)
    with pytest.raises(Outdated):
        engine.take(book(renamed_answer(*moved)), kept, "1", at_stall)


def test_the_way_back_goes_by_the_names_of_today(at_stall: Context) -> None:
    table = (PICK, replace(ASK, name="number", field="quantity", to="sure"), *YES_NO.table[2:])
    words = {"number": books.WORDS["quantity"], "sure": {
        "en": "Sure?", "sw": "Hakika?",
        "option": {name: {"en": name, "sw": name} for name in ("yes", "no")},
    }}  # fmt: skip
    later = flow((replace(PICK, to="number"), *table[1:]), words)
    kept = kept_at("sure", YES_NO, at_stall)
    said = replace(later, moved=Moved(states={"quantity": "number"}))
    assert engine.take(book(said), kept, "0", at_stall).screen.label == "stall.number"
    assert engine.take(book(later), kept, "0", at_stall).screen.label == "stall.product"


def test_a_conversation_kept_before_meanings_were_is_asked_again(at_stall: Context) -> None:
    before = replace(kept_at("product", flow(), at_stall), version="older", meaning="")
    assert engine.take(book(flow()), before, "2", at_stall).kind == "hint"


def test_the_version_is_that_of_table_words_and_answers() -> None:
    assert flow().version == flow().version
    for other in (
        flow(words={"product.en": "Which?"}),
        flow((*STALL, engine.End("bye"))),
        flow((replace(PICK, empty="thanks"), *STALL[1:])),
        flow(answers=Surnamed),
        replace(flow(), moved=Moved(states={"goods": "product"})),
    ):
        assert other.version != flow().version


def test_a_state_needs_what_every_road_to_it_has_asked() -> None:
    short_cut = replace(PICK, typed=engine.Typed("quantity", books.quantity, "sell"))
    assert flow().needs["sell"] == {"product", "quantity"}
    assert flow((short_cut, *STALL[1:])).needs["sell"] == {"quantity"}
    assert flow((*STALL, engine.End("bye"))).needs["bye"] == frozenset()


# On the market, by phone


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it for a release that takes a state of a flow away."""

    def release(name: str, state: str) -> None:
        table = tuple(kept for kept in BOOK[name].table if kept.name != state)
        rerouted = tuple(
            replace(kept, to="category") if isinstance(kept, Pick) and kept.to == state else kept
            for kept in table
        )
        later = {**BOOK, name: replace(BOOK[name], table=rerouted)}
        monkeypatch.setattr(run, "BOOK", later)

    return release


def test_an_outdated_conversation_begins_anew_and_says_so(handset: Handset, released: Any) -> None:
    handset.dial()
    handset.walk("1", "1")
    released("buy", "product")
    assert handset.reply("1").label == "home.menu"
    assert handset.seen.text.startswith(START_OVER["en"])
    assert handset.reply("1").label == "buy.category"


def test_an_outdated_conversation_is_not_offered_again(handset: Handset, released: Any) -> None:
    handset.dial()
    handset.walk("1", "1")
    released("buy", "product")
    assert handset.dial().label == "home.menu"


def test_what_was_offered_and_then_became_outdated_begins_anew(
    handset: Handset, released: Any
) -> None:
    handset.dial()
    handset.walk("1", "1")
    assert handset.dial().label == "home.offer"
    released("buy", "product")
    assert handset.reply("1").label == "home.menu"
    assert handset.seen.text.startswith(START_OVER["en"])


def test_a_stranger_in_the_middle_of_joining_begins_anew_and_says_so(
    new_phone: Handset, released: Any
) -> None:
    new_phone.dial()
    new_phone.walk("1", "Amina")
    released("register", "place_words")
    assert new_phone.reply("Toi").label == "register.language"
    assert new_phone.seen.text.startswith(START_OVER["en"])
