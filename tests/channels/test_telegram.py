"""Telegram over real HTTP: people in their chats with us, and whatever else is posted."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from core import disputes, evidence, links
from core.database import Database
from core.storage import Folder
from settings import Settings
from simulator import pictures
from simulator.telegram import Message
from tests.channels.telegram_town import HEADERS, PATH, Person, Town
from tests.channels.telegram_town import town as open_town
from tests.flows import demo_market
from tests.flows.handset import Clock, Handset, WebLine
from tests.flows.street import Street

USSD = "/channels/ussd/africastalking/sandbox-path-secret"
HOME = ["1 Buy", "2 My orders"]
TOI_MARKET = (-1.3080, 36.7760)  # beside it
AT_SEA = (-10.0, 60.0)


@pytest.fixture(scope="module")
def town(
    new_database: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    with new_database() as url:
        demo_market.load(url, Settings(sokoni_env="test").rules())
        with open_town(url, Folder(tmp_path_factory.mktemp("evidence"))) as made:
            yield made


@pytest.fixture
def amina(town: Town) -> Person:
    """A member whose chat speaks for her phone, with the menu before her."""
    amina = town.person("Amina")
    amina.join()
    assert amina.buttons[:2] == HOME
    return amina


@pytest.fixture
def handset(town: Town) -> Callable[[Person], Handset]:
    """The same person's plain phone."""

    def of(person: Person) -> Handset:
        client = town.app.test_client()
        return Handset(WebLine(client, USSD), Clock(town.database.clock()), person.number)

    return of


def told(message: Message) -> str:
    return str(message.content.get("text", ""))


# --- who speaks


def test_whoever_has_proved_no_phone_is_asked_to_share_it(town: Town) -> None:
    someone = town.person()
    someone.say("Hello?")
    assert "share your phone number" in someone.seen
    assert someone.keys == ["Share my phone number"]


def test_a_stranger_is_asked_in_the_language_of_the_client(town: Town) -> None:
    someone = town.person(telegram="sw")
    someone.start()
    assert someone.seen.startswith("Karibu Sokoni.")
    assert someone.keys == ["Tuma nambari yangu ya simu"]


def test_ones_own_contact_joins_the_member_and_takes_the_key_away(town: Town) -> None:
    amina = town.person("Amina")
    amina.join()
    assert amina.speaks_for() == amina.number
    assert [told(message) for message in amina.from_bot[-2:]] == [
        "Thank you. This chat now speaks for your phone.",
        "Sokoni. Welcome, Amina.",
    ]
    assert amina.buttons[:2] == HOME
    assert amina.keys == []


@pytest.mark.parametrize("form", ["plain", "plus", "local"])
def test_a_contacts_number_is_understood_however_it_is_written(town: Town, form: str) -> None:
    amina = town.person("Amina")
    with town.rules(contact_form=form):
        amina.join()
    assert amina.speaks_for() == amina.number


@pytest.mark.parametrize("how", ["somebody's", "without_user_id", "forwarded"])
def test_a_contact_that_is_not_surely_ones_own_proves_nothing(town: Town, how: str) -> None:
    amina, victim = town.person("Amina"), town.person("Zawadi")
    amina.start()
    match how:
        case "somebody's":
            amina.share(victim)
        case "without_user_id":
            amina.share(with_user_id=False)
        case _:
            amina.share(is_forwarded=True)
    assert amina.speaks_for() is None
    assert amina.seen.startswith("That is not your own number")
    assert amina.keys == ["Share my phone number"]


def test_a_stranger_registers_in_the_chat_and_the_pin_does_not_stay_in_it(town: Town) -> None:
    someone = town.person()
    someone.join()
    someone.tap("English")
    someone.say("Neema")
    someone.say("Toi Market")
    someone.tap("1 Toi Market, Nairobi")
    someone.tap(someone.buttons[0])  # she agrees
    someone.say("7391")
    assert "Neema" in someone.seen
    member = someone.member()
    assert member is not None
    assert member.name == "Neema"
    texts = [told(message) for message in someone.chat.messages.values()]
    assert "7391" not in texts
    assert "Neema" in texts


