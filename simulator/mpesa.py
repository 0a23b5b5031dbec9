"""M-Pesa's pushes: a prompt on a phone, its answer, the money, and what the business is told.

A push is accepted, its prompt appears, somebody (or the rule `auto`) answers or time runs out, and
then it has its one true result. What the callbacks claim is another matter: the rules decide.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from simulator import callbacks
from simulator.books import Movement, account
from simulator.clock import EAST_AFRICA
from simulator.ground import Ground, Part
from simulator.journal import Record
from simulator.rules import DEFAULTS, Rules
from simulator.telling import Manner, Teller

Kind = Literal["CustomerPayBillOnline", "CustomerBuyGoodsOnline"]


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What a business asks for. to_shortcode: PartyB."""

    shortcode: str
    kind: Kind
    amount_cents: int
    msisdn: str
    to_shortcode: str
    callback_url: str
    reference: str
    description: str


@dataclass(frozen=True, slots=True)
class Push:
    """One push. result is None until it has ended; receipt is set where money moved."""

    merchant_id: str
    checkout_id: str
    prompt_id: str
    request: PushRequest
    rules: Rules
    accepted_at: datetime
    shown_at: datetime | None = None
    expires_at: datetime | None = None
    result: str | None = None
    receipt: str | None = None
    ended_at: datetime | None = None

    @property
    def is_on_screen(self) -> bool:
        return self.shown_at is not None and self.result is None


class SubscriberLocked(Exception):
    """A prompt is open on that phone; nothing was asked."""


class NoSuchPrompt(Exception):
    """No prompt has that id."""


class PromptGone(Exception):
    """That prompt has been answered or has run out."""


