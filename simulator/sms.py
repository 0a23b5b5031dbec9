"""Text messages: what Africa's Talking takes from us, what phones hold, and what people send."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from simulator import outbound
from simulator.ground import Ground, Part
from simulator.msisdn import NotANumber, may_hold_mpesa, read
from simulator.ussd import form

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
FINAL = ("Success", "Rejected", "Failed", "AbsentSubscriber", "Expired")
MPESA = "MPESA"  # the sender of M-Pesa's own messages
DEFAULT_SENDER = "AFRICASTKNG"  # of a business that names none


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


class Sms(Part):
    """All phones' messages. Verbs lock the world themselves, but not while they call."""

    def __init__(self, ground: Ground, *, callback_url: str) -> None:
        """callback_url: what the paths of the three callbacks begin with."""
        super().__init__(ground)
        self._incoming_url = callback_url + "/incoming"
        self._delivery_url = callback_url + "/delivery"
        self._optout_url = callback_url + "/optout"
        self._messages: dict[str, dict[str, Message]] = {}  # by phone, then by id
        self._opted_out: set[str] = set()

    def send(self, sender: str, to: str, text: str, *, is_queued: bool) -> list[Recipient]:
        """A business sends to numbers joined by commas. is_queued: `enqueue` was 1."""
        with self._journal.change():
            recipients = [self._send_one(sender, each, text, is_queued) for each in to.split(",")]
            at_once = [act for each in recipients if each.id for act in self._foretell(each)]
        for act in at_once:
            act()
        return recipients

    def tell(self, msisdn: str, text: str) -> None:
        """A message from M-Pesa itself, which needs no gateway and reports to nobody."""
        with self._journal.change():
            self._keep(msisdn, Message(self._new_id(), MPESA, text, self._clock.now(), "Success"))

    def inbox(self, msisdn: str) -> list[Message]:
        """What the phone holds, newest last."""
        with self._journal.change():
            return list(self._messages.get(msisdn, {}).values())

    def say(self, sender: str, to: str, text: str | None) -> str:
        """A person sends a message to a short code. Returns its id; delivery follows by itself.

        sender: a phone, or the name or short code that a forger wrote in its place. text None: the
        field is missing.
        """
        with self._journal.change():
            rules, now = self._rulebook.rules, self._clock.now()
            message_id = self._new_id()
            date = now.strftime(
                "%Y-%m-%dT%H:%M:%SZ" if rules.sms_date == "iso" else "%Y-%m-%d %H:%M:%S"
            )
            is_local = rules.sms_from == "local" and may_hold_mpesa(sender)
            body = form(
                ("date", date),
                ("from", "0" + sender[4:] if is_local else sender),
                ("id", message_id),
                ("linkId", ""),
                *([] if text is None else [("text", text)]),
                ("to", to),
                ("networkCode", self._books.network_code(sender, now)),
                ("cost", "KES 0.0000"),
            )
            self._post_until_taken(
                self._incoming_url, body, rules.sms_in_repeats, together=rules.sms_in_together
            )
        return message_id

    def opt_out(self, msisdn: str, sender: str | None) -> None:
        """A person ends a sender's messages, by the network's own menu or its own STOP.

        sender None: whoever wrote last. From now on a sending to them is refused with 406.
        """
        with self._journal.change():
            self._opted_out.add(msisdn)
            received = [it.sender for it in self.inbox(msisdn) if it.sender != MPESA]
            name = sender or (received[-1] if received else DEFAULT_SENDER)
            body = form(("senderId", name), ("phoneNumber", msisdn))
            self._post_until_taken(self._optout_url, body)

    def opt_in(self, msisdn: str) -> None:
        """On the network's own menu, of which nobody hears."""
        with self._journal.change():
            self._opted_out.discard(msisdn)

    def _send_one(self, sender: str, number: str, text: str, is_queued: bool) -> Recipient:
        rules = self._rulebook.rules
        if not number.startswith("+") or not _is_number(number):
            return Recipient(number, 403, 0, None)
        code = rules.sms_codes.get(number, 406 if number in self._opted_out else rules.sms_code)
        if code == 101 and is_queued:
            code = 102
        if code not in ACCEPTED:
            return Recipient(number, code, 0, None)
        message = Message(self._new_id(), sender, text, self._clock.now(), "Sent")
        self._keep(number, message)
        return Recipient(number, code, parts(text) * PART_COST_CENTS, message.id)

    def _foretell(self, sent: Recipient) -> list[Callable[[], None]]:
        """Have the delivery reports come; those to be made before the answer are returned."""
        rules = self._rulebook.rules
        statuses = rules.sms_reports or ((rules.sms_report,) if rules.sms_report else ())
        reports = [partial(self._report, sent, status) for status in statuses]
        at_once: list[Callable[[], None]] = []
        if rules.sms_report_first and reports:
            at_once.append(partial(reports.pop(0), is_now=True))
        for place, report in enumerate(reports):
            after = rules.sms_report_seconds + place * rules.sms_report_gap_seconds
            self._clock.after(after, report)
        return at_once

    def _report(self, sent: Recipient, status: str, *, is_now: bool = False) -> None:
        assert sent.id is not None, "a report on what was refused"
        rules = self._rulebook.rules
        with self._journal.change():
            messages = self._messages[sent.number]
            message = messages[sent.id]
            if message.status not in FINAL:  # the phone knows, whatever is told out of order
                messages[sent.id] = replace(message, status=status)
            network = self._books.network_code(sent.number, self._clock.now())
            strays = [self._new_id() for _ in range(rules.sms_report_strays)]
        failure = {"Failed": "DeliveryFailure", "Rejected": "UserInBlackList"}.get(status, "")
        for message_id in [*strays, *[sent.id] * rules.sms_report_repeats]:
            body = form(
                ("phoneNumber", sent.number),
                ("failureReason", failure),
                ("retryCount", "0"),
                ("id", message_id),
                ("status", status),
                ("networkCode", network),
            )
            self._post_until_taken(self._delivery_url, body, is_now=is_now)

    def _post_until_taken(
        self, url: str, body: bytes, times: int = 1, *, together: bool = False, is_now: bool = False
    ) -> None:
        """Post so many times, and again each minute until somebody answers 200 or half a day has
        passed. is_now: the first post is over when this returns; else it has not begun.
        """
        until = self._clock.now() + timedelta(hours=self._rulebook.rules.sms_again_hours)

        def once() -> outbound.Answer:
            return self._post(url, body, {"Content-Type": outbound.FORM}, TIMEOUT_SECONDS)

        def act(count: int = 1) -> None:
            answer = outbound.together(*[once] * count)[0]
            if isinstance(answer, outbound.Unanswered):
                log.info("an SMS callback was not answered: %s", answer)
            elif answer.status == 200:
                return
            else:
                log.info("an SMS callback was answered HTTP %d", answer.status)
            again = self._rulebook.rules.sms_again_seconds
            if self._clock.now() + timedelta(seconds=again) <= until:
                self._clock.after(again, act)

        if is_now:
            act()
        elif together:
            self._clock.after(0, partial(act, times))
        else:
            for place in range(times):
                self._clock.after(place, act)

    def _keep(self, msisdn: str, message: Message) -> None:
        self._messages.setdefault(msisdn, {})[message.id] = message

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