def test_a_number_that_is_no_pin_stays_in_the_chat(amina: Person) -> None:
    amina.say("7391")
    assert "7391" in [told(message) for message in amina.chat.messages.values()]


# --- screens and buttons


def test_a_tap_changes_the_message_that_was_tapped(amina: Person) -> None:
    menu = amina.from_bot[-1]
    amina.tap("My account")
    assert amina.from_bot[-1].id == menu.id
    assert amina.seen.startswith("Amina, Toi Market")
    assert amina.buttons[-1] == "0 Back"


def test_what_is_typed_is_answered_below_it(amina: Person) -> None:
    menu = amina.from_bot[-1]
    amina.say("6")
    assert amina.from_bot[-1].id > menu.id
    assert amina.seen.startswith("Amina, Toi Market")


def test_every_tap_is_answered_so_that_no_button_spins(amina: Person) -> None:
    amina.tap("My account")
    amina.tap("0 Back")
    assert amina.toasts == ["", ""]


def test_a_tap_on_an_old_screen_draws_the_present_one_below(town: Town, amina: Person) -> None:
    old = amina.from_bot[-1]
    old_data = old.buttons["inline_keyboard"][0][0]["callback_data"]  # type: ignore[index]
    amina.say("6")
    amina.say("2")  # My name
    asked = amina.seen
    amina.tap(data=old_data, message=old.id)
    assert amina.seen == asked
    assert amina.from_bot[-1].id > old.id
    assert told(old).startswith("Sokoni. Welcome")


@pytest.mark.parametrize(
    "data",
    ["1:1", "999999999:1", "-5:1", "x", ":", "1:", ":1", "٣:١", "1:1:1", "1e1:1", "\N{SNAKE}" * 16],
)
def test_forged_button_data_moves_nothing(amina: Person, data: str) -> None:
    amina.tap("My account")
    before = amina.seen
    amina.tap(data=data, message=amina.from_bot[-1].id)
    assert amina.seen == before


def test_an_option_that_the_screen_does_not_have_is_met_with_a_hint(amina: Person) -> None:
    turn = amina.from_bot[-1].buttons["inline_keyboard"][0][0]["callback_data"].split(":")[0]  # type: ignore[index]
    amina.tap(data=f"{turn}:77", message=amina.from_bot[-1].id)
    assert amina.seen.startswith("Choose a number shown.")


def test_a_tap_on_a_message_too_old_to_be_had_is_a_tap_all_the_same(
    town: Town, amina: Person
) -> None:
    town.world.telegram.tap(amina.number, None, label="6 My account", is_inaccessible=True)
    town.settle()
    assert amina.seen.startswith("Amina, Toi Market")


def test_a_button_of_somebody_elses_message_does_nothing(town: Town, amina: Person) -> None:
    other = town.person("Zawadi")
    other.join()
    menu = amina.seen
    theirs = other.from_bot[-1]
    stolen = {
        "id": "4711",
        "from": amina.chat.person,
        "message": {
            "message_id": theirs.id,
            "date": 1,
            "chat": {"id": other.chat.id, "type": "private"},
        },
        "chat_instance": "1",
        "data": theirs.buttons["inline_keyboard"][3][0]["callback_data"],  # type: ignore[index]
    }
    town.world.telegram.updates.put_raw({"callback_query": stolen})
    town.settle()
    assert other.seen.startswith("Sokoni. Welcome, Zawadi.")
    assert amina.seen == menu


def test_a_last_screen_has_a_button_that_leads_on_and_stays_itself(amina: Person) -> None:
    amina.tap("My orders")
    last = amina.seen
    assert amina.buttons == ["Menu"]
    amina.tap("Menu")
    assert amina.buttons[:2] == HOME
    assert told(amina.from_bot[-2]) == last


def test_a_text_of_4096_characters_is_met_with_a_hint(amina: Person) -> None:
    amina.say("nyanya " * 585)
    assert amina.seen.startswith("That was too long.")


def test_a_sticker_gets_the_present_screen_again(town: Town, amina: Person) -> None:
    amina.tap("My account")
    town.world.telegram.send_sticker(amina.number, "\N{TOMATO}")
    town.settle()
    assert amina.seen.startswith("Amina, Toi Market")
    assert len([it for it in amina.from_bot if told(it).startswith("Amina, Toi")]) == 2


