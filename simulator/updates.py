"""Updates on their way to a bot: numbered, queued, posted to its webhook until taken, or fetched.

Source: Bot API, "Getting updates", and the queues of the official Bot API server.
"""

import json
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from simulator import outbound
from simulator.ground import Ground, Part
from simulator.rules import Rules

log = logging.getLogger(__name__)

Content = dict[str, Any]
Lane = tuple[str, object]  # what waits for one another: messages by chat, taps by user, …

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 (its name, not a secret)
ANSWER_TIMEOUT_SECONDS = 60.0
GATHER_SECONDS_MAX = 5.0
RETRY_AFTER_SECONDS_MAX = 3600.0
DAY_SECONDS = 86_400.0
GONE_HOURS_MAX = 23  # of HTTP 410 on end, and the webhook is closed
LIFETIME_SECONDS = {"callback_query": 150.0, "inline_query": 150.0}  # all others: a day
NOT_BY_DEFAULT = ("chat_member", "message_reaction", "message_reaction_count")
KINDS = (
    "message", "edited_message", "channel_post", "edited_channel_post", "inline_query",
    "chosen_inline_result", "callback_query", "shipping_query", "pre_checkout_query", "poll",
    "poll_answer", "my_chat_member", "chat_member", "chat_join_request", "message_reaction",
    "message_reaction_count",
)  # fmt: skip
_MESSAGES = ("message", "edited_message", "channel_post", "edited_channel_post")
_MEMBERS = ("my_chat_member", "chat_member", "chat_join_request")


class WrongWebhook(ValueError):
    """The webhook cannot be set so; the message is Telegram's."""


class Conflict(Exception):
    """Somebody else takes the updates; the message is Telegram's."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where updates are posted. url "": nowhere. allowed: kinds; empty means the usual ones."""

    url: str = ""
    secret: str = field(default="", repr=False)
    allowed: tuple[str, ...] = ()
    connections_max: int = 40


@dataclass(slots=True)
class Update:
    """One update as it waits. body: JSON, its update_id included. place: in the order of arrival.

    Crafted ones may share an id.
    """

    place: int
    id: int
    lane: Lane
    body: bytes
    expires_at: datetime
    rules: Rules
    tries: int = 0

    @property
    def times(self) -> int:
        """How often it is posted now; a repetition comes once."""
        return self.rules.update_repeats if self.tries == 0 else 1


