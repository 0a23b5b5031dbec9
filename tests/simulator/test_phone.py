"""The terminal phone, over real HTTP, with a scripted application behind the code."""

import io
import random
import subprocess
import sys

import pytest

from simulator import phone
from simulator.outbound import Answer
from simulator.server import Server, listen
from simulator.world import World
from tests.simulator.pretend import PAYER, Outside
from tests.simulator.test_books import wish


@pytest.fixture
def street(monkeypatch):
    """A real-time world, quick, whose application asks for money and writes an SMS."""
    monkeypatch.setattr(phone, "PROMPT_SECONDS", 3.0)
    monkeypatch.setattr(phone, "AFTER_PAYING_SECONDS", 3.0)
    monkeypatch.setattr(phone, "POLL_SECONDS", 0.01)
    outside = Outside()
    world = World(chance=random.Random(7), post=outside)
    world.rulebook.change({"prompt_seconds": 0.1, "callback_seconds": 0.0})

    def answer(call):
        if "/stk/" in call.url:
            world.sms.send("SOKONI", PAYER, "Paid. Order 1042.", is_queued=False)
        if call.url.endswith("/events") or "/ussd/" not in call.url:
            return Answer(200, {}, "")
        text = call.form["text"]
        if text == "":
            return Answer(200, {}, "CON Karibu\n1. Pay\n2. Nothing")
        if text == "1":
            world.clock.after(0.2, lambda: world.mpesa.push(wish(PAYER, 2250)))
            return Answer(200, {}, "END Check your phone")
        return Answer(200, {}, f"CON You said [{text}]" if text != "2" else "END Bye")

    outside.answer = answer
    server = Server(world, listen("127.0.0.1", 0))
    server.start()
    yield server.url, world, outside
    server.stop()


@pytest.fixture
def say(street):
    """Type lines into a phone until they end; what it showed."""

    def say(*lines: str, number: str = PAYER) -> str:
        output = io.StringIO()
        calls = phone.World(street[0])
        piped = phone.Piped(io.StringIO("".join(line + "\n" for line in lines)))
        phone.Phone(calls, number, piped, output).run()
        calls.close()
        return output.getvalue()

    return say


def test_a_message_to_sokoni_is_sent_and_its_answer_shown(say, street):
    _, world, outside = street
    before = outside.answer

    def answer(call):
        if call.url.endswith("/incoming"):
            world.sms.send("SOKONI", PAYER, f"You wrote {call.form['text']}", is_queued=False)
        return before(call)

    outside.answer = answer
    assert "[SMS from SOKONI]\nYou wrote BEI nyanya\n" in say("sms BEI nyanya")
    assert outside.to("/incoming")[0].form["to"] == "22384"


def test_a_purchase_from_dialling_to_the_shops_message(say, street):
    with street[1].journal.change():
        street[1].books.change_subscriber(PAYER, street[1].clock.now(), pin="9081")
    shown = say("*384*7042#", "1", "9081", "balance")
    expected = [
        "Karibu\n1. Pay\n2. Nothing\n",
        "Check your phone\n(ended)\n",
        "[M-PESA]\nPay KSh 2,250 to SOKONI\nAccount ORD7K2\nEnter M-PESA PIN, or c to cancel\n",
        "Confirmed. KSh 2,250 sent to SOKONI for account ORD7K2. Receipt ",
        "[SMS from MPESA]\n",
        "[SMS from SOKONI]\nPaid. Order 1042.\n",
        "KSh 7,750\n",
    ]
    places = [shown.index(each) for each in expected]
    assert places == sorted(places), shown
    assert "9081" not in shown, "a PIN is never shown"


def test_a_prompt_can_be_cancelled_or_answered_wrongly(say):
    assert "Not paid. Request cancelled by user" in say("*384*7042#", "1", "c")


def test_a_wrong_pin_is_said(say):
    assert "Not paid. The initiator information is invalid." in say("*384*7042#", "1", "0000")


def test_replies_go_as_typed_and_hangup_hangs_up(say, street):
    shown = say("*384*7042#", " 5 kg ", "", "hangup", "balance")
    assert "You said [ 5 kg ]\n" in shown
    assert "You said [ 5 kg *]\n" in shown
    assert "(hung up)\nKSh 10,000\n" in shown
    assert not street[1].handsets.is_in_session(PAYER)


def test_the_end_of_the_input_hangs_up_and_quits(say, street):
    assert say("*384*7042#").endswith("2. Nothing\n\n")
    assert not street[1].handsets.is_in_session(PAYER)


def test_a_script_that_dials_on_or_ends_is_not_held_up(say, monkeypatch):
    monkeypatch.setattr(phone, "PROMPT_SECONDS", 1000.0)
    assert say("*384*7042#", "2", "*384*7042#", "2").count("Bye\n(ended)") == 2


def test_commands_of_the_idle_phone(say, street, monkeypatch):
    monkeypatch.setattr(phone, "AFTER_PAYING_SECONDS", 0.1)
    street[1].sms.send("SOKONI", PAYER, "Karibu.", is_queued=False)
    shown = say(
        "help", "sms", "prompts", "balance", "pay ORD1 2,000", "pay ORD1", "number 0700000001",
        "balance", "sms", "number nobody", "*100#", "hello", "", "quit", "balance",
    )  # fmt: skip
    for each in (
        "pay the paybill by hand",
        "[SMS from SOKONI]\nKaribu.\n",
        "No prompt is open.\n",
        "KSh 10,000\n",
        "Confirmed. KSh 2,000 paid. Receipt ",
        "pay ACCOUNT AMOUNT",
        "Phone +254700000001.\nKSh 10,000\nNo messages.\n",
        "not a phone number\n",
        "Unknown service\n(ended)\n",
    ):
        assert each in shown
    assert shown.count("KSh 10,000") == 2, "nothing is done after quit"


def test_an_answer_of_the_network_is_shown_and_the_session_goes_on(say):
    shown = say("*384*7042#", "x" * 81, "2")
    assert "longer than the network's 80 characters\n" in shown
    assert "Bye\n(ended)\n" in shown


def test_on_a_terminal_screens_stand_in_frames(street):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    street[1].sms.send("SOKONI", PAYER, "Paid. " * 20 + "Order 1042.", is_queued=False)
    output, calls = Terminal(), phone.World(street[0])
    phone.Phone(calls, PAYER, phone.Piped(io.StringIO("sms\n*384*7042#\n2\n")), output).run()
    calls.close()
    assert "Order 1042." in output.getvalue(), "a long message is wrapped, not cut"
    assert "─ USSD ─" in output.getvalue()
    assert "─ USSD, ended ─" in output.getvalue()


def test_the_command_takes_piped_lines_and_ends_with_0(street):
    done = subprocess.run(
        [sys.executable, "-m", "simulator.phone", "--url", street[0], "--number", "0700000001"],
        input="*384*7042#\n2\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Bye\n(ended)\n" in done.stdout


def test_without_a_world_the_command_says_so(capsys):
    assert phone.main(["--url", "http://127.0.0.1:9"]) == 1
    assert "Is it running?" in capsys.readouterr().err