def test_an_edited_message_says_nothing_new(town: Town, amina: Person) -> None:
    amina.say("6")
    written = next(it for it in amina.chat.messages.values() if told(it) == "6")
    before = len(amina.from_bot)
    town.world.telegram.edit_own(amina.number, written.id, "1")
    town.settle()
    assert len(amina.from_bot) == before


# --- commands


@pytest.mark.parametrize(
    ("command", "begins"),
    [
        ("/menu", "Sokoni. Welcome, Amina."),
        ("/start", "Sokoni. Welcome, Amina."),
        ("/START@SokoniBot", "Sokoni. Welcome, Amina."),
        ("/orders", "You have no orders yet"),
        ("/deals", "Safe Pay: "),
        ("/language", "Lugha / Language"),
        ("/help", "We keep your money until you have the goods."),
    ],
)
def test_commands_lead_to_their_screens(amina: Person, command: str, begins: str) -> None:
    amina.say("6")
    amina.say(command)
    assert amina.seen.startswith(begins)


def test_commands_of_whoever_has_proved_no_phone_ask_for_it(town: Town) -> None:
    someone = town.person()
    for command in ("/orders", "/deals", "/language", "/help", "/menu"):
        someone.say(command)
        assert "share your phone number" in someone.seen


def test_commands_of_whoever_is_no_member_lead_to_registering(town: Town) -> None:
    someone = town.person()
    someone.join()
    for command in ("/orders", "/language", "/help", "/menu"):
        someone.say(command)
        assert "Lugha / Language" in someone.seen


def test_an_unknown_command_is_an_answer_like_any_other(amina: Person) -> None:
    amina.say("/fly")
    assert amina.seen.startswith("Choose a number shown.")


# --- once, however often it comes


@pytest.mark.parametrize("together", [False, True])
def test_an_update_that_comes_three_times_is_taken_once(
    town: Town, amina: Person, together: bool
) -> None:
    with town.rules(next_update=[{"update_repeats": 3, "update_together": together}]):
        amina.say("6")
    assert amina.seen.startswith("Amina, Toi Market")
    assert len([it for it in amina.from_bot if told(it).startswith("Amina, Toi")]) == 1


def test_an_update_whose_acknowledgement_was_lost_is_answered_by_one_message(
    town: Town, amina: Person
) -> None:
    with town.rules(next_update=[{"update_lost": 1}]):
        amina.say("6")
    assert len([it for it in amina.from_bot if told(it).startswith("Amina, Toi")]) == 1


def test_being_asked_for_the_phone_is_not_repeated_with_the_update(town: Town) -> None:
    someone = town.person()
    with town.rules(next_update=[{"update_repeats": 3}]):
        someone.start()
    assert len(someone.from_bot) == 1


def test_a_contact_that_comes_twice_is_thanked_for_once(town: Town) -> None:
    amina = town.person("Amina")
    amina.start()
    with town.rules(next_update=[{"update_repeats": 2}]):
        amina.share()
    assert len([it for it in amina.from_bot if told(it).startswith("Thank you")]) == 1


def test_a_message_and_a_tap_at_the_same_moment_are_taken_one_after_the_other(
    town: Town, amina: Person
) -> None:
    with town.rules(update_gather=2):
        town.world.telegram.tap(amina.number, None, label="6 My account")
        town.world.telegram.say(amina.number, "6")
        town.settle()
    turns = town.value(
        "SELECT turn FROM conversations WHERE channel = 'telegram' AND address = %(id)s",
        id=str(amina.chat.id),
    )
    labels = town.value(
        "SELECT array_agg(label ORDER BY created_at) FROM hops WHERE session = %(session)s",
        session=f"telegram:{amina.chat.id}",
    )
    # Whichever was first: the tap is of the first screen, so behind the text it is stale.
    assert sorted(labels[1:]) in (["account.menu", "share.pin"], ["account.menu", "account.menu"])
    assert turns >= 3


# --- places and photos


