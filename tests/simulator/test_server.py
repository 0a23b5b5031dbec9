"""The world as a process: what it takes from the environment, how it starts and how it stops."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests
from pytest_httpserver import HTTPServer

from simulator.__main__ import main, place
from simulator.world import Place
from tests.simulator.pretend import PAYER

DEFAULTS = place({})


def test_without_settings_it_fits_a_system_without_settings():
    assert DEFAULTS.ussd_url == (
        "http://127.0.0.1:8000/channels/ussd/africastalking/sandbox-path-secret"
    )
    assert DEFAULTS.service_code == "*384*7042#"
    assert DEFAULTS.shortcodes[0].number == "174379"
    assert Place() == DEFAULTS
    assert place({"PORT": "", "DARAJA_SHORTCODE": ""}) == DEFAULTS


def test_one_shortcode_can_be_paid_to_and_pay_out():
    (only,) = place({"DARAJA_B2C_SHORTCODE": "174379"}).shortcodes
    assert (only.number, only.pays_out, only.passkey is not None) == ("174379", True, True)


def test_the_systems_own_settings_are_followed():
    found = place(
        {
            "HOST": "0.0.0.0",
            "PORT": "9000",
            "AFRICASTALKING_SECRET": "s3",
            "AFRICASTALKING_API_KEY": "key",
            "USSD_SERVICE_CODE": "*123#",
            "DARAJA_SHORTCODE": "600100",
            "DARAJA_PASSKEY": "pass",
            "DARAJA_B2C_SHORTCODE": "600200",
            "DARAJA_INITIATOR": "operator",
            "DARAJA_INITIATOR_PASSWORD": "p$3",
            "HUBTEL_SECRET": "h3",
            "HUBTEL_SERVICE_CODE": "920",
            "ADVANTA_SECRET": "a3",
            "ADVANTA_SERVICE_CODE": "*415*7#",
            "AFRICASTALKING_SMS_CODE": "40404",
            "TELEGRAM_TOKEN": "1:t",
            "TELEGRAM_SECRET": "t3",
        }
    )
    assert found.hubtel_url == "http://127.0.0.1:9000/channels/ussd/hubtel/h3"
    assert found.advanta_url == "http://127.0.0.1:9000/channels/ussd/advanta/a3"
    assert found.telegram_url == "http://127.0.0.1:9000/channels/telegram/t3"
    assert (found.hubtel_service_code, found.advanta_service_code) == ("920", "*415*7#")
    assert (found.sms_code, found.telegram_token, found.telegram_secret) == ("40404", "1:t", "t3")
    assert found.ussd_url == "http://127.0.0.1:9000/channels/ussd/africastalking/s3"
    assert found.sms_url == "http://127.0.0.1:9000/channels/sms/africastalking/s3"
    assert (found.service_code, found.africastalking_api_key) == ("*123#", "key")
    assert (found.shortcodes[0].number, found.shortcodes[0].passkey) == ("600100", "pass")
    assert (found.shortcodes[1].number, found.shortcodes[1].pays_out) == ("600200", True)
    assert (found.initiator, found.initiator_password) == ("operator", "p$3")
    other = place({"USSD_CALLBACK_URL": "http://web:8000/ussd"})
    assert other.ussd_url == "http://web:8000/ussd"


def test_secrets_are_not_shown_with_the_place():
    assert "sandbox-api-key" not in repr(DEFAULTS)
    assert "sandbox-consumer" not in repr(DEFAULTS)
    assert "telegram-token" not in repr(DEFAULTS)
    assert DEFAULTS.initiator_password not in repr(DEFAULTS)
    assert DEFAULTS.shortcodes[0].passkey not in repr(DEFAULTS)


@pytest.mark.parametrize("port", ["http", "-1", "70000"])
def test_a_port_that_is_none_is_refused(port, capsys):
    assert main({"SIMULATOR_PORT": port}) == 2
    assert capsys.readouterr().err == "simulator: SIMULATOR_PORT is not a port\n"


def test_it_does_not_start_in_production(tmp_path, capsys):
    assert main({"SOKONI_ENV": "production", "SOKONI_HOME": str(tmp_path)}) == 2
    assert "does not start where SOKONI_ENV is production" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main({"SIMULATOR_PORT": port, "SOKONI_HOME": str(tmp_path)}) == 2
    assert f"port {port} on 127.0.0.1 cannot be had" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [], "the books of the world that has the port stay alone"


class Process:
    """`python -m simulator` on a free port."""

    def __init__(self, home, **environ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulator"],
            env={"PATH": os.environ["PATH"], "SIMULATOR_PORT": "0", "SOKONI_HOME": str(home)}
            | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self._process.stdout.readline()
        self.api = line.split()[-1] + "/api/"

    def call(self, method: str, path: str, body=None):
        answer = requests.request(method, self.api + path, json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stop(self, number=signal.SIGTERM) -> tuple[int, float, str]:
        """Returns exit status, seconds it took, and what it had to complain of."""
        began = time.monotonic()
        self._process.send_signal(number)
        _, complaints = self._process.communicate(timeout=60)
        return self._process.returncode, time.monotonic() - began, complaints


def test_the_process_stops_at_once_and_finds_its_books_again(tmp_path, httpserver: HTTPServer):
    httpserver.expect_request("/ussd", method="POST").respond_with_data("CON Karibu")
    httpserver.expect_request("/ussd/events", method="POST").respond_with_data("")
    first = Process(tmp_path, USSD_CALLBACK_URL=httpserver.url_for("/ussd"))
    view = first.call("POST", "dial", {"number": PAYER, "code": "*384*7042#"})
    assert (view["screen"], view["open"]) == ("Karibu", True)
    hop = httpserver.log[0][0]
    assert hop.headers["User-Agent"] == "at-ussd-api/1.0"
    assert hop.get_data(as_text=True).startswith("phoneNumber=%2B254712345678&serviceCode=%2A384")
    paid = first.call("POST", "payments", {"from": PAYER, "account": "ORD1", "amount": 300})
    audit = first.call("GET", "audit")
    assert first.call("GET", "clock")["virtual"] is False
    assert requests.put(first.api + "clock", json={"advance": 1}, timeout=60).status_code == 404
    status, seconds, complaints = first.stop()
    assert (status, complaints) == (0, "")
    assert seconds < 5

    second = Process(tmp_path)
    assert second.call("GET", "audit") == audit
    assert second.call("GET", "statement")[-1]["receipt"] == paid["receipt"]
    assert second.stop(signal.SIGINT)[0] == 0


def test_the_process_can_have_a_virtual_clock(tmp_path):
    process = Process(tmp_path, SIMULATOR_CLOCK="virtual")
    before = process.call("GET", "clock")["now"]
    assert process.call("PUT", "clock", {"advance": 60})["now"] > before
    assert process.stop()[0] == 0
