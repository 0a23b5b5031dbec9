"""A market beside the pretend M-Pesa, over real HTTP both ways, under one virtual clock."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import requests
from flask import Flask
from werkzeug.serving import make_server

from core import charges, checkouts, ledger, orders, outbox
from core.charges import Charge
from core.database import Database
from core.sendings import SendAnswer
from payments import africastalking, callbacks, insights
from payments.daraja import Account, Daraja
from simulator.books import account
from simulator.server import Server, listen
from simulator.world import SANDBOX_B2C_SHORTCODE, SANDBOX_PASSKEY, SANDBOX_SHORTCODE, Place, World
from tests.core.market import RULES, Purchase, msisdn, open_market, purchase
from worker import tasks
from worker.relay import Relay

SECRET = "a-secret-path"
UTILITY = account(SANDBOX_SHORTCODE, "Utility")
B2C_UTILITY = account(SANDBOX_B2C_SHORTCODE, "Utility")
CHECKING = replace(RULES, sim_check=True)
PAYOUT_KINDS = {
    "check_sim", "submit_payout", "query_payout", "resume_payouts", "refund_balance",
    "pay_earnings",
}  # fmt: skip
PAYMENT_KINDS = {
    *("stk_push", "next_part", "query_charge", "review_charge", "expire_checkout", "settle_inbox")
}


class Mute:
    """Nobody here reads SMS."""

    def send(self, msisdn: str, text: str) -> SendAnswer:
        raise AssertionError("an SMS was sent")


class Street:
    """database, gateway and tasks are the real ones; only M-Pesa is pretended."""

    def __init__(
        self, database: Database, world: World, url: str, daraja: Daraja, asker: insights.Insights
    ) -> None:
        self.database = database
        self.world = world
        self.url = url  # where our callbacks listen
        self.daraja, self.insights = daraja, asker
        self.kinds = PAYMENT_KINDS  # what the worker works on here
        self.work = tasks.Work(database, daraja, CHECKING, sender=Mute(), insights=asker)
        self._relay = Relay(database, self._run)
        with database.begin() as db:
            self.market = open_market(db, database.clock())

    @property
    def now(self) -> datetime:
        return self.database.clock()

    def rules(self, **given: Any) -> None:
        """How M-Pesa behaves from now on; `next=[{...}]` is for the next push alone."""
        self.world.rulebook.change(given)

    def hurry(self, seconds: float = 1) -> None:
        """Wait no longer for an answer from now on: a story about one that comes too late."""
        for client in (self.daraja, self.insights._sdk):
            client._account = replace(client._account, read_seconds=seconds)

    def listen_for_payments_by_hand(self) -> None:
        """Register our C2B paths, as whoever runs the market does once."""
        assert self.daraja.register_urls(SECRET) == "registered"

    def buy(self, payer: str = msisdn(1), buyer: UUID | None = None) -> Purchase:
        """A checkout of KSh 681 from two sellers; its push is due in a few seconds."""
        with self.database.begin() as db:
            return purchase(db, self.market, self.now, payer=payer, buyer=buyer)

    def wait(self, seconds: int) -> None:
        """Second by second: what is due in M-Pesa, then what is due with us."""
        for _ in range(seconds):
            self.world.advance(1)
            while self._relay.hand_out():
                pass

    def leap(self, seconds: float) -> None:
        """As wait, from one thing that is due to the next: for hours and days."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            with self.database.begin() as db:
                due_at = db.value(
                    "SELECT min(due_at) FROM outbox WHERE done_at IS NULL AND kind = ANY(%s)",
                    [list(self.kinds)],
                )
            due_in = (due_at - self.now).total_seconds() if due_at else 60
            left = (end - self.now).total_seconds()
            self.world.advance(min(max(due_in, 1), 60, left))
            while self._relay.hand_out():
                pass

    def answer(self, payer: str = msisdn(1), pin: str | None = "1234") -> None:
        """The payer types her PIN into the prompt, or cancels it."""
        (prompt,) = self.world.mpesa.prompts(payer)
        self.world.mpesa.answer(prompt.prompt_id, pin)

    def call_back(self, bought: Purchase, body: bytes, token: str | None = None) -> int:
        """Somebody posts to the path of the charge's push; the status of the answer."""
        if token is None:
            token = charges._token(bought.charge_id, RULES)
        return self.post(f"/payments/stk/{token}", body).status_code

    def post(self, path: str, body: bytes) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(
                self.url + path, body, headers={"Content-Type": "application/json"}, timeout=60
            )

    def charge(self, bought: Purchase) -> Charge:
        with self.database.begin() as db:
            found = charges.by_id(db, bought.charge_id)
        assert found is not None
        return found

    def attempts(self, bought: Purchase) -> list[Charge]:
        with self.database.begin() as db:
            return charges.of_checkout(db, bought.checkout_id)

    def orders(self, bought: Purchase) -> list[str]:
        with self.database.begin() as db:
            return [order.state for order in orders.lock(db, bought.checkout_id)]

    def cancel(self, bought: Purchase) -> None:
        with self.database.begin() as db:
            assert checkouts.cancel(db, bought.checkout_id, bought.buyer, self.now) == "cancelled"

    def pay_again(self, bought: Purchase) -> str:
        with self.database.begin() as db:
            return checkouts.pay_again(
                db, bought.checkout_id, bought.buyer, bought.payer, RULES, self.now
            )

    def money(self) -> dict[str, int]:
        """What lies where, in cents, by kind of account. Always balanced, always fresh."""
        with self.database.begin() as db:
            assert ledger.unbalanced_transfers(db) == 0
            assert ledger.stale_balances(db) == 0
            found = {each.kind: each.balance_cents for each in ledger.trial_balance(db)}
        return {kind: cents for kind, cents in found.items() if cents}

    def mpesa_has(self) -> int:
        """What lies on our paybill at M-Pesa, in cents."""
        audit = self.world.books.audit()
        assert audit["balanced"], audit
        return self.world.books.balance_cents(UTILITY)

    def incidents(self) -> set[str]:
        return set(self._texts("SELECT string_agg(kind, ' ') FROM incidents"))

    def codes(self, bought: Purchase) -> set[str]:
        """Every code heard of the charge, with who said it."""
        return set(
            self._texts(
                "SELECT string_agg(source || ':' || code, ' ') FROM charge_codes "
                "WHERE charge_id = %(id)s",
                {"id": bought.charge_id},
            )
        )

    def outcomes(self) -> list[str]:
        """What became of each message kept, in the order of their coming."""
        return self._texts(
            "SELECT string_agg(coalesce(outcome, 'open'), ' ' ORDER BY received_at, id) FROM inbox"
        )

    def pushes(self) -> int:
        """How many prompts M-Pesa was asked for and took."""
        return len(self.world.mpesa._pushes)

    def _run(self, items: Sequence[outbox.Item]) -> None:
        for item in items:
            if item.kind in self.kinds:
                tasks.run(self.work, item.id)

    def _texts(self, sql: Any, parameters: dict[str, object] | None = None) -> list[str]:
        with self.database.begin() as db:
            return (db.value(sql, parameters) or "").split()


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The application on a port of its own, in threads; its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def street(new_database: Callable[[], Any], now: datetime) -> Iterator[Street]:
    with ExitStack() as stack:
        database = Database(
            stack.enter_context(new_database()),
            clock=lambda: world.clock.now(),
            random=random.Random(1),
        )
        stack.callback(database.close)
        app = Flask("callbacks")
        app.register_blueprint(callbacks.blueprint(database, c2b_secret=SECRET))
        app.register_blueprint(insights.blueprint(database, path_secret=SECRET))
        url = stack.enter_context(served(app))
        place = Place(sim_url=f"{url}/payments/sim/{SECRET}")
        world = World(place, virtual_from=now, chance=random.Random(7042))
        world.rulebook.change({"sim_answer": "reply"})  # at once: tests of M-Pesa count seconds
        gateway = Server(world, listen("127.0.0.1", 0))
        gateway.start()
        stack.callback(gateway.stop)
        daraja = Daraja(
            Account(
                base_url=gateway.url,
                statement_url=f"{gateway.url}/simulator/api/statement?format=csv",
                consumer_key=world.place.consumer_key,
                consumer_secret=world.place.consumer_secret,
                shortcode=SANDBOX_SHORTCODE,
                passkey=SANDBOX_PASSKEY,
                public_base_url=url,
                b2c_shortcode=SANDBOX_B2C_SHORTCODE,
                initiator=world.place.initiator,
                initiator_password=world.place.initiator_password,
                calls_per_second=1000,
            ),
            redis_url=None,
            clock=world.clock.now,
        )
        stack.enter_context(closing(daraja))
        asker = insights.Insights(
            africastalking.Account(
                gateway.url, place.africastalking_username, place.africastalking_api_key
            )
        )
        stack.enter_context(closing(asker))
        yield Street(database, world, url, daraja, asker)
