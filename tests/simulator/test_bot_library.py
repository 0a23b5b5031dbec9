"""python-telegram-bot meets the pretend Telegram over real HTTP, as the system does."""

import asyncio
import random
from datetime import datetime, timedelta

import pytest
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    Update,
)
from telegram.constants import ParseMode
from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, NetworkError, RetryAfter

from simulator import pictures
from simulator.server import Server, listen
from simulator.world import Place, World
from tests.simulator.pretend import PAYER, START, Outside

TOKEN = Place().telegram_token


@pytest.fixture
def outside():
    return Outside()


@pytest.fixture
def served(outside):
    """The world behind a real socket, its clock virtual."""
    world = World(Place(), virtual_from=START, chance=random.Random(1), post=outside)
    server = Server(world, listen("127.0.0.1", 0))
    server.start()
    yield world, server.url
    server.stop()


@pytest.fixture
def with_bot(served):
    """Runs a story with the library's Bot."""
    _, url = served

    def run(story, token=TOKEN):
        async def told():
            bot = Bot(
                token,
                base_url=f"{url}/telegram/bot",
                base_file_url=f"{url}/telegram/file/bot",
            )
            try:
                return await story(bot)
            finally:
                await bot.request.shutdown()

        return asyncio.run(told())

    return run


@pytest.fixture
def chat_id(served):
    """PAYER has pressed Start."""
    world, _ = served
    world.telegram.start(PAYER)
    return world.telegram.chat(PAYER).id


def test_the_library_sends_edits_answers_and_fetches_a_file(served, with_bot, chat_id, outside):
    world, _ = served
    menu = InlineKeyboardMarkup([[InlineKeyboardButton("Buy", callback_data="3:buy")]])

    async def story(bot):
        sent = await bot.send_message(
            chat_id, "<b>Karibu</b>", parse_mode=ParseMode.HTML, reply_markup=menu
        )
        assert (sent.text, sent.text_html, sent.chat.type) == ("Karibu", "<b>Karibu</b>", "private")
        assert sent.date == START.replace(microsecond=0)
        assert sent.reply_markup.inline_keyboard[0][0].callback_data == "3:buy"
        world.telegram.tap(PAYER, sent.message_id, label="Buy")
        world.advance(0)
        query = Update.de_json(outside.updates()[-1], bot).callback_query
        assert (query.data, query.message.message_id) == ("3:buy", sent.message_id)
        assert await query.answer("Sawa")
        edited = await query.edit_message_text("Which?")
        assert (edited.message_id, edited.text) == (sent.message_id, "Which?")
        world.telegram.send_picture(PAYER, pictures.sample("rotten"), "Rotten")
        world.advance(0)
        photo = Update.de_json(outside.updates()[-1], bot).message.photo
        file = await bot.get_file(photo[-1].file_id)
        assert bytes(await file.download_as_bytearray()) == pictures.sample("rotten")
        shown = await bot.send_photo(chat_id, pictures.sample("good"), caption="Good")
        assert (shown.caption, shown.photo[-1].width) == ("Good", pictures.WIDTH)

    with_bot(story)
    assert [each.text for each in world.telegram.chat(PAYER).toasts] == ["Sawa"]


def test_the_library_shows_keys_commands_and_itself(served, with_bot, chat_id):
    world, _ = served
    keys = ReplyKeyboardMarkup([[KeyboardButton("Share my number", request_contact=True)]])

    async def story(bot):
        await bot.send_message(chat_id, "Who are you?", reply_markup=keys)
        assert world.telegram.chat(PAYER).keyboard["keyboard"][0][0]["request_contact"] is True
        await bot.send_message(chat_id, "Asante", reply_markup=ReplyKeyboardRemove())
        assert await bot.set_my_commands([("orders", "My orders")])
        (command,) = await bot.get_my_commands()
        assert command.description == "My orders"
        assert (await bot.get_me()).username == "SokoniBot"
        assert await bot.send_chat_action(chat_id, "typing")

    with_bot(story)
    assert world.telegram.chat(PAYER).keyboard is None


