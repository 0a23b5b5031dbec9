"""The whole pretend world, put together: one clock, one journal, and all who live by them."""

import random
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from simulator import bot_methods, outbound
from simulator.books import Books, Shortcode
from simulator.c2b import C2b
from simulator.clock import Clock
from simulator.ground import Ground
from simulator.handset import Handsets
from simulator.initiator import Initiator
from simulator.journal import Journal
from simulator.mpesa import Mpesa
from simulator.operations import Operations
from simulator.rulebook import Rulebook
from simulator.sims import Sims
from simulator.sms import Sms
from simulator.telegram import Telegram
from simulator.tokens import Tokens
from simulator.ussd_advanta import Advanta
from simulator.ussd_africastalking import AfricasTalking
from simulator.ussd_hubtel import Hubtel

# Safaricom's published sandbox paybill and passkey.
SANDBOX_SHORTCODE = "174379"
SANDBOX_B2C_SHORTCODE = "600997"
SANDBOX_PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the system under test is, and what it must show to be let in.

    The defaults are those of a system left at its development settings on port 8000.
    """

    ussd_url: str = "http://127.0.0.1:8000/channels/ussd/africastalking/sandbox-path-secret"
    sms_url: str = "http://127.0.0.1:8000/channels/sms/africastalking/sandbox-path-secret"
    sim_url: str = "http://127.0.0.1:8000/payments/sim/sandbox-path-secret"
    hubtel_url: str = "http://127.0.0.1:8000/channels/ussd/hubtel/sandbox-hubtel-secret"
    advanta_url: str = "http://127.0.0.1:8000/channels/ussd/advanta/sandbox-advanta-secret"
    telegram_url: str = "http://127.0.0.1:8000/channels/telegram/sandbox-telegram-secret"
    service_code: str = "*384*7042#"
    hubtel_service_code: str = "713"
    advanta_service_code: str = "*415*33#"
    sms_code: str = "22384"
    africastalking_username: str = "sandbox"
    africastalking_api_key: str = field(default="sandbox-api-key", repr=False)
    telegram_token: str = field(default="7000000000:sandbox-telegram-token", repr=False)
    telegram_secret: str = field(default="sandbox-telegram-secret", repr=False)
    consumer_key: str = field(default="sandbox-consumer-key", repr=False)
    consumer_secret: str = field(default="sandbox-consumer-secret", repr=False)
    shortcodes: tuple[Shortcode, ...] = (
        Shortcode(SANDBOX_SHORTCODE, "SOKONI", SANDBOX_PASSKEY, till="5174379"),
        Shortcode(SANDBOX_B2C_SHORTCODE, "SOKONI", None, pays_out=True),
    )
    initiator: str = "sokoni-api"
    initiator_password: str = field(default="Sandbox#Initiator1", repr=False)
    # Where it tells, while it is tried out, of its orders and books.
    watch_url: str = field(default="http://127.0.0.1:8000/watch/sandbox-path-secret", repr=False)


class World:
    """One pretend world.

    Virtual (virtual_from given): nothing happens by itself, `advance` lets time pass. Real: call
    `start`, and `stop` at the end.
    """

    def __init__(
        self,
        place: Place = Place(),
        *,
        virtual_from: datetime | None = None,
        chance: random.Random,
        post: outbound.Post = outbound.post,
        home: Path | None = None,
    ) -> None:
        """chance: the source of all ids and dice; home: a folder that keeps the books."""
        self.place = place
        self.clock = Clock(virtual_from)
        self.journal = Journal(home / "journal.jsonl" if home else None)
        # The dice have a source of their own, so that a seed given by rule repeats what happens
        # but never an id that the system under test has seen before. Dice need no secrecy.
        self.rulebook = Rulebook(random.Random(chance.getrandbits(64)))  # noqa: S311
        self.books = Books(place.shortcodes, self.journal, chance)
        self.tokens = Tokens(chance)
        ground = Ground(self.books, self.clock, self.journal, self.rulebook, chance, post)
        self.handsets = Handsets(
            ground,
            {
                "africastalking": AfricasTalking(place.service_code, place.ussd_url),
                "hubtel": Hubtel(place.hubtel_service_code, place.hubtel_url),
                "advanta": Advanta(place.advanta_service_code, place.advanta_url),
            },
        )
        self.sms = Sms(ground, callback_url=place.sms_url)
        self.sims = Sims(ground, callback_url=place.sim_url)
        self.c2b = C2b(ground, tell=self.sms.tell)
        self.mpesa = Mpesa(
            ground,
            is_in_session=self.handsets.is_in_session,
            tell=self.sms.tell,
            on_paid=self.c2b.on_push_paid,
        )
        self.initiator = Initiator(
            place.initiator, place.initiator_password, self.journal, self.rulebook, home
        )
        self.operations = Operations(ground, tell=self.sms.tell)
        self.telegram = Telegram(
            ground,
            token=place.telegram_token,
            webhook_url=place.telegram_url,
            secret=place.telegram_secret,
            perform=bot_methods.perform_answer,
        )
        self._remember()

    def start(self) -> None:
        """Real time only: begin to do what falls due."""
        self.clock.start()

    def advance(self, seconds: float) -> None:
        """Virtual time only: let so many seconds pass, with all that happens in them."""
        self.clock.advance(seconds)

    def stop(self) -> None:
        """Nothing more happens; the journal is closed after the change being made."""
        self.clock.stop()
        self.journal.close()

    def _remember(self) -> None:
        takers = {
            "subscriber": self.books.replay,
            "movement": self.books.replay,
            "push": self.mpesa.replay,
            "urls": self.c2b.replay,
            "puller": self.c2b.replay,
            "initiator": self.initiator.replay,
            "operation": self.operations.replay,
            "chat": self.telegram.replay,
        }
        for record in self.journal.past():
            takers[record["is"]](record)
        self.mpesa.resume()
        self.operations.resume()
