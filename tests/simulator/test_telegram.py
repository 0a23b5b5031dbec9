"""Telegram: what people do in their chat with the bot, and what the bot does there."""

import base64
import io
import json

import pytest
import requests

from simulator import bot_api, pictures
from tests.simulator.pretend import PAYER

OTHER = "+254700000001"
MENU = {"inline_keyboard": [[{"text": "Buy", "callback_data": "3:buy"}],
                            [{"text": "Map", "url": "https://sokoni.example/map"}]]}  # fmt: skip
NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are "
    "exactly the same as a current content and reply markup of the message"
)
TOO_OLD = "Bad Request: query is too old and response timeout expired or query ID is invalid"


@pytest.fixture
def person(api):
    """What that person does: person("text", text="Habari")."""

    def act(verb: str, number: str = PAYER, **given):
        return api.ok("POST", f"telegram/{verb}", {"number": number, **given})

    return act


@pytest.fixture
def chat(api):
    return lambda number=PAYER: api.ok("GET", f"telegram/chat/{number}")


@pytest.fixture
def begun(person, chat, bot, world):
    """The chat's id: PAYER has pressed Start, and the bot has heard of it."""
    person("start")
    world.advance(0)
    return chat()["user_id"]


def heard(world, outside):
    """The newest update, when all have come."""
    world.advance(0)
    return outside.updates()[-1]


# --- what people do


def test_start_arrives_as_a_command_from_a_whole_person_in_a_whole_chat(
    world, outside, person, chat
):
    sent = person("start", payload="a1_B-2")
    update = heard(world, outside)
    who = chat()["user_id"]
    assert who > 2**32, "past 32 bits"
    assert update["message"] == {
        "message_id": sent["message_id"],
        "from": {"id": who, "is_bot": False, "first_name": "Barasa", "language_code": "en"},
        "chat": {"id": who, "first_name": "Barasa", "type": "private"},
        "date": 1786964659,
        "text": "/start a1_B-2",
        "entities": [{"type": "bot_command", "offset": 0, "length": 6}],
    }


def test_each_number_has_one_account_of_its_own_id_or_of_the_one_given(api, person, chat):
    person("start", user_id=4_503_599_627_370_495, language="sw")
    assert chat()["user_id"] == 4_503_599_627_370_495
    person("start")
    assert chat()["user_id"] == 4_503_599_627_370_495, "it stays"
    person("start", OTHER)
    taken = {"number": OTHER, "user_id": 4_503_599_627_370_495}
    assert api("POST", "telegram/start", taken).status_code == 409
    assert api("POST", "telegram/start", {"number": OTHER, "user_id": 2**52}).status_code == 400


def test_commands_in_a_text_are_marked_in_utf16_units(world, outside, person):
    person("text", text="🍅 /orders@SokoniBot or /help, not a/b")
    assert heard(world, outside)["message"]["entities"] == [
        {"type": "bot_command", "offset": 3, "length": 17},
        {"type": "bot_command", "offset": 24, "length": 5},
    ]


@pytest.mark.parametrize(
    ("form", "written"),
    [("plain", "254712345678"), ("plus", "+254712345678"), ("local", "0712345678")],
)
def test_an_own_contact_carries_the_persons_id_and_the_number_in_one_of_its_forms(
    world, outside, api, person, form, written
):
    api.rules(contact_form=form)
    person("contact")
    message = heard(world, outside)["message"]
    assert message["contact"] == {
        "phone_number": written, "first_name": "Barasa", "user_id": message["from"]["id"],
    }  # fmt: skip
    assert "forward_origin" not in message


def test_a_contact_can_be_somebody_elses_without_an_id_or_forwarded(world, outside, person, chat):
    person("contact", whose=OTHER)
    message = heard(world, outside)["message"]
    assert message["contact"]["phone_number"] == "254700000001"
    assert message["contact"]["user_id"] == chat(OTHER)["user_id"] != message["from"]["id"]
    person("contact", user_id=False)
    assert "user_id" not in heard(world, outside)["message"]["contact"]
    person("contact", forwarded=True)
    message = heard(world, outside)["message"]
    assert message["contact"]["user_id"] == message["from"]["id"]
    assert message["forward_origin"]["sender_user"] == message["from"]


