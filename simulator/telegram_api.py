"""The JSON calls under /simulator/api/telegram/: what people do in their chats with the bot."""

import base64
import binascii
import re
from typing import Any

from flask import Blueprint, Response, request

from simulator import calls, msisdn, pictures
from simulator.bot_methods import TEXT_LETTERS_MAX
from simulator.calls import Given, Wrong, given
from simulator.keyboards import Markup
from simulator.telegram import Chat, Message, Refused, Telegram
from simulator.world import World

BODY_BYTES_MAX = 80_000_000  # a file of 50 MB as base64, and room
FILE_BYTES_MAX = 50_000_000
NAIROBI = (-1.2864, 36.8172)
USER_IDS_MAX = 2**52


def blueprint(world: World) -> Blueprint:
    """The calls over that world."""
    door, route = calls.door("telegram_api", "/simulator/api/telegram")
    telegram = world.telegram

    def sent(message: Message) -> dict[str, int]:
        return {"message_id": message.id}

    @route("/chat/<number>", "GET")
    def chat(number: str) -> Any:
        with world.journal.change():
            return shown(telegram, telegram.chat(msisdn.read(number)))

    @route("/start", "POST")
    def start() -> Any:
        it = given("number", payload="", user_id=None, language=None)
        user_id = it.maybe_whole("user_id")
        if user_id is not None and not 0 < user_id < USER_IDS_MAX:
            raise Wrong(400, "user_id: up to 52 bits")
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", it.text("payload")):
            raise Wrong(400, "payload: up to 64 of A-Z a-z 0-9 _ -")
        try:
            telegram.introduce(it.number(), user_id=user_id, language=it.maybe_text("language"))
        except ValueError as wrong:
            raise Wrong(409, str(wrong)) from None
        return sent(telegram.start(it.number(), it.text("payload")))

    @route("/text", "POST")
    def text() -> Any:
        it = given("number", "text")
        if not 1 <= len(it.text("text").strip()) <= TEXT_LETTERS_MAX:
            raise Wrong(400, f"text: 1 to {TEXT_LETTERS_MAX} letters; a client splits a longer one")
        return sent(telegram.say(it.number(), it.text("text")))

    @route("/tap", "POST")
    def tap() -> Any:
        it = given("number", message_id=None, data=None, label=None, inaccessible=False)
        data, label = it.maybe_text("data"), it.maybe_text("label")
        if (data is None) == (label is None):
            raise Wrong(400, "either data or label")
        query = telegram.tap(
            it.number(),
            it.maybe_whole("message_id"),
            data=data,
            label=label,
            is_inaccessible=it.flag("inaccessible"),
        )
        return {"query_id": query}

    @route("/contact", "POST")
    def contact() -> Any:
        it = given("number", whose="own", user_id=True, forwarded=False)
        own = it["whose"] == "own"
        message = telegram.share_contact(
            it.number(),
            None if own else it.number("whose"),
            with_user_id=it.flag("user_id"),
            is_forwarded=it.flag("forwarded"),
        )
        return sent(message)

    @route("/location", "POST")
    def location() -> Any:
        it = given("number", latitude=NAIROBI[0], longitude=NAIROBI[1], venue=None)
        latitude, longitude = it.real("latitude", -90, 90), it.real("longitude", -180, 180)
        venue = it.maybe_text("venue")
        return sent(telegram.share_location(it.number(), latitude, longitude, venue=venue))

    @route("/photo", "POST")
    def photo() -> Any:
        it = _given_file(sample=None)
        data = _bytes(it)
        if data is None:
            sample = it["sample"] or pictures.SAMPLES[0]
            if sample not in pictures.SAMPLES:
                raise Wrong(400, "sample: one of " + ", ".join(pictures.SAMPLES))
            data = pictures.sample(sample)
        try:
            return sent(telegram.send_picture(it.number(), data, it.text("caption")))
        except ValueError:
            raise Wrong(400, "neither PNG nor JPEG; any file can go as a document") from None

    @route("/document", "POST")
    def document() -> Any:
        it = _given_file(name="notes.txt", mime="text/plain")
        data = _bytes(it)
        if data is None:
            data = b"Not a picture.\n"
        name, kind = it.text("name"), it.text("mime")
        return sent(telegram.send_document(it.number(), data, name, kind, it.text("caption")))

    @route("/sticker", "POST")
    def sticker() -> Any:
        it = given("number", emoji="🍅")
        return sent(telegram.send_sticker(it.number(), it.text("emoji")))

    @route("/edit", "POST")
    def edit() -> Any:
        it = given("number", "message_id", "text")
        message_id = it.maybe_whole("message_id") or 0
        return sent(telegram.edit_own(it.number(), message_id, it.text("text")))

    @route("/block", "POST")
    def block() -> Any:
        number = given("number").number()
        telegram.block(number)
        return {"state": telegram.chat(number).state}

    @route("/unblock", "POST")
    def unblock() -> Any:
        number = given("number").number()
        telegram.unblock(number)
        return {"state": telegram.chat(number).state}

    @route("/deactivate", "POST")
    def deactivate() -> Any:
        number = given("number").number()
        telegram.deactivate(number)
        return {"state": telegram.chat(number).state}

    @route("/raw", "POST")
    def raw() -> Any:
        update = given("update")["update"]
        if not isinstance(update, dict):
            raise Wrong(400, "update: an object")
        with world.journal.change():
            return {"update_id": telegram.updates.put_raw(update)}

    @route("/webhook", "GET")
    def webhook() -> Any:
        return telegram.updates.info()

    @door.get("/file/<file_id>")
    def file(file_id: str) -> Response:
        """What was sent, for pages to show."""
        try:
            data = telegram.file(file_id).data
        except Refused:
            return Response(status=404)
        kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
        is_picture = pictures.size(data) is not None
        return Response(data, content_type=kind if is_picture else "application/octet-stream")

    return door


