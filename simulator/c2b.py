"""Money that comes to a paybill: paid by hand or after a push, and how the business hears of it."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from simulator import callbacks, outbound
from simulator.books import PAID_IN, Movement, account
from simulator.ground import Ground, Part
from simulator.journal import Record
from simulator.mpesa import Push, paid_text

log = logging.getLogger(__name__)

VALIDATION_TIMEOUT_SECONDS = 8.0
CONFIRMATION_TIMEOUT_SECONDS = 10.0
AMOUNT_CENTS_MAX = 250_000_00

REJECTIONS = {
    "C2B00011": "the number was not accepted",
    "C2B00012": "the account was not accepted",
    "C2B00013": "the amount was not accepted",
    "C2B00014": "the payer was not accepted",
    "C2B00015": "the paybill was not accepted",
    "C2B00016": "the payment was not accepted",
}


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a shortcode wants to hear of payments. version: of the registration, 1 or 2."""

    shortcode: str
    version: int
    response_type: Literal["Completed", "Cancelled"]
    confirmation_url: str
    validation_url: str


class NoSuchShortcode(Exception):
    """No paybill or till has that number."""


class AlreadyRegistered(Exception):
    """The URLs stand and may not be changed by this call."""


class NotPaid(Exception):
    """The payment did not happen; the message says why, for the payer."""