def test_a_place_is_a_location_and_a_venue_is_both(world, outside, person):
    person("location", latitude=-1.3, longitude=36.77)
    message = heard(world, outside)["message"]
    assert message["location"] == {"latitude": -1.3, "longitude": 36.77}
    assert "venue" not in message
    person("location", venue="Toi Market")
    message = heard(world, outside)["message"]
    assert message["venue"]["title"] == "Toi Market"
    assert message["venue"]["location"] == message["location"]


def test_a_photo_comes_in_sizes_of_which_the_largest_is_the_persons_own(
    world, outside, person, bot, web
):
    picture = pictures.sample("rotten")
    person("photo", bytes_base64=base64.b64encode(picture).decode(), caption="Rotten")
    message = heard(world, outside)["message"]
    assert message["caption"] == "Rotten"
    assert "text" not in message
    sizes = message["photo"]
    assert [(each["width"], each["height"]) for each in sizes] == [(90, 67), (320, 240), (360, 270)]
    assert len({each["file_id"] for each in sizes}) == 3
    fetched = []
    for each in sizes:
        file = bot.ok("getFile", file_id=each["file_id"])
        data = web.get(f"/telegram/file/bot{bot.token}/{file['file_path']}").data
        assert len(data) == file["file_size"] == each["file_size"]
        assert pictures.size(data) == (each["width"], each["height"])
        fetched.append(data)
    assert fetched[-1] == picture


@pytest.mark.parametrize("sample", pictures.SAMPLES)
def test_pictures_of_our_own_drawing_can_be_sent(world, outside, person, sample):
    person("photo", sample=sample)
    assert heard(world, outside)["message"]["photo"][-1]["width"] == pictures.WIDTH


def test_a_file_above_20_mb_can_be_named_but_not_fetched(world, outside, person, bot):
    person("photo", size=20_000_000)
    file_id = heard(world, outside)["message"]["photo"][-1]["file_id"]
    assert bot.ok("getFile", file_id=file_id)["file_size"] == 20_000_000
    person("photo", size=20_000_001)
    file_id = heard(world, outside)["message"]["photo"][-1]["file_id"]
    assert bot.refused("getFile", file_id=file_id) == (400, "Bad Request: file is too big")


def test_a_picture_of_several_megabytes_can_be_given_whole(world, outside, person):
    data = base64.b64encode(pictures.of_bytes(5_000_000)).decode()
    person("photo", bytes_base64=data)
    assert heard(world, outside)["message"]["photo"][-1]["file_size"] == 5_000_000


def test_a_document_may_be_no_picture_whatever_it_is_called(world, outside, person, bot, web):
    data = base64.b64encode(b"MZ no picture").decode()
    person("document", name="tomato.jpg", mime="image/jpeg", bytes_base64=data)
    document = heard(world, outside)["message"]["document"]
    assert (document["file_name"], document["mime_type"]) == ("tomato.jpg", "image/jpeg")
    path = bot.ok("getFile", file_id=document["file_id"])["file_path"]
    assert web.get(f"/telegram/file/bot{bot.token}/{path}").data == b"MZ no picture"


def test_a_sticker_has_neither_text_nor_photo(world, outside, person):
    person("sticker", emoji="🍅")
    message = heard(world, outside)["message"]
    assert message["sticker"]["emoji"] == "🍅"
    assert not {"text", "photo"} & message.keys()


def test_an_edited_message_keeps_its_id_and_comes_only_where_it_is_wanted(
    world, outside, person, bot
):
    sent = person("text", text="2 bags")
    world.advance(5)
    person("edit", message_id=sent["message_id"], text="3 bags")
    assert len(heard(world, outside)) == 2
    assert len(outside.updates()) == 1, "the webhook did not ask for edits"
    bot.ok("setWebhook", url="https://shop.example/channels/telegram/x", allowed_updates=[])
    person("edit", message_id=sent["message_id"], text="4 bags")
    edited = heard(world, outside)["edited_message"]
    assert (edited["message_id"], edited["text"]) == (sent["message_id"], "4 bags")
    assert edited["edit_date"] == edited["date"] + 5