def test_a_members_location_moves_her_to_the_nearest_place(town: Town, amina: Person) -> None:
    town.value(
        """
        UPDATE members SET place_id = (SELECT id FROM places WHERE name LIKE 'Kongowea%%' LIMIT 1)
        WHERE msisdn = %(m)s RETURNING 1
        """,
        m=amina.number,
    )
    town.world.telegram.share_location(amina.number, *TOI_MARKET)
    town.settle()
    texts = [told(message) for message in amina.from_bot]
    (said,) = [text for text in texts if text.startswith("Your place is now")]
    place = re.fullmatch(r"Your place is now (.+)\.", said)
    assert place is not None
    assert place[1] == town.value(
        "SELECT p.name FROM members m JOIN places p ON p.id = m.place_id WHERE m.msisdn = %(m)s",
        m=amina.number,
    )
    assert amina.buttons[:2] == HOME


def test_a_location_where_we_know_no_place_changes_nothing(town: Town, amina: Person) -> None:
    town.world.telegram.share_location(amina.number, *AT_SEA, venue="A ship")
    town.settle()
    assert "We know no market or village near there. You can type its name." in [
        told(message) for message in amina.from_bot
    ]
    member = amina.member()
    assert member is not None
    assert (
        town.value("SELECT name FROM places WHERE id = %(id)s", id=member.place_id) == "Toi Market"
    )


def test_a_location_answers_where_a_stranger_is_while_registering(town: Town) -> None:
    someone = town.person()
    someone.join()
    someone.tap("English")
    someone.say("Neema")
    town.world.telegram.share_location(someone.number, *TOI_MARKET)
    town.settle()
    assert someone.seen.startswith("Choose your place")
    assert any("Nairobi" in label for label in someone.buttons)


@pytest.fixture
def dispute_id(town: Town, amina: Person) -> UUID:
    """She has reported a problem with an order of hers."""
    with town.database.begin() as db:
        street = Street(db, Clock(town.database.clock()), town.settings.rules(), amina.number)
        street.put_in_basket(1, "Honey", "Mutua Grains")
        street.place()
        street.pay()
        (order,) = street.bought("paid")
        street.dispatch(order)
        opened = disputes.open(db, order.id, street.owner, "rotten", None, town.database.clock())
        assert opened == "opened"
        found = disputes.of_order(db, order.id)
        assert found is not None
    town.settle(8)  # she hears of it all
    return found.id


def photos(town: Town, dispute_id: UUID) -> list[evidence.Photo]:
    with town.database.begin() as db:
        return evidence.photos(db, dispute_id)


def test_a_photo_goes_with_the_problem_that_was_reported(
    town: Town, amina: Person, dispute_id: UUID
) -> None:
    picture = pictures.of_bytes(60_000)
    town.world.telegram.send_picture(amina.number, picture, "Rotten!")
    town.settle()
    (kept,) = photos(town, dispute_id)
    assert kept.bytes == 60_000
    assert town.work.storage is not None
    assert town.work.storage.get(kept.key) == picture
    assert amina.seen == "Thank you. Your photo is kept with the problem you reported."


def test_a_picture_sent_as_a_file_is_a_photo_too(
    town: Town, amina: Person, dispute_id: UUID
) -> None:
    picture = pictures.of_bytes(50_000)
    town.world.telegram.send_document(amina.number, picture, "tomatoes.png", "image/png")
    town.settle()
    assert len(photos(town, dispute_id)) == 1


def test_a_photo_without_a_problem_is_met_with_the_way_to_report_one(
    town: Town, amina: Person
) -> None:
    town.world.telegram.send_picture(amina.number, pictures.of_bytes(50_000))
    town.settle()
    assert "Report the problem first" in amina.seen


@pytest.mark.parametrize(
    ("content", "name", "kind", "answer"),
    [
        (b"%PDF-1.7" * 100, "list.pdf", "application/pdf", "That is not a picture"),
        (b"no picture at all" * 9, "photo.jpg", "image/jpeg", "That is not a picture"),
        (b"\xff\xd8\xff" + bytes(20_000_000), "big.jpg", "image/jpeg", "That file is too large"),
    ],
    ids=["a document", "no picture", "20 MB"],
)
def test_what_is_no_photo_is_refused_politely(
    town: Town, amina: Person, dispute_id: UUID, content: bytes, name: str, kind: str, answer: str
) -> None:
    town.world.telegram.send_document(amina.number, content, name, kind)
    town.settle()
    assert amina.seen.startswith(answer)
    assert photos(town, dispute_id) == []


