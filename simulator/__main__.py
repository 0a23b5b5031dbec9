"""Serve the pretend world: `python -m simulator`. The one file here that reads the environment."""

import logging
import os
import random
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from simulator.books import Shortcode
from simulator.server import Server, listen
from simulator.world import (
    SANDBOX_B2C_SHORTCODE,
    SANDBOX_PASSKEY,
    SANDBOX_SHORTCODE,
    Place,
    World,
)

STOPPING = {signal.SIGTERM, signal.SIGINT}


def main(environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or Ctrl-C. Returns the exit status; 2 is a refusal to start."""
    if environ.get("SOKONI_ENV") == "production":
        return _refuse("the pretend world does not start where SOKONI_ENV is production")
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    host = environ.get("HOST") or "127.0.0.1"
    text = environ.get("SIMULATOR_PORT") or "8001"
    if not text.isdecimal() or not 0 <= int(text) <= 65_535:
        return _refuse("SIMULATOR_PORT is not a port")
    try:
        listener = listen(host, int(text))
    except OSError as error:
        return _refuse(f"port {text} on {host} cannot be had: {error.strerror}")
    is_virtual = environ.get("SIMULATOR_CLOCK") == "virtual"
    world = World(
        place(environ),
        virtual_from=datetime.now(UTC) if is_virtual else None,
        chance=random.Random(),  # noqa: S311 (it draws ids and dice, no secrets)
        home=Path(environ.get("SOKONI_HOME") or ".sokoni") / "simulator",
    )
    server = Server(world, listener)
    # Waited for, not handled: a handler may run while the lock it needs is held.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    server.start()
    print(f"The pretend world is on {server.url}/simulator", flush=True)
    signal.sigwait(STOPPING)
    server.stop()
    return 0


def place(environ: Mapping[str, str]) -> Place:
    """Where the system under test is, from its own settings; an empty value counts as unset."""

    def get(name: str, default: str) -> str:
        return environ.get(name) or default

    secret = get("AFRICASTALKING_SECRET", "sandbox-path-secret")
    host = get("HOST", "127.0.0.1")
    # A system bound to every address is reached on this machine's own.
    system = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{get('PORT', '8000')}"  # noqa: S104
    hubtel_secret = get("HUBTEL_SECRET", "sandbox-hubtel-secret")
    advanta_secret = get("ADVANTA_SECRET", "sandbox-advanta-secret")
    telegram_secret = get("TELEGRAM_SECRET", "sandbox-telegram-secret")
    ussd, sms = f"{system}/channels/ussd", f"{system}/channels/sms"
    return Place(
        ussd_url=get("USSD_CALLBACK_URL", f"{ussd}/africastalking/{secret}"),
        sms_url=get("SMS_CALLBACK_URL", f"{sms}/africastalking/{secret}"),
        sim_url=get("SIM_CALLBACK_URL", f"{system}/payments/sim/{secret}"),
        hubtel_url=f"{ussd}/hubtel/{hubtel_secret}",
        advanta_url=f"{ussd}/advanta/{advanta_secret}",
        telegram_url=f"{system}/channels/telegram/{telegram_secret}",
        service_code=get("USSD_SERVICE_CODE", "*384*7042#"),
        hubtel_service_code=get("HUBTEL_SERVICE_CODE", "713"),
        advanta_service_code=get("ADVANTA_SERVICE_CODE", "*415*33#"),
        sms_code=get("AFRICASTALKING_SMS_CODE", "22384"),
        telegram_token=get("TELEGRAM_TOKEN", "7000000000:sandbox-telegram-token"),
        telegram_secret=telegram_secret,
        africastalking_username=get("AFRICASTALKING_USERNAME", "sandbox"),
        africastalking_api_key=get("AFRICASTALKING_API_KEY", "sandbox-api-key"),
        consumer_key=get("DARAJA_CONSUMER_KEY", "sandbox-consumer-key"),
        consumer_secret=get("DARAJA_CONSUMER_SECRET", "sandbox-consumer-secret"),
        shortcodes=shortcodes(
            get("DARAJA_SHORTCODE", SANDBOX_SHORTCODE),
            get("DARAJA_PASSKEY", SANDBOX_PASSKEY),
            get("DARAJA_B2C_SHORTCODE", SANDBOX_B2C_SHORTCODE),
        ),
        initiator=get("DARAJA_INITIATOR", "sokoni-api"),
        initiator_password=get("DARAJA_INITIATOR_PASSWORD", "Sandbox#Initiator1"),
        watch_url=f"{system}/watch/{secret}",
    )


def shortcodes(paybill: str, passkey: str, payer: str) -> tuple[Shortcode, ...]:
    """The business's: one to be paid to and one to pay from, or one for both where they are one."""
    first = Shortcode(paybill, "SOKONI", passkey, till="5174379", pays_out=payer == paybill)
    return (first,) if first.pays_out else (first, Shortcode(payer, "SOKONI", None, pays_out=True))


def _refuse(why: str) -> int:
    print(f"simulator: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(os.environ))