def test_blocking_is_told_and_ends_what_either_can_do_until_it_is_lifted(
    world, outside, api, person, bot, begun
):
    assert person("block") == {"state": "blocked"}
    change = heard(world, outside)["my_chat_member"]
    assert change["old_chat_member"]["status"] == "member"
    assert change["new_chat_member"] == {"user": bot_user(), "status": "kicked", "until_date": 0}
    blocked = (403, "Forbidden: bot was blocked by the user")
    assert bot.refused("sendMessage", chat_id=begun, text="Karibu") == blocked
    assert bot.refused("sendChatAction", chat_id=begun, action="typing") == blocked
    assert api("POST", "telegram/text", {"number": PAYER, "text": "Hi"}).status_code == 409
    person("unblock")
    assert heard(world, outside)["my_chat_member"]["new_chat_member"]["status"] == "member"
    assert bot.ok("sendMessage", chat_id=begun, text="Karibu")


def bot_user():
    return {
        "id": 7_000_000_000, "is_bot": True, "first_name": "Sokoni", "username": "SokoniBot",
    }  # fmt: skip


def test_who_blocked_the_bot_and_presses_start_is_back(world, outside, person, begun):
    person("block")
    world.advance(0)
    person("start")
    world.advance(0)
    assert {next(iter(each.keys() - {"update_id"})) for each in outside.updates()[2:]} == {
        "my_chat_member", "message",
    }  # fmt: skip
    assert outside.updates()[2]["my_chat_member"]["new_chat_member"]["status"] == "member"


def test_a_deactivated_account_is_told_by_its_error_alone(world, outside, person, bot, begun):
    person("deactivate")
    world.advance(0)
    assert len(outside.updates()) == 1
    assert bot.refused("sendMessage", chat_id=begun, text="Hi") == (
        403, "Forbidden: user is deactivated",
    )  # fmt: skip


def test_a_crafted_update_goes_out_as_it_is(world, outside, person, api):
    person("start")
    usual = heard(world, outside)["update_id"]
    for update in (
        {"update_id": 5},
        {"update_id": 5, "message": {"from": {"id": 1}, "chat": 7}},
        {"update_id": 6, "callback_query": []},
        {"update_id": "x", "strange": None},
    ):
        api.ok("POST", "telegram/raw", {"update": update})
        assert heard(world, outside) == update
    numbered = api.ok("POST", "telegram/raw", {"update": {"channel_post": {}}})
    assert heard(world, outside) == {"update_id": usual + 1, "channel_post": {}}
    assert numbered == {"update_id": usual + 1}


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("text", {"text": " "}), ("text", {"text": "x" * 4097}), ("text", {}),
        ("start", {"payload": "a b"}), ("start", {"payload": "x" * 65}), ("text", {"text": 5}),
        ("tap", {}),
        ("tap", {"data": "a", "label": "b"}), ("contact", {"whose": "nobody"}),
        ("contact", {"user_id": 1}), ("location", {"latitude": 91}),
        ("location", {"longitude": "36"}), ("photo", {"bytes_base64": "!"}),
        ("photo", {"bytes_base64": "TVo="}), ("photo", {"size": 5}), ("photo", {"sample": "pear"}),
        ("raw", {"update": []}), ("start", {"user_id": "7"}),
    ],
)  # fmt: skip
def test_a_call_that_makes_no_sense_is_refused_and_nothing_is_sent(
    world, outside, api, verb, given
):
    body = given if verb == "raw" else {"number": PAYER, **given}
    answer = api("POST", f"telegram/{verb}", body)
    assert (answer.status_code, bool(answer.json["error"])) == (400, True)
    world.advance(0)
    assert outside.calls == []


# --- the bot's messages


def test_a_message_of_the_bots_is_answered_whole_and_stands_in_the_chat(bot, begun, chat):
    sent = bot.ok("sendMessage", chat_id=begun, text="Karibu 🍅", reply_markup=MENU)
    message_id = sent.pop("message_id")
    assert sent == {
        "from": bot_user(),
        "chat": {"id": begun, "first_name": "Barasa", "type": "private"},
        "date": 1786964659,
        "text": "Karibu 🍅",
        "reply_markup": MENU,
    }
    shown = chat()["messages"][-1]
    assert (shown["id"], shown["from"], shown["text"]) == (message_id, "bot", "Karibu 🍅")
    assert shown["buttons"] == [
        [{"label": "Buy", "data": "3:buy", "url": None}],
        [{"label": "Map", "data": None, "url": "https://sokoni.example/map"}],
    ]