def shown(telegram: Telegram, chat: Chat, messages_max: int = 0) -> dict[str, Any]:
    """A chat as JSON, with so many of its messages, the newest (0: all).

    Look at it inside one `journal.change()`.
    """
    messages = list(chat.messages.values())
    return {
        "number": chat.msisdn,
        "user_id": chat.id,
        "name": chat.first_name,
        "state": chat.state,
        "messages": [_message(each) for each in messages[-messages_max:]],
        "reply_keyboard": _keys(chat.keyboard),
        "toasts": [
            {
                "query_id": it.query_id,
                "text": it.text,
                "alert": it.is_alert,
                "at": it.at.isoformat(),
            }
            for it in chat.toasts[-messages_max:]
        ],
        "commands": telegram.commands(chat.language),
    }


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    photo = content.get("photo")
    return {
        "id": message.id,
        "from": "bot" if message.is_bots else "person",
        "text": content.get("text", content.get("caption", "")),
        "entities": content.get("entities", content.get("caption_entities", [])),
        "buttons": [
            [
                {"label": it["text"], "data": it.get("callback_data"), "url": it.get("url")}
                for it in row
            ]
            for row in (message.buttons or {}).get("inline_keyboard", ())
        ],
        "reply_keyboard": _keys(message.keyboard),
        "edited": message.edited_at is not None,
        "at": message.at.isoformat(),
        "photo": photo and {
            "file_id": photo[-1]["file_id"],
            "width": photo[-1]["width"],
            "height": photo[-1]["height"],
            "bytes": photo[-1]["file_size"],
        },
        "kind": next((it for it in _KINDS if it in content), "text"),
        "contact": content.get("contact"),
        "location": content.get("location"),
    }  # fmt: skip


_KINDS = ("photo", "contact", "venue", "location", "document", "sticker")


def _keys(markup: Markup | None) -> list[list[dict[str, Any]]] | None:
    if markup is None:
        return None
    return [
        [
            {
                "label": it["text"],
                "asks": next(
                    (asks for asks in ("contact", "location") if f"request_{asks}" in it), None
                ),
            }
            for it in row
        ]
        for row in markup["keyboard"]
    ]


def _given_file(**more: Any) -> Given:
    request.max_content_length = BODY_BYTES_MAX
    return given("number", caption="", bytes_base64=None, size=None, **more)


def _bytes(it: Given) -> bytes | None:
    """The file's bytes: as given, or a picture of the wanted size; None: neither was asked for."""
    encoded, size = it.maybe_text("bytes_base64"), it.maybe_whole("size")
    try:
        if encoded is not None:
            return base64.b64decode(encoded, validate=True)
        return None if size is None else pictures.of_bytes(min(size, FILE_BYTES_MAX))
    except binascii.Error:
        raise Wrong(400, "bytes_base64: cannot be decoded") from None
    except ValueError as wrong:
        raise Wrong(400, f"size: {wrong}") from None