def test_photos_of_whoever_has_proved_no_phone_ask_for_it(town: Town) -> None:
    someone = town.person()
    town.world.telegram.send_picture(someone.number, pictures.of_bytes(50_000))
    town.settle()
    assert "share your phone number" in someone.seen


# --- links


def link_on(phone: Handset) -> str:
    """Ask for a link on a plain phone; its token."""
    phone.dial()
    phone.reply("6")
    phone.choose("Telegram")
    if phone.seen.label == "link.linked":
        phone.reply("1")
    shown = phone.reply("2580").text
    token = re.search(r"/start ([2-9A-HJ-NP-Z]{8})\n", shown)
    assert token is not None, shown
    assert f"t.me/SokoniBot?start={token[1]}" in shown
    return token[1]


def test_a_link_asked_for_on_the_phone_lets_another_numbers_telegram_speak_for_it(
    town: Town, handset: Callable[[Person], Handset]
) -> None:
    amina, other_line = town.person("Amina"), town.person()
    other_line.start(link_on(handset(amina)))
    assert other_line.speaks_for() == amina.number
    assert other_line.seen == "Sokoni. Welcome, Amina."


def test_the_phone_itself_hears_that_a_chat_speaks_for_it(
    town: Town, handset: Callable[[Person], Handset]
) -> None:
    amina, other_line = town.person("Amina"), town.person()
    town.sms.sent.clear()
    other_line.start(link_on(handset(amina)))
    ((number, text),) = town.sms.sent
    assert number == amina.number
    assert text.startswith("A Telegram chat now speaks for your Sokoni account.")
    assert not [it for it in other_line.from_bot if told(it).startswith("A Telegram chat now")]


def test_a_token_is_good_once(town: Town, handset: Callable[[Person], Handset]) -> None:
    amina, first, second = town.person("Amina"), town.person(), town.person()
    token = link_on(handset(amina))
    first.start(token)
    second.start(token)
    assert second.speaks_for() is None
    assert second.seen.startswith("That link is used or too old.")
    assert second.keys == ["Share my phone number"]


def test_a_token_is_good_for_a_quarter_of_an_hour(
    town: Town, handset: Callable[[Person], Handset]
) -> None:
    amina, late = town.person("Amina"), town.person()
    token = link_on(handset(amina))
    town.world.advance(links.GOOD_FOR.total_seconds() + 1)
    late.start(token)
    assert late.speaks_for() is None


def test_a_new_token_ends_the_one_before(town: Town, handset: Callable[[Person], Handset]) -> None:
    amina, late = town.person("Amina"), town.person()
    old = link_on(handset(amina))
    link_on(handset(amina))
    late.start(old)
    assert late.speaks_for() is None


def test_a_token_may_be_typed_in_small_letters(
    town: Town, handset: Callable[[Person], Handset]
) -> None:
    amina, other_line = town.person("Amina"), town.person()
    other_line.start(link_on(handset(amina)).lower())
    assert other_line.speaks_for() == amina.number


@pytest.mark.parametrize("payload", ["", "buy", "A" * 64, "' OR 1=1 --", "2345678"])
def test_a_start_with_anything_else_proves_nothing(town: Town, payload: str) -> None:
    someone = town.person()
    someone.start(payload)
    assert someone.speaks_for() is None


def test_a_chat_that_speaks_for_another_phone_is_asked_first(
    town: Town, amina: Person, handset: Callable[[Person], Handset]
) -> None:
    zawadi = town.person("Zawadi", "sw")
    amina.start(link_on(handset(zawadi)))
    assert amina.seen == "This Telegram speaks for another phone. Change it?"
    assert amina.speaks_for() == amina.number
    amina.tap("Change")
    assert amina.speaks_for() == zawadi.number
    assert amina.seen == "Sokoni. Karibu, Zawadi."