def test_a_form_with_json_inside_and_a_query_string_are_taken_like_json(bot, begun, chat, web):
    path = f"/telegram/bot{bot.token}/"
    form = {"chat_id": str(begun), "text": "form", "reply_markup": json.dumps(MENU)}
    assert web.post(path + "SENDMESSAGE", data=form).json["result"]["reply_markup"] == MENU
    multipart = {**form, "text": "multipart"}
    answer = web.post(path + "sendMessage", data=multipart, content_type="multipart/form-data")
    assert answer.json["result"]["text"] == "multipart"
    answer = web.get(path + "sendMessage", query_string={"chat_id": begun, "text": "query"})
    assert answer.json["result"]["text"] == "query"
    assert [it["text"] for it in chat()["messages"]][1:] == ["form", "multipart", "query"]


def test_bold_and_italic_are_read_out_of_html_into_entities(bot, begun):
    sent = bot.ok(
        "sendMessage", chat_id=begun, parse_mode="HTML",
        text='🍅 <b>Bei &amp; <i>kilo</i></b> &lt;5&gt; <a href="https://x.example/">hapa</a>',
    )  # fmt: skip
    assert sent["text"] == "🍅 Bei & kilo <5> hapa"
    assert sent["entities"] == [
        {"type": "bold", "offset": 3, "length": 10},
        {"type": "italic", "offset": 9, "length": 4},
        {"type": "text_link", "offset": 18, "length": 4, "url": "https://x.example/"},
    ]


def test_markdown_v2_is_read_where_everything_reserved_is_escaped(bot, begun):
    sent = bot.ok(
        "sendMessage", chat_id=begun, parse_mode="MarkdownV2",
        text=r"*KSh 1,200\.50* _kilo_ __u__ ~s~ ||x|| `a.b` ```c``` [hapa](https://x.example/\))",
    )  # fmt: skip
    assert sent["text"] == "KSh 1,200.50 kilo u s x a.b c hapa"
    assert [each["type"] for each in sent["entities"]] == [
        "bold", "italic", "underline", "strikethrough", "spoiler", "code", "pre", "text_link",
    ]  # fmt: skip
    assert sent["entities"][-1]["url"] == "https://x.example/)"


@pytest.mark.parametrize(
    ("mode", "text", "wrong"),
    [
        ("HTML", "<b>x", "Can't find end tag corresponding to start tag \"b\""),
        ("HTML", "é <x>", 'Unsupported start tag "x" at byte offset 3'),
        ("HTML", "2 < 3", 'Unsupported start tag "" at byte offset 2'),
        ("HTML", "x</b>", "Unexpected end tag at byte offset 1"),
        ("HTML", "<b><i>x</b></i>",
         'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"'),
        ("MarkdownV2", "KSh 1.50",
         "Character '.' is reserved and must be escaped with the preceding '\\'"),
        ("MarkdownV2", "*x", "Can't find end of Bold entity at byte offset 0"),
        ("MarkdownV2", "é `x", "Can't find end of Code entity at byte offset 3"),
        ("MarkdownV2", "[x]", "Can't find end of a URL at byte offset 2"),
    ],
)  # fmt: skip
def test_wrong_markup_is_refused_and_nothing_is_sent(bot, begun, chat, mode, text, wrong):
    found = bot.refused("sendMessage", chat_id=begun, text=text, parse_mode=mode)
    assert found == (400, f"Bad Request: can't parse entities: {wrong}")
    assert len(chat()["messages"]) == 1


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"text": ""}, "message text is empty"),
        ({"text": " \n"}, "message text is empty"),
        ({"text": "<b> </b>", "parse_mode": "HTML"}, "message text is empty"),
        ({"text": "x" * 4097}, "message is too long"),
        ({"text": "x", "parse_mode": "BBCode"}, "unsupported parse_mode"),
        ({"text": "x", "chat_id": ""}, "chat_id is empty"),
        ({"text": "x", "chat_id": 12345}, "chat not found"),
        ({"text": "x", "chat_id": "@nobody"}, "chat not found"),
        ({"text": "x", "reply_markup": "{"}, "can't parse reply_markup"),
        ({"text": "x", "reply_markup": []}, "object expected as reply markup"),
        ({"text": "x", "reply_markup": {"inline_keyboard": "x"}},
         "can't parse reply keyboard markup JSON object"),
        ({"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a"}]]}},
         "Text buttons are unallowed in the inline keyboard"),
        ({"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a", "url": "b"}]]}},
         "BUTTON_URL_INVALID"),
        ({"text": "x", "reply_markup": {"inline_keyboard": [[{"callback_data": "a"}]]}},
         "can't parse inline keyboard button: field \"text\" must be of type String"),
        ({"text": "x", "reply_markup": {"keyboard": []}}, "keyboard is empty"),
        ({"text": "x", "reply_markup": {"keyboard": [[" "]]}},
         "can't parse keyboard button: text must be non-empty"),
        ({"text": "x", "reply_markup": {"keyboard": [["a"]], "input_field_placeholder": "x" * 65}},
         "input field placeholder is too long"),
        ({"text": "x", "reply_markup": {"keyboard": [["a"] * 8] * 13}}, "REPLY_MARKUP_TOO_LONG"),
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_is_refused(bot, begun, given, wrong):
    found = bot.refused("sendMessage", **{"chat_id": begun, **given})
    assert found == (400, f"Bad Request: {wrong}")


