"""What an update tells: read from anything that can be posted, never an error."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.telegram.updates import (
    Command,
    Filed,
    Located,
    Moved,
    Other,
    Pictured,
    Shared,
    Tapped,
    Told,
    Typed,
    read,
)

PERSON = {"id": 77, "is_bot": False, "first_name": "A", "language_code": "sw-KE"}
BOT = {"id": 7, "is_bot": True, "first_name": "Sokoni"}
CHAT = {"id": 77, "type": "private", "first_name": "A"}


def message(**content: Any) -> dict[str, Any]:
    given = {"message_id": 5, "date": 1_790_000_000, "chat": CHAT, "from": PERSON, **content}
    return {"update_id": 9, "message": given}


def tap(data: object = "12:99", **more: Any) -> dict[str, Any]:
    shown = {"message_id": 4, "date": 1_790_000_000, "chat": CHAT, "from": BOT, "text": "Menu"}
    query = {"id": "1", "from": PERSON, "chat_instance": "1", "message": shown, "data": data}
    return {"update_id": 9, "callback_query": {**query, **more}}


def membership(status: str) -> dict[str, Any]:
    until = {"until_date": 0} if status == "kicked" else {}
    return {
        "update_id": 9,
        "my_chat_member": {
            "chat": CHAT,
            "from": PERSON,
            "date": 1,
            "old_chat_member": {"user": BOT, "status": "member"},
            "new_chat_member": {"user": BOT, "status": status, **until},
        },
    }


OWN = {"phone_number": "254711000001", "first_name": "A", "user_id": 77}
SIZES = [
    {"file_id": "small", "file_unique_id": "s", "width": 90, "height": 60, "file_size": 900},
    {"file_id": "large", "file_unique_id": "l", "width": 900, "height": 600, "file_size": 90_000},
]
PDF = {"file_id": "pdf", "file_unique_id": "p", "mime_type": "application/pdf", "file_size": 9}
PNG = {"file_id": "png", "file_unique_id": "p", "mime_type": "image/png"}
POINT = {"latitude": -1.3, "longitude": 36.8}
STICKER = {
    "file_id": "s", "file_unique_id": "s", "type": "regular", "width": 512, "height": 512,
    "is_animated": False, "is_video": False,
}  # fmt: skip
KNOWN = [
    (message(text="2"), Typed("2")),
    (message(text="/start"), Command("start", "")),
    (message(text="/Start@SokoniBot  K7M2Q9XA "), Command("start", "K7M2Q9XA")),
    (message(text="/fly me"), Typed("/fly me")),
    (message(text="start"), Typed("start")),
    (message(contact=OWN), Shared("+254711000001")),
    (message(contact={**OWN, "phone_number": "0711000001"}), Shared("+254711000001")),
    (message(contact={**OWN, "phone_number": "+256772123456"}), Shared("+256772123456")),
    (message(contact={**OWN, "phone_number": "256772123456"}), Shared("+256772123456")),
    (message(contact={**OWN, "phone_number": "call me"}), Shared(None)),
    (message(contact={**OWN, "user_id": 78}), Shared(None)),
    (message(contact={"phone_number": "254711000001", "first_name": "A"}), Shared(None)),
    (message(contact=OWN, via_bot=BOT), Shared(None)),
    (
        message(contact=OWN, forward_origin={"type": "user", "date": 1, "sender_user": PERSON}),
        Shared(None),
    ),
    (message(location=POINT), Located(-1.3, 36.8)),
    (
        message(location=POINT, venue={"location": POINT, "title": "Toi", "address": "Kibera"}),
        Located(-1.3, 36.8),
    ),
    (message(location={**POINT, "latitude": 91}), Other()),
    (message(location={**POINT, "longitude": "36"}), Other()),
    (message(photo=SIZES, caption="Rotten"), Pictured("large", 90_000)),
    (message(document=PNG), Pictured("png", 0)),
    (message(document=PDF), Filed()),
    (message(sticker=STICKER), Other()),
    (message(photo=[]), Other()),
    (message(), Other()),
    (tap(), Tapped("1", 4, 12, "99")),
    (tap("0:000"), Tapped("1", 4, 0, "000")),
    (tap("12"), Tapped("1", 4, -1, "")),
    (tap(None), Tapped("1", 4, -1, "")),
    (tap("1" * 10 + ":1"), Tapped("1", 4, -1, "")),
    (tap(message={"message_id": 3, "date": 0, "chat": CHAT}), Tapped("1", 3, 12, "99")),
    (tap(message=None), Tapped("1", None, 12, "99")),
    (tap(message=None, inline_message_id="x"), Tapped("1", None, -1, "")),
    (membership("kicked"), Moved(is_here=False)),
    (membership("member"), Moved(is_here=True)),
]


@pytest.mark.parametrize(("update", "act"), KNOWN, ids=range(len(KNOWN)))
def test_an_update_tells_what_was_done(update: dict[str, Any], act: object) -> None:
    told = read(update)
    assert told is not None
    assert told.act == act
    assert (told.number, told.chat_id, told.language) == (9, 77, "sw")
    assert told.message_id == (5 if "message" in update else None)


def test_a_button_of_somebody_elses_chat_means_nothing() -> None:
    theirs = {"message_id": 4, "date": 1, "chat": {**CHAT, "id": 78}, "from": BOT}
    told = read(tap(message=theirs))
    assert told is not None
    assert told.chat_id == 77
    assert told.act == Tapped("1", None, -1, "")


def test_nobody_is_recognised_in_what_is_shown_of_an_update() -> None:
    for update in (message(text="2580"), message(contact=OWN), message(location=POINT)):
        shown = repr(read(update))
        assert "2580" not in shown
        assert "711000001" not in shown
        assert "36.8" not in shown


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield here
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*here, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*here, index))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=9)
    | st.sampled_from(["private", "12:1", "\ud800", "\0", "/start"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=5,
)


@given(data=st.data())
@settings(max_examples=400)
def test_an_update_with_any_part_replaced_is_read_or_left(data: st.DataObject) -> None:
    update = copy.deepcopy(data.draw(st.sampled_from([known for known, _ in KNOWN])))
    *to, last = data.draw(st.sampled_from([path for path in paths(update) if path]))
    part: Any = update
    for key in to:
        part = part[key]
    if data.draw(st.booleans()):
        part[last] = data.draw(JSON)
    else:
        del part[last]
    told = read(update)
    assert told is None or isinstance(told, Told)
    if told is not None and isinstance(told.act, Typed):
        told.act.text.encode()
        assert "\0" not in told.act.text


@given(JSON)
def test_any_json_is_read_or_left(value: Any) -> None:
    assert read(value) is None
