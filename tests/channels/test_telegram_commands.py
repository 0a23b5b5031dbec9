"""`python -m channels.telegram`: polling without an address, the webhook set, how it goes."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from channels.telegram import __main__ as commands
from channels.telegram.sender import Telegram
from settings import Settings
from tests.channels.telegram_town import SECRET, Town
from tests.channels.telegram_town import town as open_town
from tests.flows import demo_market

pytestmark = pytest.mark.filterwarnings("ignore:.*retry_after.*")


@pytest.fixture(scope="module")
def town(new_database: Callable[[], Any]) -> Iterator[Town]:
    with new_database() as url:
        demo_market.load(url, Settings(sokoni_env="test").rules())
        with open_town(url) as made:
            yield made


@pytest.fixture
def telegram(town: Town) -> Telegram:
    assert isinstance(town.work.writer, Telegram)
    return town.work.writer


@pytest.fixture
def settings(town: Town, telegram: Telegram) -> Settings:
    """Of a process that talks to this town's Telegram."""
    return town.settings.model_copy(
        update={
            "telegram_base_url": telegram._account.base_url,
            "public_base_url": "https://sokoni.example",
        }
    )


def test_the_webhook_is_set_with_its_secret_and_the_updates_we_read(
    town: Town, settings: Settings, telegram: Telegram
) -> None:
    town.world.advance(2)  # Telegram takes one such call a second
    before = town.world.telegram.updates.webhook
    commands.set_webhook(settings, telegram)
    hook = town.world.telegram.updates.webhook
    assert hook.url == f"https://sokoni.example/channels/telegram/{SECRET}"
    assert hook.secret == SECRET
    assert set(hook.allowed) == {"message", "callback_query", "my_chat_member"}
    town.world.telegram.updates.webhook = before


def test_people_are_shown_our_commands_in_their_language(town: Town, telegram: Telegram) -> None:
    commands.set_commands(telegram)
    shown = {each["command"]: each["description"] for each in town.world.telegram.commands("sw")}
    assert shown == {
        "menu": "Soko",
        "orders": "Oda zangu",
        "language": "Lugha / Language",
        "help": "Msaada",
    }
    assert {each["description"] for each in town.world.telegram.commands("fr")} >= {"My orders"}


def test_how_updates_come_is_told_without_the_secret_address(
    town: Town, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(commands.all_settings, "from_environment", lambda needs: settings)
    monkeypatch.setattr(commands.logs, "configure", lambda level: None)
    assert commands.main(["--info"]) == 0
    told = capsys.readouterr().out
    assert json.loads(told)["url"] == "set"
    assert SECRET not in told


def test_a_wrong_token_is_said_in_a_line(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    wrong = settings.model_copy(update={"telegram_base_url": f"{settings.telegram_base_url}/x"})
    monkeypatch.setattr(commands.all_settings, "from_environment", lambda needs: wrong)
    monkeypatch.setattr(commands.logs, "configure", lambda level: None)
    assert commands.main(["--set-webhook"]) == 1
    assert capsys.readouterr().err == "Telegram says no: wrong_token\n"


def test_polling_takes_updates_as_the_webhook_would_and_each_once(
    town: Town, settings: Settings, telegram: Telegram
) -> None:
    town.world.advance(2)
    before = town.world.telegram.updates.webhook
    amina = town.person("Amina")
    town.world.telegram.share_contact(amina.number)
    commands.poll(settings, telegram, town.database, rounds=2)
    town.settle()
    assert amina.speaks_for() == amina.number
    town.world.telegram.tap(amina.number, None, label="6 My account")
    commands.poll(settings, telegram, town.database, rounds=2)
    town.settle()
    assert amina.seen.startswith("Amina, Toi Market")
    assert amina.toasts == [""]
    town.world.telegram.updates.webhook = before