@pytest.mark.parametrize("data", ["x" * 64, "ß" * 32])
def test_a_buttons_data_may_have_64_bytes(bot, begun, data):
    markup = {"inline_keyboard": [[{"text": "a", "callback_data": data}]]}
    assert bot.ok("sendMessage", chat_id=begun, text="x", reply_markup=markup)
    for wrong in (data + "x", ""):
        markup = {"inline_keyboard": [[{"text": "a", "callback_data": wrong}]]}
        found = bot.refused("sendMessage", chat_id=begun, text="x", reply_markup=markup)
        assert found == (400, "Bad Request: BUTTON_DATA_INVALID")


def test_a_text_of_4096_letters_fits_counted_without_its_markup(bot, begun):
    text = "<b>" + "x" * 4096 + "</b>"
    assert bot.ok("sendMessage", chat_id=begun, text=text, parse_mode="HTML")


def test_nobody_can_be_written_to_who_never_pressed_start(bot, chat):
    found = bot.refused("sendMessage", chat_id=chat()["user_id"], text="Hi")
    assert found == (400, "Bad Request: chat not found")


def test_reply_keys_stand_below_the_chat_until_they_are_removed_or_used_once(
    bot, begun, chat, person
):
    contact = {"text": "Share my number", "request_contact": True}
    location = {"text": "Share my place", "request_location": True}
    share = {"keyboard": [[contact], [location, "No"]]}
    sent = bot.ok("sendMessage", chat_id=begun, text="Who are you?", reply_markup=share)
    assert "reply_markup" not in sent, "only inline buttons are part of a message"
    keys = [
        [{"label": "Share my number", "asks": "contact"}],
        [{"label": "Share my place", "asks": "location"}, {"label": "No", "asks": None}],
    ]
    assert chat()["reply_keyboard"] == chat()["messages"][-1]["reply_keyboard"] == keys
    person("text", text="No")
    assert chat()["reply_keyboard"] == keys
    bot.ok("sendMessage", chat_id=begun, text="x", reply_markup={"remove_keyboard": True})
    assert chat()["reply_keyboard"] is None
    once = {**share, "one_time_keyboard": True}
    bot.ok("sendMessage", chat_id=begun, text="x", reply_markup=once)
    assert chat()["reply_keyboard"] == keys
    person("text", text="No")
    assert chat()["reply_keyboard"] is None


# --- edits


def test_an_edit_changes_text_and_buttons_in_place(world, bot, begun, chat):
    first = bot.ok("sendMessage", chat_id=begun, text="one", reply_markup=MENU)
    world.advance(3)
    where = {"chat_id": begun, "message_id": first["message_id"]}
    edited = bot.ok("editMessageText", **where, text="two")
    assert (edited["message_id"], edited["text"]) == (first["message_id"], "two")
    assert edited["edit_date"] == edited["date"] + 3
    assert "reply_markup" not in edited, "buttons not given again are gone"
    (_, shown) = chat()["messages"]
    assert (shown["text"], shown["edited"], shown["buttons"]) == ("two", True, [])
    bot.ok("editMessageReplyMarkup", **where, reply_markup=MENU)
    assert len(chat()["messages"][-1]["buttons"]) == 2