class Mpesa(Part):
    """All pushes. Verbs lock the world themselves and never wait for a network inside."""

    def __init__(
        self,
        ground: Ground,
        *,
        is_in_session: Callable[[str], bool],
        tell: Callable[[str, str], None],
        on_paid: Callable[[Push, Movement], None],
    ) -> None:
        """is_in_session: whether a phone has a USSD session open; tell: M-Pesa's SMS to a phone;
        on_paid: what else follows a successful push (the C2B confirmation)."""
        super().__init__(ground)
        self._teller = Teller(self._clock, self._post)
        self._is_in_session = is_in_session
        self._tell = tell
        self._on_paid = on_paid
        self._pushes: dict[str, Push] = {}
        self._checkout_of_prompt: dict[str, str] = {}
        self._open: dict[str, str] = {}  # the phone's unfinished push, by msisdn
        self._last_like: dict[tuple[str, str, int], datetime] = {}

    def push(self, request: PushRequest) -> Push:
        """Accept a push; its prompt comes by itself. Raises SubscriberLocked."""
        with self._journal.change():
            if request.msisdn in self._open:
                raise SubscriberLocked
            now = self._clock.now()
            self._books.subscriber(request.msisdn, now)
            push = Push(
                self._new_merchant_id(),
                self._new_checkout_id(request.msisdn, now),
                f"{self._chance.getrandbits(64):016x}",
                request,
                self._rulebook.for_push(),
                now,
            )
            refused = self._refusal(push)
            self._keep(push)
            if refused is None:
                self._last_like[_likeness(push)] = now
                self._open[request.msisdn] = push.checkout_id
            # A result that needs nobody's answer comes as soon as M-Pesa has looked.
            answer = (refused, 0.0) if refused is not None else self._rulebook.outcome(push.rules)
            at_once = push.rules.callback == "before_ack" and answer is not None
            if refused is not None and not at_once:
                self._clock.after(0, lambda: self._end(push.checkout_id, refused))
            elif not at_once:
                self._clock.after(
                    push.rules.prompt_seconds, lambda: self._show(push.checkout_id, answer)
                )
        if at_once and answer is not None:
            self._end(push.checkout_id, answer[0], before_ack=True)
        return self._pushes[push.checkout_id]

    def find(self, checkout_id: str) -> Push | None:
        """The push a business asks about, as it is now."""
        return self._pushes.get(checkout_id)

    def prompts(self, msisdn: str) -> list[Push]:
        """The prompts on that phone's screen (M-Pesa allows one)."""
        push = self._pushes.get(self._open.get(msisdn, ""))
        return [push] if push is not None and push.is_on_screen else []

    def answer(self, prompt_id: str, pin: str | None) -> Push:
        """The person's answer: an M-Pesa PIN, or None to cancel. Returns the push with its result.

        Raises NoSuchPrompt, PromptGone.
        """
        with self._journal.change():
            checkout_id = self._checkout_of_prompt.get(prompt_id)
            if checkout_id is None:
                raise NoSuchPrompt
            if not self._pushes[checkout_id].is_on_screen:
                raise PromptGone
            self._end(checkout_id, "1032" if pin is None else self._try_pin(checkout_id, pin))
        return self._pushes[checkout_id]

    def replay(self, record: Record) -> None:
        """Take up a push of an earlier run."""
        push = _read(record)
        self._pushes[push.checkout_id] = push
        self._checkout_of_prompt[push.prompt_id] = push.checkout_id

    def resume(self) -> None:
        """After the replay: what was unanswered when the world stopped runs out as usual."""
        for push in self._pushes.values():
            if push.result is None:
                self._open[push.request.msisdn] = push.checkout_id
                self._clock.at(
                    push.accepted_at + timedelta(seconds=push.rules.prompt_lifetime_seconds),
                    partial(self._end, push.checkout_id, "1037"),
                )

    def _refusal(self, push: Push) -> str | None:
        """The result of a push that never gets a prompt. None: it gets one."""
        request = push.request
        if not self._fits_product(request):
            return "2028"
        last = self._last_like.get(_likeness(push))
        window = timedelta(seconds=push.rules.same_amount_seconds)
        if last is not None and push.accepted_at < last + window:
            return "17"
        return None

    def _fits_product(self, request: PushRequest) -> bool:
        if request.kind == "CustomerPayBillOnline":
            return request.to_shortcode == request.shortcode
        return request.to_shortcode == self._books.shortcodes[request.shortcode].till

    def _show(self, checkout_id: str, answer: tuple[str, float] | None) -> None:
        """Bring the prompt to the phone. answer: what the rules answer it with, and when."""
        with self._journal.change():
            push = self._pushes[checkout_id]
            now = self._clock.now()
            lifetime = push.rules.prompt_lifetime_seconds
            self._clock.after(lifetime, lambda: self._end(checkout_id, "1037"))
            payer = self._books.subscriber(push.request.msisdn, now)
            # A handset cannot show a prompt over an open USSD session, and M-Pesa can show none on
            # another network: it is lost without a word.
            if payer.network != "safaricom" or self._is_in_session(payer.msisdn):
                return
            self._pushes[checkout_id] = replace(
                push, shown_at=now, expires_at=now + timedelta(seconds=lifetime)
            )
            if answer is not None and answer[0] != "1037":
                code, seconds = answer
                self._clock.after(min(seconds, lifetime), lambda: self._end(checkout_id, code))

    def _try_pin(self, checkout_id: str, pin: str) -> str:
        """What M-Pesa says to a PIN."""
        push = self._pushes[checkout_id]
        now = self._clock.now()
        payer = self._books.subscriber(push.request.msisdn, now)
        tries = push.rules.pin_tries
        if tries and payer.pin_tries_wrong >= tries:
            return "8006"
        if pin != payer.pin:
            wrong = payer.pin_tries_wrong + 1
            self._books.change_subscriber(payer.msisdn, now, pin_tries_wrong=wrong)
            return "2001"
        self._books.change_subscriber(payer.msisdn, now, pin_tries_wrong=0)
        return "0"

    def _end(self, checkout_id: str, code: str, before_ack: bool = False) -> None:
        """Give the push its result, once; "0" moves the money if there is enough.

        before_ack: the callbacks are posted before this returns, so hold no lock.
        """
        with self._journal.change():
            push = self._pushes[checkout_id]
            if push.result is not None:
                return
            now = self._clock.now()
            paid: Movement | None = None
            if code == "0":
                code, paid = self._pay(push, now)
            push = replace(push, result=code, receipt=paid.receipt if paid else None, ended_at=now)
            self._keep(push)
            if self._open.get(push.request.msisdn) == checkout_id:
                del self._open[push.request.msisdn]
            if paid is not None:
                self._tell(push.request.msisdn, self._paid_text(push, paid))
                self._on_paid(push, paid)
            posts = self._callbacks(push)
            if not before_ack:
                for seconds, act in posts:
                    self._clock.after(push.rules.callback_seconds + seconds, act)
                return
        for _, act in posts:
            act()

    def _pay(self, push: Push, now: datetime) -> tuple[str, Movement | None]:
        request = push.request
        if self._books.balance_cents(request.msisdn) < request.amount_cents:
            return "1", None
        return "0", self._books.move(
            request.msisdn,
            account(request.shortcode, "Utility"),
            request.amount_cents,
            "push",
            request.reference,
            now,
        )

    def _callbacks(self, push: Push) -> list[tuple[float, Callable[[], None]]]:
        """What the business is told of this result: seconds after the first word, and the act."""
        rules = push.rules
        if rules.callback == "never":
            return []
        bodies = [
            callbacks.stk(
                merchant_id=push.merchant_id,
                checkout_id=push.checkout_id,
                code=code,
                amount_cents=push.request.amount_cents,
                receipt=push.receipt or (self._books.new_receipt() if code == "0" else ""),
                balance_cents=self._books.balance_cents(push.request.msisdn),
                msisdn=push.request.msisdn,
                at=push.ended_at or self._clock.now(),
                rules=rules,
            )
            for code in rules.contradiction or (push.result or "",)
        ]
        manner = Manner(
            rules.callback_repeats,
            rules.callback_together,
            rules.callback_gap_seconds,
            rules.callback_retries,
        )
        return self._teller.acts(push.request.callback_url, bodies, manner)

    def _paid_text(self, push: Push, paid: Movement) -> str:
        business = self._books.shortcodes[push.request.shortcode].business
        left = self._books.balance_cents(push.request.msisdn)
        return paid_text(paid, business, left)

    def _keep(self, push: Push) -> None:
        self._pushes[push.checkout_id] = push
        self._checkout_of_prompt[push.prompt_id] = push.checkout_id
        self._journal.note(_record(push))

    def _new_merchant_id(self) -> str:
        bits = self._chance.getrandbits
        return f"{bits(16):04x}-{bits(16):04x}-{bits(16):04x}-{bits(72):018x}"

    def _new_checkout_id(self, msisdn: str, now: datetime) -> str:
        """ws_CO_ + DDMMYYYYHHmmssSSS + the payer's last nine digits; never the same twice."""
        at = now.astimezone(EAST_AFRICA)
        while True:
            checkout_id = f"ws_CO_{at:%d%m%Y%H%M%S}{at.microsecond // 1000:03}{msisdn[-9:]}"
            if checkout_id not in self._pushes:
                return checkout_id
            at += timedelta(milliseconds=1)