def test_a_chat_may_stay_with_its_phone(
    town: Town, amina: Person, handset: Callable[[Person], Handset]
) -> None:
    zawadi = town.person("Zawadi")
    amina.start(link_on(handset(zawadi)))
    amina.tap("Leave it")
    assert amina.speaks_for() == amina.number
    assert amina.seen == "Sokoni. Welcome, Amina."


def test_ones_own_contact_in_a_chat_of_another_phone_is_asked_about_too(
    town: Town, handset: Callable[[Person], Handset]
) -> None:
    amina, borrowed = town.person("Amina"), town.person("Zawadi")
    borrowed.start(link_on(handset(amina)))
    assert borrowed.speaks_for() == amina.number
    borrowed.share()
    assert borrowed.seen == "This Telegram speaks for another phone. Change it?"
    borrowed.tap("Change")
    assert borrowed.speaks_for() == borrowed.number


def test_the_phone_unlinks_its_chats(
    town: Town, amina: Person, handset: Callable[[Person], Handset]
) -> None:
    phone = handset(amina)
    phone.dial()
    phone.choose("My account")
    phone.choose("Telegram")
    assert phone.choose("Unlink Telegram").ends
    assert amina.speaks_for() is None
    amina.tap("Buy")
    assert "share your phone number" in amina.seen


def test_a_chat_that_unlinks_itself_is_told_so_once(town: Town, amina: Person) -> None:
    amina.tap("My account")
    amina.tap("Telegram")
    with town.rules(next_update=[{"update_repeats": 3}]):
        amina.tap("Unlink Telegram")
    assert amina.seen.startswith("Telegram is unlinked.")
    assert amina.keys == []


def test_a_chat_unlinks_itself(town: Town, amina: Person) -> None:
    amina.tap("My account")
    amina.tap("Telegram")
    amina.tap("Unlink Telegram")
    assert amina.seen.startswith("Telegram is unlinked.")
    assert amina.speaks_for() is None


def test_a_wrong_pin_makes_no_link(town: Town, handset: Callable[[Person], Handset]) -> None:
    phone = handset(town.person("Amina"))
    phone.dial()
    phone.choose("My account")
    phone.choose("Telegram")
    assert phone.reply("1470").text.startswith("That is not your PIN.")


# --- across channels


def test_what_was_begun_on_the_phone_is_finished_in_the_chat(
    town: Town, amina: Person, handset: Callable[[Person], Handset]
) -> None:
    phone = handset(amina)
    phone.dial()
    phone.choose("Buy")
    phone.choose(next(line.partition(" ")[2] for line in phone.seen.lines if line[:2] == "1 "))
    town.world.advance(60)
    amina.start()
    assert amina.seen.startswith("Welcome back, Amina. You had not finished")
    amina.tap("Continue")
    shown = amina.seen
    # The older screen, answered late, shows where it stands now, and takes it back.
    assert phone.reply("1").text.startswith(shown)


# --- here and gone


def test_a_person_who_blocked_us_is_unreachable_until_she_is_back(
    town: Town, amina: Person
) -> None:
    def lost() -> bool:
        found: bool = town.value(
            "SELECT EXISTS (SELECT FROM unreachable WHERE address = %(id)s)", id=str(amina.chat.id)
        )
        return found

    town.world.telegram.block(amina.number)
    town.settle()
    assert lost()
    town.world.telegram.unblock(amina.number)
    town.settle()
    assert not lost()


# --- whatever else is posted


@pytest.fixture
def client(town: Town) -> FlaskClient:
    return town.app.test_client()


def message(**more: Any) -> dict[str, Any]:
    person = {"id": 77, "is_bot": False, "first_name": "A"}
    return {
        "message_id": 1,
        "date": 1_790_000_000,
        "chat": {"id": 77, "type": "private"},
        "from": person,
        **more,
    }


GROUP = {"id": -100, "type": "supergroup", "title": "Market"}