def test_an_edit_that_changes_nothing_is_refused(bot, begun):
    sent = bot.ok("sendMessage", chat_id=begun, text="one", reply_markup=MENU)
    where = {"chat_id": begun, "message_id": sent["message_id"]}
    same = {"text": "one", "reply_markup": MENU}
    assert bot.refused("editMessageText", **where, **same) == (400, NOT_MODIFIED)
    assert bot.refused("editMessageReplyMarkup", **where, reply_markup=MENU) == (400, NOT_MODIFIED)
    assert bot.ok("editMessageText", **where, text="<b>one</b>", parse_mode="HTML",
                  reply_markup=MENU)  # fmt: skip


def test_only_the_bots_own_texts_can_be_edited(bot, begun, chat):
    theirs = chat()["messages"][0]["id"]
    where = {"chat_id": begun, "text": "x"}
    assert bot.refused("editMessageText", **where, message_id=theirs) == (
        400, "Bad Request: message can't be edited",
    )  # fmt: skip
    assert bot.refused("editMessageText", **where, message_id=1) == (
        400, "Bad Request: message to edit not found",
    )  # fmt: skip
    assert bot.refused("editMessageText", **where) == (
        400, "Bad Request: message identifier is not specified",
    )  # fmt: skip
    own = bot.ok("sendMessage", chat_id=begun, text="x")["message_id"]
    assert bot.refused(
        "editMessageText", chat_id=begun, message_id=own, text="y",
        reply_markup={"remove_keyboard": True},
    ) == (400, "Bad Request: inline keyboard expected")  # fmt: skip


def test_messages_can_be_deleted_for_two_days_a_persons_too(world, bot, begun, chat, person):
    theirs = person("text", text="4826")["message_id"]
    old = chat()["messages"][0]["id"]
    world.advance(48 * 3600)
    assert bot.ok("deleteMessage", chat_id=begun, message_id=theirs)
    world.advance(1)
    assert bot.refused("deleteMessage", chat_id=begun, message_id=old) == (
        400, "Bad Request: message can't be deleted for everyone",
    )  # fmt: skip
    theirs = person("text", text="4826")["message_id"]
    bot.ok("deleteMessage", chat_id=begun, message_id=theirs)
    assert all(it["id"] != theirs for it in chat()["messages"])
    assert bot.refused("deleteMessage", chat_id=begun, message_id=theirs) == (
        400, "Bad Request: message to delete not found",
    )  # fmt: skip


# --- taps


@pytest.fixture
def menu(bot, begun):
    """The id of a message with buttons."""
    return bot.ok("sendMessage", chat_id=begun, text="Menu", reply_markup=MENU)["message_id"]


def test_a_tap_brings_the_persons_query_with_the_message_of_the_bot(
    world, outside, person, menu, begun
):
    tapped = person("tap", label="Buy")
    query = heard(world, outside)["callback_query"]
    assert (query["id"], query["data"]) == (tapped["query_id"], "3:buy")
    assert query["from"]["id"] == begun
    assert not query["from"]["is_bot"]
    assert query["message"]["message_id"] == menu
    assert query["message"]["from"] == bot_user()
    assert isinstance(query["chat_instance"], str)


def test_a_tap_can_carry_forged_data_come_from_an_old_message_or_an_inaccessible_one(
    world, outside, person, bot, menu, begun
):
    person("tap", message_id=menu, data="9:steal")
    assert heard(world, outside)["callback_query"]["data"] == "9:steal"
    bot.ok("editMessageReplyMarkup", chat_id=begun, message_id=menu)
    person("tap", message_id=menu, data="3:buy")
    assert "reply_markup" not in heard(world, outside)["callback_query"]["message"]
    person("tap", message_id=menu, data="3:buy", inaccessible=True)
    assert heard(world, outside)["callback_query"]["message"] == {
        "chat": {"id": begun, "first_name": "Barasa", "type": "private"},
        "message_id": menu,
        "date": 0,
    }


@pytest.mark.parametrize("given", [{"label": "Sell"}, {"label": "Map"}, {"message_id": 1}])
def test_a_button_that_is_not_there_cannot_be_tapped_by_its_label(api, menu, given):
    body = {"number": PAYER, "label": "Buy", **given}
    assert api("POST", "telegram/tap", body).status_code == 404


