"""Text messages: what Africa's Talking takes from us, what phones hold, and what people send."""

import logging
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from simulator import outbound
from simulator.books import Books
from simulator.clock import Clock
from simulator.handset import form
from simulator.journal import Journal
from simulator.msisdn import NotANumber, read
from simulator.rulebook import Rulebook

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
PART_COST_CENTS = 80  # KES 0.8000 a part, as Africa's Talking's examples have it
# GSM 03.38: the alphabet of a 160-letter part, and what costs two of its places.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("\f^{}\\[~]|€")

STATUS_NAMES = {
    100: "Success",
    101: "Success",
    102: "Success",
    401: "RiskHold",
    402: "InvalidSenderId",
    403: "InvalidPhoneNumber",
    404: "UnsupportedNumberType",
    405: "InsufficientBalance",
    406: "UserInBlacklist",
    407: "CouldNotRoute",
    409: "DoNotDisturbRejection",
    500: "InternalServerError",
    501: "GatewayError",
    502: "RejectedByGateway",
}
ACCEPTED = (100, 101, 102)


@dataclass(frozen=True, slots=True)
class Message:
    """One message on a phone. status: "Sent", then the final one of the delivery report."""

    id: str
    sender: str
    text: str
    at: datetime
    status: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """What Africa's Talking says of one number of a sending. id is None where refused."""

    number: str
    code: int
    cost_cents: int
    id: str | None


class Sms:
    """All phones' messages. Verbs lock the world themselves, but not while they call."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        journal: Journal,
        rulebook: Rulebook,
        chance: random.Random,
        post: outbound.Post,
        *,
        incoming_url: str,
        delivery_url: str,
    ) -> None:
        self._books = books
        self._clock = clock
        self._journal = journal
        self._rulebook = rulebook
        self._chance = chance
        self._post = post
        self._incoming_url = incoming_url
        self._delivery_url = delivery_url
        self._messages: dict[str, list[Message]] = {}

    def send(self, sender: str, to: str, text: str, *, is_queued: bool) -> list[Recipient]:
        """A business sends to numbers joined by commas. is_queued: `enqueue` was 1."""
        with self._journal.change():
            return [self._send_one(sender, each, text, is_queued) for each in to.split(",")]

    def tell(self, msisdn: str, text: str) -> None:
        """A message from M-Pesa itself, which needs no gateway and reports to nobody."""
        with self._journal.change():
            self._keep(msisdn, Message(self._new_id(), "MPESA", text, self._clock.now(), "Success"))

    def inbox(self, msisdn: str) -> list[Message]:
        """What the phone holds, newest last."""
        with self._journal.change():
            return list(self._messages.get(msisdn, ()))

    def say(self, sender: str, to: str, text: str) -> str:
        """A person sends a message to a short code. Returns its id; delivery follows by itself."""
        with self._journal.change():
            now = self._clock.now()
            message_id = self._new_id()
            date = now.strftime(
                "%Y-%m-%dT%H:%M:%SZ"
                if self._rulebook.rules.sms_date == "iso"
                else "%Y-%m-%d %H:%M:%S"
            )
            body = form(
                ("date", date),
                ("from", sender),
                ("id", message_id),
                ("linkId", ""),
                ("text", text),
                ("to", to),
                ("networkCode", self._books.network_code(sender, now)),
                ("cost", "KES 0.0000"),
            )
            self._post_until_taken(self._incoming_url, body)
        return message_id

    def _send_one(self, sender: str, number: str, text: str, is_queued: bool) -> Recipient:
        rules = self._rulebook.rules
        if not number.startswith("+") or not _is_number(number):
            return Recipient(number, 403, 0, None)
        code = rules.sms_codes.get(number, rules.sms_code)
        if code == 101 and is_queued:
            code = 102
        if code not in ACCEPTED:
            return Recipient(number, code, 0, None)
        message = Message(self._new_id(), sender, text, self._clock.now(), "Sent")
        self._keep(number, message)
        if rules.sms_report is not None:
            final = rules.sms_report
            self._clock.after(
                rules.sms_report_seconds, lambda: self._report(number, message, final)
            )
        return Recipient(number, code, parts(text) * PART_COST_CENTS, message.id)

    def _report(self, number: str, message: Message, final: str) -> None:
        with self._journal.change():
            messages = self._messages[number]
            messages[messages.index(message)] = replace(message, status=final)
            failure = {"Failed": "DeliveryFailure", "Rejected": "UserInBlackList"}.get(final, "")
            body = form(
                ("phoneNumber", number),
                ("failureReason", failure),
                ("retryCount", "0"),
                ("id", message.id),
                ("status", final),
                ("networkCode", self._books.network_code(number, self._clock.now())),
            )
            self._post_until_taken(self._delivery_url, body)

    def _post_until_taken(self, url: str, body: bytes) -> None:
        """Post now, and again each minute until somebody answers 200 or half a day has passed."""
        until = self._clock.now() + timedelta(hours=self._rulebook.rules.sms_again_hours)

        def act() -> None:
            try:
                answer = self._post(url, body, {"Content-Type": outbound.FORM}, TIMEOUT_SECONDS)
                if answer.status == 200:
                    return
                log.info("an SMS callback was answered HTTP %d", answer.status)
            except outbound.Unanswered as lost:
                log.info("an SMS callback was not answered: %s", lost)
            again = self._rulebook.rules.sms_again_seconds
            if self._clock.now() + timedelta(seconds=again) <= until:
                self._clock.after(again, act)

        self._clock.after(0, act)

    def _keep(self, msisdn: str, message: Message) -> None:
        self._messages.setdefault(msisdn, []).append(message)

    def _new_id(self) -> str:
        return f"ATXid_{self._chance.getrandbits(128):032x}"


def parts(text: str) -> int:
    """How many parts the network bills for the text: 160 septets, or 153 each of several."""
    if all(letter in _GSM or letter in _GSM_TWICE for letter in text):
        length = sum(2 if letter in _GSM_TWICE else 1 for letter in text)
        whole, several = 160, 153
    else:
        length = len(text.encode("utf-16-be", "surrogatepass")) // 2
        whole, several = 70, 67
    return 1 if length <= whole else -(-length // several)


def _is_number(text: str) -> bool:
    try:
        return read(text) == text
    except NotANumber:
        return False