def test_every_kind_of_update_is_one_to_the_library(served, outside, with_bot):
    world, _ = served
    telegram = world.telegram
    telegram.updates.set_webhook(telegram.updates.webhook.url, allowed=[])
    telegram.start(PAYER, "token")
    first = telegram.say(PAYER, "2 bags")
    telegram.edit_own(PAYER, first.id, "3 bags")
    telegram.share_contact(PAYER)
    telegram.share_contact(PAYER, "+254700000001", is_forwarded=True)
    telegram.share_location(PAYER, -1.3, 36.8, venue="Toi")
    telegram.send_picture(PAYER, pictures.blank(10, 10))
    telegram.send_document(PAYER, b"x", "a.txt", "text/plain")
    telegram.send_sticker(PAYER, "🍅")
    telegram.block(PAYER)
    telegram.unblock(PAYER)
    world.advance(0)

    async def story(bot):
        return [Update.de_json(each, bot) for each in outside.updates()]

    found = with_bot(story)
    assert len(found) == 11
    assert all(each.effective_user.id == telegram.chat(PAYER).id for each in found)
    assert all(not each.api_kwargs for each in found)
    messages = [each.message for each in found if each.message]
    assert all(not each.api_kwargs for each in messages)


def errors(served, chat_id):
    """What goes wrong, what the library raises, and what it says."""
    world, _ = served
    phone = world.telegram
    return {
        "blocked": (lambda: phone.block(PAYER), Forbidden, "bot was blocked by the user"),
        "deactivated": (lambda: phone.deactivate(PAYER), Forbidden, "user is deactivated"),
        "flood": (
            lambda: (
                world.rulebook.change({"telegram_chat_rate": 0.2, "telegram_chat_burst": 1})
                and phone.send(chat_id, {"text": "x"}, None)
            ),
            RetryAfter,
            "Flood control exceeded",
        ),
        "server": (
            lambda: world.rulebook.change(
                {"faults": [{"fault": "server_error", "on": "telegram", "times": 1}]}
            ),
            NetworkError,
            "Internal Server Error",
        ),
        "reset": (
            lambda: world.rulebook.change(
                {"faults": [{"fault": "reset", "on": "telegram", "when": "after", "times": 1}]}
            ),
            NetworkError,
            "httpx",
        ),
    }


@pytest.mark.parametrize("name", ["blocked", "deactivated", "flood", "server", "reset"])
def test_what_goes_wrong_is_raised_as_what_it_is(served, with_bot, chat_id, name, monkeypatch):
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    go_wrong, kind, says = errors(served, chat_id)[name]
    go_wrong()
    with pytest.raises(kind, match=says) as raised:
        with_bot(lambda bot: bot.send_message(chat_id, "x"))
    if kind is RetryAfter:
        assert raised.value.retry_after == timedelta(seconds=5)


def test_wrong_calls_are_bad_requests(with_bot, chat_id):
    async def story(bot):
        sent = await bot.send_message(chat_id, "x")
        with pytest.raises(BadRequest, match="Message is not modified"):
            await sent.edit_text("x")
        with pytest.raises(BadRequest, match="Chat not found"):
            await bot.send_message(1, "x")
        with pytest.raises(BadRequest, match="Message to edit not found"):
            await bot.edit_message_text("x", chat_id, 1)
        with pytest.raises(BadRequest, match="Query is too old"):
            await bot.answer_callback_query("1")
        with pytest.raises(BadRequest, match="Can't parse entities"):
            await bot.send_message(chat_id, "<x>", parse_mode=ParseMode.HTML)
        long = InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data="x" * 65)]])
        with pytest.raises(BadRequest, match="Button_data_invalid"):
            await bot.send_message(chat_id, "x", reply_markup=long)
        with pytest.raises(BadRequest, match="Wrong file_id"):
            await bot.get_file("none")

    with_bot(story)


@pytest.mark.parametrize("token", ["7000000000:wrong", "no:token"])
def test_a_wrong_token_is_an_invalid_one(with_bot, token):
    with pytest.raises(InvalidToken):
        with_bot(lambda bot: bot.get_me(), token)


def test_the_library_fetches_updates_once_the_webhook_is_gone(served, with_bot, outside):
    world, _ = served

    async def story(bot):
        with pytest.raises(Conflict):
            await bot.get_updates()
        assert await bot.delete_webhook()
        world.telegram.start(PAYER)
        (update,) = await bot.get_updates()
        assert update.message.text == "/start"
        assert await bot.get_updates(offset=update.update_id + 1) == ()
        world.advance(1)
        assert await bot.set_webhook(
            "https://shop.example/hook", secret_token="s", allowed_updates=["message"]
        )
        info = await bot.get_webhook_info()
        assert (info.url, info.allowed_updates) == ("https://shop.example/hook", ("message",))
        assert isinstance(update.message.date, datetime)

    with_bot(story)
    assert outside.updates() == []