def test_the_answer_to_a_tap_pops_up(world, bot, person, menu, chat):
    tapped = person("tap", label="Buy")["query_id"]
    assert bot.ok("answerCallbackQuery", callback_query_id=tapped, text="Sold out", show_alert=True)
    assert chat()["toasts"] == [
        {
            "query_id": tapped,
            "text": "Sold out",
            "alert": True,
            "at": "2026-08-17T11:04:19.250000+00:00",
        }
    ]
    assert bot.ok("answerCallbackQuery", callback_query_id=tapped), "again, to no effect"
    assert len(chat()["toasts"]) == 1


def test_an_old_tap_and_one_that_never_was_cannot_be_answered(world, api, bot, person, menu):
    api.rules(query_seconds=30)
    tapped = person("tap", label="Buy")["query_id"]
    long = {"callback_query_id": tapped, "text": "x" * 201}
    assert bot.refused("answerCallbackQuery", **long) == (400, "Bad Request: MESSAGE_TOO_LONG")
    world.advance(31)
    assert bot.refused("answerCallbackQuery", callback_query_id=tapped) == (400, TOO_OLD)
    assert bot.refused("answerCallbackQuery", callback_query_id="5") == (400, TOO_OLD)


# --- photos, limits, and the rest of the API


def test_the_bot_sends_a_picture_by_its_bytes_and_again_by_its_id(bot, begun, chat, web):
    path = f"/telegram/bot{bot.token}/sendPhoto"
    picture = pictures.sample("good")
    upload = {"chat_id": begun, "photo": (io.BytesIO(picture), "a.png"), "caption": "Nyanya"}
    sent = web.post(path, data=upload).json["result"]
    assert (sent["caption"], sent["photo"][-1]["file_size"]) == ("Nyanya", len(picture))
    attached = {"chat_id": begun, "photo": "attach://one", "one": (io.BytesIO(picture), "a.png")}
    assert web.post(path, data=attached).status_code == 200
    file_id = sent["photo"][0]["file_id"]
    assert bot.ok("sendPhoto", chat_id=begun, photo=file_id)["photo"] == sent["photo"]
    edited = bot.ok("editMessageCaption", chat_id=begun, message_id=sent["message_id"], caption="B")
    assert (edited["caption"], edited["photo"]) == ("B", sent["photo"])
    shown = chat()["messages"][-1]["photo"]
    assert web.get(f"/simulator/api/telegram/file/{shown['file_id']}").data == picture
    assert bot.refused(
        "editMessageText", chat_id=begun, message_id=sent["message_id"], text="x"
    ) == (400, "Bad Request: there is no text in the message to edit")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"photo": "unknown"}, "wrong remote file identifier specified"),
        ({}, "there is no photo in the request"),
        ({"photo": b"not a picture"}, "IMAGE_PROCESS_FAILED"),
        ({"photo": bytes(10 * 1024 * 1024 + 1)},
         "file of size 10485761 bytes is too big for a photo; the maximum size is 10485760 bytes"),
        ({"photo": b"x", "caption": "x" * 1025}, "message caption is too long"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_is_refused(bot, begun, web, given, wrong):
    files = {name: (None, value) for name, value in {"chat_id": str(begun), **given}.items()}
    if isinstance(given.get("photo"), bytes):
        files["photo"] = ("a.png", given["photo"])
    sent = requests.Request("POST", "http://telegram.example", files=files).prepare()
    answer = web.post(
        f"/telegram/bot{bot.token}/sendPhoto",
        data=sent.body,
        content_type=sent.headers["Content-Type"],
    )
    assert (answer.status_code, answer.json["description"]) == (400, f"Bad Request: {wrong}")


def test_a_chat_takes_a_burst_and_then_one_message_a_second(world, bot, begun):
    for _ in range(20):
        bot.ok("sendMessage", chat_id=begun, text="x")
    answer = bot("sendMessage", chat_id=begun, text="x")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert answer.json == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 1",
        "parameters": {"retry_after": 1},
    }
    world.advance(1)
    assert bot.ok("sendMessage", chat_id=begun, text="x")
    assert bot("sendMessage", chat_id=begun, text="x").status_code == 429