def paid_text(paid: Movement, business: str, left_cents: int) -> str:
    """The SMS by which M-Pesa confirms a payment to the payer."""
    at = paid.at.astimezone(EAST_AFRICA)
    return (
        f"{paid.receipt} Confirmed. {ksh(paid.amount_cents)} sent to {business} for account "
        f"{paid.reference} on {at.day}/{at.month}/{at:%y} at {at:%I:%M %p}. "
        f"New M-PESA balance is {ksh(left_cents)}."
    )


def ksh(cents: int) -> str:
    return f"Ksh{cents // 100:,}.{cents % 100:02}"


def _likeness(push: Push) -> tuple[str, str, int]:
    return push.request.shortcode, push.request.msisdn, push.request.amount_cents


def _record(push: Push) -> Record:
    request = push.request
    return {
        "is": "push",
        "merchant_id": push.merchant_id,
        "checkout_id": push.checkout_id,
        "prompt_id": push.prompt_id,
        "request": {name: getattr(request, name) for name in PushRequest.__slots__},
        "accepted_at": push.accepted_at.isoformat(),
        "ended_at": push.ended_at.isoformat() if push.ended_at else None,
        "result": push.result,
        "receipt": push.receipt,
    }


def _read(record: dict[str, Any]) -> Push:
    return Push(
        record["merchant_id"],
        record["checkout_id"],
        record["prompt_id"],
        PushRequest(**record["request"]),
        DEFAULTS,
        datetime.fromisoformat(record["accepted_at"]),
        result=record["result"],
        receipt=record["receipt"],
        ended_at=datetime.fromisoformat(record["ended_at"]) if record["ended_at"] else None,
    )
