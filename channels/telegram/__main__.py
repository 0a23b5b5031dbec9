"""Telegram from the command line: poll on a laptop, tell Telegram our address, ask how it goes.

python -m channels.telegram --poll          takes updates here, without a public address
python -m channels.telegram --set-webhook   once for each deployment, not for each process
python -m channels.telegram --info          whether updates arrive, and the last error
"""

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from time import sleep
from typing import Any, Final

from telegram import Bot, BotCommand
from telegram.error import TelegramError

import logs
import settings as all_settings
from channels.telegram import sender, words
from channels.telegram.chat import Desk
from channels.telegram.sender import Telegram, read_error
from channels.telegram.updates import read
from channels.ussd import Hopper
from core.database import Database
from core.errors import Unavailable
from flows.words import FALLBACK, common
from settings import Settings

ALLOWED_UPDATES: Final = ("message", "callback_query", "my_chat_member")
POLL_SECONDS: Final = 25
PAUSE_SECONDS: Final = 3.0  # after a failure


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m channels.telegram",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = parser.add_mutually_exclusive_group(required=True)
    for name in ("poll", "set-webhook", "info"):
        chosen.add_argument(f"--{name}", action="store_true")
    asked = parser.parse_args(arguments)
    needs = ("database_url",) if asked.poll else ()
    settings = all_settings.from_environment(needs=needs)
    logs.configure(settings.log_level)
    telegram = sender.connect(settings)
    try:
        if asked.poll:
            assert settings.database_url is not None, "needed, so it is there"
            poll(settings, telegram, Database(settings.database_url, size=2))
        elif asked.set_webhook:
            set_webhook(settings, telegram)
        else:
            print(json.dumps(info(telegram), indent=2))
    except TelegramError as error:
        print(f"Telegram says no: {read_error(error).code}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        telegram.close()
    return 0


def set_webhook(settings: Settings, telegram: Telegram) -> None:
    """Have updates posted to us from now on, and show people our commands. Raises TelegramError."""
    secret = settings.telegram_secret.get_secret_value()
    url = f"{settings.public_base_url}/channels/telegram/{secret}"
    telegram.run(
        lambda bot: bot.set_webhook(url, secret_token=secret, allowed_updates=ALLOWED_UPDATES)
    )
    set_commands(telegram)


def set_commands(telegram: Telegram) -> None:
    """The list of commands, in each language and for all others in English."""
    for language in (None, *common().languages):
        listed = [BotCommand(*pair) for pair in words.commands(language or FALLBACK)]
        telegram.run(partial(Bot.set_my_commands, commands=listed, language_code=language))


def info(telegram: Telegram) -> Mapping[str, Any]:
    """How updates come through, without the address, whose path is secret. Raises TelegramError."""
    told = telegram.run(lambda bot: bot.get_webhook_info()).to_dict()
    return {**told, "url": "set" if told.get("url") else "none"}


def poll(
    settings: Settings, telegram: Telegram, database: Database, rounds: int | None = None
) -> None:
    """Take updates one after the other, as the webhook would. One process only; Ctrl-C ends it.

    rounds: how often to ask; None: for ever. Raises TelegramError if the bot is not ours to poll.
    """
    hopper = Hopper(database, settings.rules(), seconds_max=settings.hop_seconds_max)
    desk = Desk(database, hopper, settings.rules())
    telegram.run(lambda bot: bot.delete_webhook())  # the two exclude each other
    set_commands(telegram)
    next_number, asked = 0, 0
    while rounds is None or asked < rounds:
        asked += 1
        try:
            next_number = _take(telegram, desk, next_number)
        except (TelegramError, Unavailable) as error:
            if isinstance(error, TelegramError) and read_error(error).code == "wrong_token":
                raise
            print(f"waiting: {type(error).__name__}", file=sys.stderr)
            sleep(PAUSE_SECONDS)


def _take(telegram: Telegram, desk: Desk, next_number: int) -> int:
    """One round. What it returns confirms, in the next one, that these were kept."""
    updates = telegram.run(
        lambda bot: bot.get_updates(
            offset=next_number, timeout=POLL_SECONDS, allowed_updates=ALLOWED_UPDATES
        ),
        seconds=POLL_SECONDS + 15,
    )
    for update in updates:
        told = read(update.to_dict())
        method = None if told is None else desk.take(told)
        if method is not None:
            _perform(telegram, method)
        next_number = update.update_id + 1
    return next_number


def _perform(telegram: Telegram, method: Mapping[str, Any]) -> None:
    """What a webhook's answer would have carried."""
    if method["method"] == "answerCallbackQuery":
        telegram.answer(method["callback_query_id"], method.get("text", ""))
    else:
        telegram.show(method["chat_id"], method["text"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