def test_over_all_chats_thirty_messages_go_out_a_second_and_rules_lift_the_limits(
    api, bot, person, chat
):
    ids = []
    for last in range(8):
        number = f"+25471200000{last}"
        person("start", number)
        ids.append(chat(number)["user_id"])
    codes = [bot("sendMessage", chat_id=ids[n % 8], text="x").status_code for n in range(32)]
    assert codes == [200] * 30 + [429] * 2
    api.rules(telegram_rate=0, telegram_chat_rate=0)
    assert bot("sendMessage", chat_id=ids[0], text="x").status_code == 200


def test_a_slower_chat_asks_for_a_longer_wait(api, bot, begun):
    api.rules(telegram_chat_rate=0.05, telegram_chat_burst=1)
    bot.ok("sendMessage", chat_id=begun, text="x")
    assert bot.refused("sendMessage", chat_id=begun, text="x")[1].endswith("retry after 20")


def test_commands_are_kept_by_scope_and_language(bot, chat):
    swahili = [{"command": "orders", "description": "Oda zangu"}]
    english = [{"command": "orders", "description": "My orders"}]
    bot.ok("setMyCommands", commands=english)
    bot.ok("setMyCommands", commands=json.dumps(swahili), language_code="sw",
           scope={"type": "all_private_chats"})  # fmt: skip
    assert bot.ok("getMyCommands", language_code="sw") == swahili
    assert bot.ok("getMyCommands") == english
    assert chat()["commands"] == english
    for wrong, said in (
        ([{"command": "My Orders", "description": "x"}], "BOT_COMMAND_INVALID"),
        ([{"command": "orders", "description": ""}], "BOT_COMMAND_DESCRIPTION_INVALID"),
        (english * 101, "BOT_COMMANDS_TOO_MUCH"),
        ("orders", "can't parse commands"),
        ({}, "can't parse list of bot commands JSON object"),
    ):
        assert bot.refused("setMyCommands", commands=wrong) == (400, f"Bad Request: {said}")


def test_the_bot_knows_itself(bot):
    assert bot.ok("getMe").items() >= bot_user().items()
    assert bot.refused("sendChatAction", chat_id=1, action="dance")[0] == 400


@pytest.mark.parametrize(
    ("token", "method", "found"),
    [
        ("7000000000:wrong", "getMe", (401, "Unauthorized")),
        ("nonsense", "getMe", (404, "Not Found")),
        (None, "sendInvoice", (404, "Not Found: method not found")),
    ],
)
def test_a_wrong_token_and_an_unknown_method_are_refused(bot, web, token, method, found):
    bot.token = token or bot.token
    assert bot.refused(method) == found
    if token:
        assert web.get(f"/telegram/file/bot{token}/photos/file_0.jpg").status_code == found[0]


def test_a_body_that_is_not_what_it_says_and_one_that_is_too_large_are_refused(
    bot, web, monkeypatch
):
    path = f"/telegram/bot{bot.token}/sendMessage"
    for body in (b"{", b"[]", b"\xff"):
        answer = web.post(path, data=body, content_type="application/json")
        assert answer.status_code == 400
        assert answer.json["description"].startswith("Bad Request: can't parse JSON")
    monkeypatch.setattr(bot_api, "BODY_BYTES_MAX", 10)
    answer = web.post(path, json={"chat_id": 1, "text": "x"})
    assert (answer.status_code, answer.json["error_code"]) == (413, 413)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_flood_can_be_had_at_will_and_an_answer_lost(api, bot, begun, chat, when):
    api.rules(faults=[{"fault": "flood", "on": "telegram", "seconds": 7, "when": when, "times": 1}])
    answer = bot("sendMessage", chat_id=begun, text="x")
    assert answer.json["parameters"] == {"retry_after": 7}
    assert len(chat()["messages"]) == (2 if when == "after" else 1)


def test_a_file_can_fail_to_come(world, outside, api, person, bot, web):
    person("photo", sample="good")
    file_id = heard(world, outside)["message"]["photo"][-1]["file_id"]
    path = bot.ok("getFile", file_id=file_id)["file_path"]
    api.rules(faults=[{"fault": "server_error", "on": "file", "times": 1}])
    assert web.get(f"/telegram/file/bot{bot.token}/{path}").status_code == 500
    assert web.get(f"/telegram/file/bot{bot.token}/photos/none.jpg").status_code == 404
    assert bot.refused("getFile", file_id="none")[0] == 400