class Updates(Part):
    """All updates of the one bot. `put` runs inside a `journal.change()`; the others lock it."""

    def __init__(
        self,
        ground: Ground,
        perform: Callable[[outbound.Answer], None],
        webhook: Webhook,
    ) -> None:
        """perform: does what the body of an acknowledgement asks for."""
        super().__init__(ground)
        self._perform = perform
        self.webhook = webhook
        # Not from 1: a world that was started anew must not repeat what the system has seen.
        self._next_id = self._chance.randrange(100_000_000, 1_000_000_000)
        self._places = count()
        self._pending: dict[int, Update] = {}  # by place
        self._lanes: dict[Lane, deque[Update]] = {}
        self._busy: set[Lane] = set()  # their first is on its way, or waits to be repeated
        self._on_wire = 0  # how many are on their way
        self._gathered: list[Update] = []
        self._set_at: datetime | None = None
        self._gone_since: datetime | None = None
        self._error: tuple[datetime, str] | None = None
        self._arrived = threading.Condition()
        self._polls = 0

    def put(self, kind: str, content: Content) -> int | None:
        """A new update of that kind; its number, or None where the bot does not want the kind."""
        allowed = self.webhook.allowed
        if kind not in allowed if allowed else kind in NOT_BY_DEFAULT:
            return None
        return self.put_raw({kind: content})

    def put_raw(self, update: Content) -> int:
        """An update just as it is given, wanted or not; without an update_id it gets the next.

        The number it is kept under is returned.
        """
        rules = self._rulebook.for_update()
        now = self._clock.now()
        if self._rulebook.happens(rules.update_jump):
            self._next_id = self._chance.randrange(1, 2**31)
        own = update.get("update_id")
        if own is None:
            update = {"update_id": self._next_id, **_without_number(update)}
        number = self._next_id if own is None else own if isinstance(own, int) else 0
        if number == self._next_id:
            self._next_id += 1
        lane, seconds = _lane(update)
        body = json.dumps(update, ensure_ascii=False, separators=(",", ":")).encode()
        expires_at = now + timedelta(seconds=seconds)
        waiting = Update(next(self._places), number, lane, body, expires_at, rules)
        self._pending[waiting.place] = waiting
        self._lanes.setdefault(lane, deque()).append(waiting)
        self._pump()
        with self._arrived:
            self._arrived.notify_all()
        return number

    # --- what the bot asks for

    def set_webhook(
        self,
        url: str,
        *,
        secret: str = "",
        allowed: Sequence[str] | None = None,
        connections_max: int = 40,
        drop_pending: bool = False,
    ) -> tuple[int, str]:
        """Post updates there from now on; "" ends it. allowed None: as before.

        Returns 0 and what was done, or after how many seconds it may be asked again. Raises
        WrongWebhook.
        """
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise WrongWebhook("bad webhook: An HTTPS URL must be provided for webhook")
        if len(secret) > 256:
            raise WrongWebhook("secret token is too long")
        if not re.fullmatch(r"[A-Za-z0-9_-]*", secret):
            raise WrongWebhook("secret token contains unallowed characters")
        with self._journal.change():
            now = self._clock.now()
            if self._set_at is not None and now - self._set_at < timedelta(seconds=1):
                return 1, ""
            self._set_at = now
            before = self.webhook
            kinds = (
                before.allowed if allowed is None else tuple(it for it in allowed if it in KINDS)
            )
            self.webhook = Webhook(url, secret if url else "", kinds, connections_max)
            self._error = self._gone_since = None
            if drop_pending:
                self._pending.clear()
                self._lanes.clear()
            self._pump()
            if not url:
                return 0, "Webhook was deleted" if before.url else "Webhook is already deleted"
            return 0, "Webhook is already set" if before == self.webhook else "Webhook was set"

    def info(self) -> Content:
        """A WebhookInfo."""
        with self._journal.change():
            hook = self.webhook
            told: Content = {
                "url": hook.url,
                "has_custom_certificate": False,
                "pending_update_count": len(self._pending),
            }
            if hook.url:
                told |= {"max_connections": hook.connections_max, "ip_address": "127.0.0.1"}
            if hook.allowed:
                told["allowed_updates"] = list(hook.allowed)
            if self._error is not None:
                at, message = self._error
                told |= {"last_error_date": int(at.timestamp()), "last_error_message": message}
            return told

    def fetch(
        self, offset: int, limit: int, wait_seconds: float, allowed: Sequence[str] | None
    ) -> list[Content]:
        """The oldest updates from that number on; those before it are done with.

        offset 0: from the oldest; below 0: so many from the end. Raises Conflict.
        """
        with self._arrived:
            self._polls += 1
            mine = self._polls
            self._arrived.notify_all()
        until = time.monotonic() + wait_seconds
        while True:
            with self._journal.change():
                if self.webhook.url:
                    raise Conflict(
                        "can't use getUpdates method while webhook is active; "
                        "use deleteWebhook to delete the webhook first"
                    )
                if allowed is not None:
                    self.webhook = Webhook(allowed=_known(allowed))
                found = self._from(offset)
            left = until - time.monotonic()
            if found or left <= 0 or self._clock.is_virtual:
                return found[:limit]
            with self._arrived:
                self._arrived.wait(min(left, 0.2))
                if self._polls != mine:
                    raise Conflict(
                        "terminated by other getUpdates request; "
                        "make sure that only one bot instance is running"
                    )

    def _from(self, offset: int) -> list[Content]:
        now = self._clock.now()
        waiting = sorted(it.id for it in self._pending.values() if it.expires_at > now)
        first = waiting[max(offset, -len(waiting))] if offset < 0 and waiting else offset
        for update in list(self._pending.values()):
            if update.id < first or update.expires_at <= now:
                self._drop(update)
        left = sorted(self._pending.values(), key=lambda it: it.id)
        return [json.loads(update.body) for update in left]

    # --- to the webhook

    def _pump(self) -> None:
        """Send off the first of each lane that is free, on as many connections as there may be."""
        if not self.webhook.url:
            return
        for lane, line in self._lanes.items():
            if lane not in self._busy and self._on_wire < self.webhook.connections_max:
                self._busy.add(lane)
                self._on_wire += 1
                self._gathered.append(line[0])
        if len(self._gathered) >= self._rulebook.rules.update_gather:
            self._leave()
        elif self._gathered:
            self._clock.after(GATHER_SECONDS_MAX, self._leave)

    def _leave(self) -> None:
        with self._journal.change():
            heads, self._gathered = self._gathered, []
        if self._rulebook.rules.update_gather > 1:
            self._clock.after(0, partial(self._deliver, *heads))
            return
        for head in heads:
            self._clock.after(0, partial(self._deliver, head))

    def _deliver(self, *heads: Update) -> None:
        """Post these at the same instant, and each as often as its rules say."""
        wanted = [each for each in heads if self._is_wanted(each)]
        if not wanted:
            return
        acts = [
            partial(self._once, each)
            for each in wanted
            for _ in range(each.times if each.rules.update_together else 1)
        ]
        answers = iter(outbound.together(*acts))
        for update in wanted:
            answer = next(answers)
            for _ in range(update.times - 1):
                if update.rules.update_together:
                    next(answers)
                else:
                    outbound.together(partial(self._once, update))
            self._settle(update, answer)

    def _deliver_again(self, update: Update) -> None:
        with self._journal.change():
            self._on_wire += 1
        self._deliver(update)

    def _is_wanted(self, update: Update) -> bool:
        """Whether it still waits for a webhook that is still there."""
        with self._journal.change():
            if self.webhook.url and update.place in self._pending:
                return True
            self._on_wire -= 1
            self._free(update)
            return False

    def _once(self, update: Update) -> outbound.Answer:
        hook = self.webhook
        headers = {"Content-Type": outbound.JSON, "Accept-Encoding": "gzip, deflate"}
        if hook.secret:
            headers[SECRET_HEADER] = hook.secret
        return self._post(hook.url, update.body, headers, ANSWER_TIMEOUT_SECONDS)

    def _settle(self, update: Update, answer: outbound.Answer | outbound.Unanswered) -> None:
        """Done with it, or once more later."""
        is_taken = isinstance(answer, outbound.Answer) and 200 <= answer.status <= 299
        if is_taken and update.tries == 0 and self._rulebook.happens(update.rules.update_lost):
            answer, is_taken = outbound.Unanswered("answer lost"), False
        with self._journal.change():
            self._on_wire -= 1
            if not is_taken:
                self._again(update, answer, self._clock.now())
                return
            self._gone_since = None
            self._drop(update)
            self._free(update)
        if isinstance(answer, outbound.Answer) and answer.text.strip():
            self._perform(answer)

    def _again(
        self, update: Update, answer: outbound.Answer | outbound.Unanswered, now: datetime
    ) -> None:
        said = "Connection timed out" if isinstance(answer, outbound.Unanswered) else (
            f"Wrong response from the webhook: {answer.status}"
        )  # fmt: skip
        log.info("an update was not taken: %s", said)
        self._error = (now, said)
        is_gone = isinstance(answer, outbound.Answer) and answer.status == 410
        self._gone_since = (self._gone_since or now) if is_gone else None
        if self._gone_since and now - self._gone_since >= timedelta(hours=GONE_HOURS_MAX):
            self.webhook = Webhook(allowed=self.webhook.allowed)
        seconds = self._seconds_to_next(update.tries, answer)
        update.tries += 1
        if now + timedelta(seconds=seconds) > update.expires_at:
            self._drop(update)
            self._free(update)
        else:
            self._clock.after(seconds, partial(self._deliver_again, update))
            self._pump()  # its connection is free, its lane is not

    def _seconds_to_next(self, tries: int, answer: outbound.Answer | outbound.Unanswered) -> float:
        """At once; then 2, 4, 8 … up to a ceiling between one and two minutes."""
        headers: Mapping[str, str] = getattr(answer, "headers", {})
        asked = headers.get("retry-after", "")
        if asked.isdecimal():
            return min(float(asked), RETRY_AFTER_SECONDS_MAX)
        if tries == 0:
            return 0.0
        ceiling = self._chance.uniform(60, 120)
        return min(2.0**tries, ceiling) * self._rulebook.rules.update_pace

    def _drop(self, update: Update) -> None:
        if self._pending.pop(update.place, None) is None:
            return
        line = self._lanes[update.lane]
        line.remove(update)
        if not line:
            del self._lanes[update.lane]

    def _free(self, update: Update) -> None:
        self._busy.discard(update.lane)
        self._pump()


def _without_number(update: Content) -> Content:
    return {name: value for name, value in update.items() if name != "update_id"}


def _known(kinds: Sequence[str]) -> tuple[str, ...]:
    return tuple(it for it in kinds if it in KINDS)


def _lane(update: Content) -> tuple[Lane, float]:
    """Which queue it stands in, and for how many seconds at most. A crafted one may be anything."""
    kind = next(iter(_without_number(update)), "")
    content = update.get(kind)
    fields = content if isinstance(content, dict) else {}
    if kind in _MESSAGES or kind in _MEMBERS:
        chat = fields.get("chat")
        who = chat.get("id") if isinstance(chat, dict) else None
        lane: Lane = ("messages" if kind in _MESSAGES else "members", str(who))
    elif kind == "callback_query":
        person = fields.get("from")
        lane = (kind, str(person.get("id") if isinstance(person, dict) else None))
    else:
        lane = ("others", "")
    return lane, LIFETIME_SECONDS.get(kind, DAY_SECONDS)