@pytest.mark.parametrize(
    "update",
    [
        {"update_id": 1},
        {"update_id": 2, "message": None},
        {"update_id": 3, "message": {}},
        {"update_id": 4, "message": 5},
        {"update_id": 5, "message": message(**{"from": {"id": 77, "first_name": "A"}}, text="hi")},
        {"update_id": 6, "message": message(chat=GROUP, text="/start")},
        {"update_id": 7, "channel_post": {"message_id": 1, "date": 1, "chat": GROUP, "text": "x"}},
        {"update_id": 8, "edited_message": message(text="hi", edit_date=2)},
        {"update_id": 9, "poll_of_the_future": {"id": 1}},
        {"update_id": 10, "message": message(text=5)},
        {"update_id": 11, "message": message(text=["x"])},
        {"update_id": 12, "message": message(date="yesterday", text="hi")},
        {"update_id": 13, "message": message(date=10**30, text="hi")},
        {"update_id": 14, "message": message(chat={"id": 2**60, "type": "private"}, text="hi")},
        {"update_id": 15, "message": message(chat={"id": "77", "type": "private"}, text="hi")},
        {"update_id": 16, "message": message(chat={"id": 78, "type": "private"}, text="hi")},
        {"update_id": "17", "message": message(text="hi")},
        {"update_id": -18, "message": message(text="hi")},
        {"update_id": 2**70, "message": message(text="hi")},
        {"update_id": True, "message": message(text="hi")},
        {"message": message(text="hi")},
        {"update_id": 19, "callback_query": {"id": "1", "from": {"id": 77}}},
        {"update_id": 20, "my_chat_member": {"chat": {"id": 77, "type": "private"}}},
        [],
        None,
        "update",
        5,
    ],
)
def test_what_is_no_update_of_ours_is_acknowledged_and_forgotten(
    town: Town, client: FlaskClient, update: Any
) -> None:
    before = town.value("SELECT count(*) FROM outbox")
    answer = client.post(PATH, json=update, headers=HEADERS)
    assert (answer.status_code, answer.data) == (200, b"")
    assert town.value("SELECT count(*) FROM outbox") == before


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"update_id":NaN}', b"x" * 2_000_000]
)
def test_what_is_no_json_is_acknowledged_and_forgotten(client: FlaskClient, body: bytes) -> None:
    answer = client.post(PATH, data=body, content_type="application/json", headers=HEADERS)
    assert (answer.status_code, answer.data) == (200, b"")


def test_half_a_surrogate_pair_and_nul_are_answers_like_any_other(
    town: Town, client: FlaskClient, amina: Person
) -> None:
    told = message(chat=amina.chat.place, text="\ud83c\0", **{"from": amina.chat.person})
    answer = client.post(PATH, json={"update_id": 21, "message": told}, headers=HEADERS)
    assert answer.status_code == 200
    town.settle()
    assert amina.seen.startswith("Choose a number shown.")


def test_a_callback_without_a_message_is_answered_and_moves_nothing_but_by_its_turn(
    client: FlaskClient, amina: Person
) -> None:
    query = {"id": "99", "from": amina.chat.person, "chat_instance": "1", "data": "0:1"}
    answer = client.post(PATH, json={"update_id": 22, "callback_query": query}, headers=HEADERS)
    assert answer.get_json() == {"method": "answerCallbackQuery", "callback_query_id": "99"}


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        (PATH.replace("sandbox", "another"), HEADERS, 404),
        ("/channels/telegram/", HEADERS, 404),
        (PATH, {}, 403),
        (PATH, {"X-Telegram-Bot-Api-Secret-Token": "sandbox-telegram-secre"}, 403),
        (PATH, {"X-Telegram-Bot-Api-Secret-Token": "\N{LATIN SMALL LETTER E WITH ACUTE}"}, 403),
    ],
)
def test_both_secrets_must_be_right(
    client: FlaskClient, path: str, header: dict[str, str], status: int
) -> None:
    answer = client.post(path, json={"update_id": 23}, headers=header)
    assert answer.status_code == status
    assert path == "/channels/telegram/" or answer.data == b""


def test_while_the_database_is_away_telegram_is_asked_to_come_again(town: Town) -> None:
    from app import create_app

    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    client: FlaskClient = create_app(town.settings, database=away).test_client()
    for told in (
        {"update_id": 24, "message": message(text="hi")},
        {"update_id": 25, "message": message(location={"latitude": 1.0, "longitude": 36.0})},
    ):
        answer = client.post(PATH, json=told, headers=HEADERS)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.data == b""