class C2b(Part):
    """Registered URLs and payments. Verbs lock the world themselves, but not while they call."""

    def __init__(self, ground: Ground, *, tell: Callable[[str, str], None]) -> None:
        super().__init__(ground)
        self._tell = tell
        self._urls: dict[str, Urls] = {}
        self._pullers: set[str] = set()

    def register(self, urls: Urls) -> None:
        """Keep the URLs. Raises AlreadyRegistered where the rules act like production."""
        with self._journal.change():
            if self._rulebook.rules.register_once and urls.shortcode in self._urls:
                raise AlreadyRegistered
            self._urls[urls.shortcode] = urls
            self._journal.note({"is": "urls", **asdict(urls)})

    def pay(self, payer: str, shortcode: str, reference: str, amount_cents: int) -> Movement:
        """A person pays by hand: validation if asked for, the money, later the confirmation.

        shortcode: a paybill's or a till's number. Raises NoSuchShortcode, NotPaid,
        books.NoSuchAccount.
        """
        paybill, is_till = self._paybill(shortcode)
        urls = self._urls.get(paybill)
        with self._journal.change():
            now = self._clock.now()
            person = self._books.subscriber(payer, now)
            if person.network != "safaricom":
                raise NotPaid("this line has no M-Pesa")
            if not 0 < amount_cents <= AMOUNT_CENTS_MAX:
                raise NotPaid("the amount must be from 1 to 250,000")
            self._refuse_if_short(payer, amount_cents)
            wish = Movement(
                self._books.new_receipt(), payer, paybill, amount_cents, "c2b", reference, now
            )
        if urls is not None and self._rulebook.rules.validation:
            body = callbacks.c2b(
                wish, person, shortcode=shortcode, version=urls.version, is_till=is_till,
                balance_cents=None,
            )  # fmt: skip
            self._ask(urls, body)
        with self._journal.change():
            self._refuse_if_short(payer, amount_cents)
            paid = self._books.move(
                payer,
                account(paybill, "Utility"),
                amount_cents,
                "c2b",
                reference,
                self._clock.now(),
                receipt=wish.receipt,
            )
            business = self._books.shortcodes[paybill].business
            self._tell(payer, paid_text(paid, business, self._books.balance_cents(payer)))
            rules = self._rulebook.rules
            self._confirm(paid, shortcode, is_till, rules.c2b_seconds, rules.c2b_repeats)
        return paid

    def pay_later(self, payer: str, shortcode: str, reference: str, amount_cents: int) -> None:
        """The same at its time, as a simulated payment; a refusal is nobody's to hear.

        Raises NoSuchShortcode.
        """
        self._paybill(shortcode)

        def act() -> None:
            try:
                self.pay(payer, shortcode, reference, amount_cents)
            except NotPaid as why:
                log.info("a simulated payment did not happen: %s", why)

        self._clock.after(0, act)

    def on_push_paid(self, push: Push, paid: Movement) -> None:
        """A paid push also gives a C2B confirmation, nearly always (log B: 44 of 48)."""
        if self._rulebook.happens(push.rules.c2b_confirmation):
            self._confirm(
                paid,
                push.request.to_shortcode,
                push.request.kind == "CustomerBuyGoodsOnline",
                push.rules.c2b_seconds,
                push.rules.c2b_repeats,
            )

    def start_pulling(self, shortcode: str) -> bool:
        """Let the shortcode pull its transactions; False where it already may."""
        with self._journal.change():
            if shortcode in self._pullers:
                return False
            self._pullers.add(shortcode)
            self._journal.note({"is": "puller", "shortcode": shortcode})
            return True

    def may_pull(self, shortcode: str) -> bool:
        return shortcode in self._pullers

    def received(self, shortcode: str, since: datetime, until: datetime) -> list[Movement]:
        """What customers paid into the shortcode in that time, oldest first."""
        with self._journal.change():
            target = account(shortcode, "Utility")
            return [
                each
                for each in self._books.statement()
                if each.target == target and each.kind in PAID_IN and since <= each.at <= until
            ]

    def replay(self, record: Record) -> None:
        """Take up a registration of an earlier run."""
        values: dict[str, Any] = {name: value for name, value in record.items() if name != "is"}
        if record["is"] == "urls":
            self._urls[record["shortcode"]] = Urls(**values)
        else:
            assert record["is"] == "puller", f"a record of kind {record['is']}"
            self._pullers.add(record["shortcode"])

    def _paybill(self, number: str) -> tuple[str, bool]:
        """The paybill a number belongs to, and whether the number is its till."""
        if self._books.is_paybill(number):
            return number, False
        for shortcode in self._books.shortcodes.values():
            if shortcode.till == number:
                return shortcode.number, True
        raise NoSuchShortcode

    def _refuse_if_short(self, payer: str, amount_cents: int) -> None:
        if self._books.balance_cents(payer) < amount_cents:
            raise NotPaid("there is not enough money in the account")

    def _ask(self, urls: Urls, body: bytes) -> None:
        """Ask the business whether it wants the payment. Raises NotPaid when it does not."""
        try:
            answer = self._post(
                urls.validation_url,
                body,
                {"Content-Type": outbound.JSON},
                VALIDATION_TIMEOUT_SECONDS,
            )
            said = json.loads(answer.text) if answer.status == 200 else None
        except (outbound.Unanswered, ValueError):
            said = None
        if not isinstance(said, dict) or "ResultCode" not in said:
            if urls.response_type == "Cancelled":
                raise NotPaid("the business could not be asked")
            return
        code = str(said["ResultCode"])
        if code != "0":
            raise NotPaid(f"{code}: {REJECTIONS.get(code, 'the business refused')}")

    def _confirm(
        self, paid: Movement, shortcode: str, is_till: bool, seconds: float, repeats: int
    ) -> None:
        """Tell the business, if it has registered, `seconds` from now and `repeats` times."""
        urls = self._urls.get(self._paybill(shortcode)[0])
        if urls is None:
            return
        payer = self._books.subscriber(paid.source, paid.at)
        body = callbacks.c2b(
            paid,
            payer,
            shortcode=shortcode,
            version=urls.version,
            is_till=is_till,
            balance_cents=self._books.balance_cents(paid.target),
        )

        def act() -> None:
            try:
                answer = self._post(
                    urls.confirmation_url,
                    body,
                    {"Content-Type": outbound.JSON},
                    CONFIRMATION_TIMEOUT_SECONDS,
                )
                log.info("a confirmation was answered HTTP %d", answer.status)
            except outbound.Unanswered as lost:
                log.info("a confirmation was not answered: %s", lost)

        for each in range(repeats):
            self._clock.after(seconds + each, act)
