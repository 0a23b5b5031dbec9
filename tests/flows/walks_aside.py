"""What else may happen at a screen besides its answers; none of it moves the market."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flows import engine
from flows.book import BOOK
from flows.engine import Ask, Menu, Pick
from flows.words import common
from tests.flows import graph, invariants
from tests.flows.graph import OFFERED, Node
from tests.flows.handset import Seen
from tests.flows.walks_phones import MEDIUM, Phone, Sms, Telegram
from tests.flows.walks_road import Walk

BEGINS: Final = {Node("home", "menu"), Node("home", "person"), Node("register", "language")}
TOO_LONG: Final = "nyanya " * 30
FORGED: Final = ("999999:1", "0:1", "1", "buy:1", "", "1:1:1", "-1:1", "١:١", "x" * 64)


def step_aside(walk: Walk) -> None:
    """Everything, each undone before the next."""
    if walk.seen.ends:
        with walk.undone():
            after_the_end(walk)
        return
    with walk.undone():
        mistype(walk)
    for key in (engine.BACK, engine.HOME_KEY):
        with walk.undone():
            before = walk.business()
            assert not walk.phone.reply(key).ends
            assert walk.business() == before
            assert key == engine.BACK or walk.node in BEGINS
    with walk.undone():
        speak_otherwise(walk)
    with walk.undone():
        return_by(walk, walk.phone)
    walk.stands_well()


def repeat(walk: Walk) -> None:
    """The same request again, and the one before it, late: the same answer, and nothing else."""
    seen, before = walk.seen, invariants.footprint(walk.street.db)
    again = walk.phone.repeat()
    assert (again.text, again.ends) == (seen.text, seen.ends)
    walk.phone.repeat_earlier()
    walk.phone.repeat()
    assert invariants.footprint(walk.street.db) == before


def mistype(walk: Walk) -> None:
    """A hint and the same state; nothing moved but the turn."""
    seen, node, before = walk.seen, walk.node, walk.business()
    state, numbered = graph.state_of(node), options(seen)
    for nonsense in ("?", TOO_LONG):
        hinted = walk.phone.reply(nonsense)
        assert walk.node == node
        if is_sent_to_the_phone(walk):
            assert walk.street.rules.dial_code in hinted.text
            continue
        hints = [
            texts.get(language, "").split("{")[0]
            for texts in engine.hints_at(BOOK[node.flow], state)
            for language in common().languages
        ]
        assert any(hint and hinted.text.startswith(hint) for hint in hints), hinted.text
        assert hinted.lines[-len(numbered) :] == numbered or not numbered
    if isinstance(walk.phone, Telegram):
        forge(walk.phone, walk)
    assert walk.business() == before


def forge(chat: Telegram, walk: Walk) -> None:
    """Buttons that were never drawn here: the present screen, once more."""
    node, shown = walk.node, options(walk.seen)
    for data in FORGED:
        chat.tap(data)
        assert (walk.node, options(walk.seen)) == (node, shown)


def speak_otherwise(walk: Walk) -> None:
    """Another language in the middle: the same state and numbers; and back, as if nothing was."""
    seen, node, before = walk.seen, walk.node, walk.business()
    if isinstance(graph.state_of(node), Ask):
        return
    spoken = language(walk)
    for other in (*(code for code in common().languages if code != spoken), spoken):
        walk.phone.reply(other)
        assert walk.node == node
        assert language(walk) == other
    assert options(walk.seen) == options(seen)
    assert walk.business() == before


def language(walk: Walk) -> str:
    found: str = walk.street.db.value(
        "SELECT language FROM conversations WHERE channel = %(channel)s AND address = %(address)s",
        {"channel": MEDIUM[walk.phone.channel], "address": walk.phone.address},
    )
    return found


def return_by(walk: Walk, phone: Phone) -> bool:
    """She drops it and comes by this phone. What the state says of being taken up is what happens.

    Whether it goes on where it was, on this phone from now on.
    """
    node, before = walk.node, walk.business()
    walk.phone = phone
    assert not phone.dial().ends
    assert walk.business() == before
    rule = resumes(node)
    if node == OFFERED:
        assert walk.node == OFFERED
    elif rule == "continue":
        assert walk.node == node
    elif rule == "restart":
        assert walk.node in BEGINS
    else:
        assert walk.node == OFFERED
        phone.reply("1")
        assert walk.node == node
    assert walk.business() == before
    return rule != "restart" or node == OFFERED


def resumes(node: Node) -> engine.Resume:
    """What its state says of being taken up again."""
    state = graph.state_of(node)
    assert isinstance(state, Pick | Ask | Menu), f"nobody can be left at {node}"
    return state.resume


def answer_late(walk: Walk, left: Phone) -> None:
    """At the phone she left, to a screen that has gone on elsewhere: it takes nothing."""
    with walk.at(left), unmoved(walk):
        left.reply("1")


def after_the_end(walk: Walk) -> None:
    """More text when it is over moves nothing; a new beginning begins at the beginning."""
    end = walk.node
    if isinstance(walk.phone, Telegram) and end == Node("link", "unlinked"):
        forget_me(walk, walk.phone)
        return
    with unmoved(walk):
        answer = walk.phone.reply("1")
    match walk.phone:
        case Telegram():
            assert walk.node in BEGINS
        case Sms():
            assert walk.node == end
        case _:
            assert walk.node == end
            assert answer.ends
            assert answer.text in common().texts["over"].values()
    walk.phone.dial()
    assert walk.node in BEGINS


@contextmanager
def unmoved(walk: Walk) -> Iterator[None]:
    """Nothing but words: whoever answers nothing by SMS is told what can be written."""
    before, helped = walk.business(), _helped(walk)
    yield
    before["outbox"] += _helped(walk) - helped
    assert walk.business() == before


def _helped(walk: Walk) -> int:
    found: int = walk.street.db.value("SELECT count(*) FROM messages WHERE trigger = 'sms_help'")
    return found


def forget_me(walk: Walk, chat: Telegram) -> None:
    """A chat that speaks for no phone any more is asked for one, and shown nothing."""
    turns = invariants.footprint(walk.street.db)["turns"]
    for said in ("1", "/start", "/orders"):
        chat.say(said)
    assert invariants.footprint(walk.street.db)["turns"] == turns
    words: list[str] = walk.street.db.value(
        "SELECT array_agg(arguments->>'words') FROM outbox WHERE kind = 'telegram_say'"
    )
    assert words == ["ask_contact"] * 3


def is_sent_to_the_phone(walk: Walk) -> bool:
    """Is this a secret asked for where what is typed stays readable?"""
    state = graph.state_of(walk.node)
    return walk.phone.channel == "sms" and isinstance(state, Ask) and state.secret


def options(seen: Seen) -> list[str]:
    return [line for line in seen.lines if line.partition(" ")[0].isdecimal()]
