"""Phones with an open USSD session: they dial, reply and hang up through Africa's Talking.

The gateway behind them sends the whole input so far with each hop, waits ten seconds, and posts a
notice when a session has ended. Source: Africa's Talking, USSD session callback and its captures.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import quote_plus

from simulator import outbound
from simulator.books import Books
from simulator.clock import Clock
from simulator.journal import Journal
from simulator.rulebook import Rulebook
from simulator.rules import Rules

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_SECONDS = 10.0
REPLY_LETTERS_MAX = 80  # Safaricom's limit on what a person can send
REMEMBER_SECONDS = 3600.0  # a session that has ended is still known as ended for so long
METADATA_HEADER = "at-ussd-hop-metadata"
METADATA_LETTERS_MAX = 99
NETWORK_ERROR = "Network error. Try again later."
UNKNOWN_SERVICE = "Unknown service"

Status = Literal["Success", "Incomplete", "Failed"]


@dataclass(frozen=True, slots=True)
class View:
    """What the person sees. session is None where none was opened (unknown code)."""

    session: str | None
    screen: str
    is_open: bool


@dataclass(slots=True)
class Session:
    """One dialogue. replies joined with "*" are the `text` of the next hop."""

    id: str
    msisdn: str
    network_code: str
    began_at: datetime
    touched_at: datetime
    replies: list[str]
    hops: int = 0
    last_answer: str = ""
    metadata: str | None = None
    metadata_seen: list[str] = field(default_factory=list)
    past_texts: list[str] = field(default_factory=list)
    is_open: bool = True
    is_waiting: bool = False  # a hop is on its way

    @property
    def text(self) -> str:
        return "*".join(self.replies)


class NoSuchSession(Exception):
    """No session has that id."""


class SessionClosed(Exception):
    """The session has ended, or a hop of it is still on its way."""


class TooLong(Exception):
    """More than the network lets a person send."""


class Handsets:
    """All phones in this world. Verbs lock it themselves, but not while the application answers."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        journal: Journal,
        rulebook: Rulebook,
        chance: random.Random,
        post: outbound.Post,
        *,
        service_code: str,
        callback_url: str,
    ) -> None:
        self._books = books
        self._clock = clock
        self._journal = journal
        self._rulebook = rulebook
        self._chance = chance
        self._post = post
        self._service_code = service_code
        self._callback_url = callback_url
        self._sessions: dict[str, Session] = {}
        self._open: dict[str, str] = {}  # a phone's open session, by msisdn
        self._newest: dict[str, Session] = {}  # its last one, open or not

    def dial(self, msisdn: str, code: str) -> View:
        """Dial a code. A longer one than the service's (`*384*7042*1#`) replies in advance.

        A session the phone still had open ends, Incomplete. Raises TooLong.
        """
        if len(code) > REPLY_LETTERS_MAX:
            raise TooLong
        replies = self._advance_replies(code)
        if replies is None:
            return View(None, UNKNOWN_SERVICE, False)
        with self._journal.change():
            notice = self._close_open(msisdn)
            now = self._clock.now()
            session = Session(
                f"ATUid_{self._chance.getrandbits(128):032x}",
                msisdn,
                self._books.network_code(msisdn, now),
                now,
                now,
                replies,
            )
            self._sessions[session.id] = session
            self._open[msisdn] = session.id
            self._newest[msisdn] = session
            rules = self._rulebook.rules
            self._clock.after(rules.session_seconds, lambda: self._time_out(session))
        notice()
        return self._hop(session)

    def reply(self, session_id: str, text: str) -> View:
        """Send a reply. Raises NoSuchSession, SessionClosed, TooLong."""
        if len(text) > REPLY_LETTERS_MAX:
            raise TooLong
        with self._journal.change():
            session = self._session(session_id)
            if not session.is_open or session.is_waiting:
                raise SessionClosed
            session.past_texts.append(session.text)
            session.replies.append(text)
        return self._hop(session)

    def hang_up(self, session_id: str) -> View:
        """End the session from the phone's side. Raises NoSuchSession, SessionClosed."""
        with self._journal.change():
            session = self._session(session_id)
            if not session.is_open:
                raise SessionClosed
            notice = self._close(session, "Incomplete")
        notice()
        return View(session.id, "", False)

    def is_in_session(self, msisdn: str) -> bool:
        """Whether the phone's screen is taken by USSD."""
        return msisdn in self._open

    def newest(self, msisdn: str) -> Session | None:
        """The session the phone opened last. Look at it inside one `journal.change()`."""
        return self._newest.get(msisdn)

    def _advance_replies(self, code: str) -> list[str] | None:
        """The replies dialled along with the code; None: not our service."""
        service = self._service_code.removesuffix("#")
        if code == self._service_code:
            return []
        if code.startswith(service + "*") and code.endswith("#"):
            return code[len(service) + 1 : -1].split("*")
        return None

    def _session(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise NoSuchSession
        return session

    def _hop(self, session: Session) -> View:
        """Carry the session's text to the application and its answer back, as the rules will."""
        with self._journal.change():
            rules = self._rulebook.for_hop()
            session.is_waiting = True
            session.hops += 1
            session.touched_at = self._clock.now()
            text, late = session.text, session.past_texts[-1] if session.past_texts else None
            metadata = session.metadata
        answer = self._deliver(session, text, metadata, rules)
        if rules.hop_late and late is not None:
            self._deliver(session, late, metadata, self._rulebook.rules)
        if self._rulebook.happens(rules.hop_lost):
            answer = outbound.Unanswered("answer lost")
        with self._journal.change():
            session.is_waiting = False
            session.touched_at = self._clock.now()
            if not session.is_open:  # hung up, timed out or redialled while this was on its way
                return View(session.id, "", False)
            view, notice = self._take(session, answer)
            if session.is_open:
                idle = self._rulebook.rules.idle_seconds
                self._clock.after(idle, lambda: self._time_out_if_idle(session, idle))
        notice()
        return view

    def _deliver(
        self, session: Session, text: str, metadata: str | None, rules: Rules
    ) -> outbound.Answer | outbound.Unanswered:
        """Post one hop, repeated as the rules say; the first answer is the one that counts."""
        body = form(
            ("phoneNumber", session.msisdn),
            ("serviceCode", self._service_code),
            ("text", text),
            ("sessionId", session.id),
            ("networkCode", session.network_code),
        )
        headers = {
            "User-Agent": "at-ussd-api/1.0",
            "Accept-Encoding": "gzip",
            "Content-Type": outbound.FORM,
        }
        if metadata is not None:
            headers[METADATA_HEADER] = metadata

        def once() -> outbound.Answer:
            return self._post(self._callback_url, body, headers, ANSWER_TIMEOUT_SECONDS)

        if rules.hop_together:
            return outbound.together(rules.hop_repeats, once)[0]
        answers = [outbound.together(1, once)[0] for _ in range(rules.hop_repeats)]
        return answers[0]

    def _take(
        self, session: Session, answer: outbound.Answer | outbound.Unanswered
    ) -> tuple[View, Callable[[], None]]:
        """What the answer does to the session: the view, and the end notice to send if any."""
        if isinstance(answer, outbound.Unanswered):
            log.info("a hop was not answered: %s", answer)
            return self._fail(session, "The application did not answer")
        session.last_answer = answer.text
        self._take_metadata(session, answer)
        if answer.status != 200:
            log.info("a hop was answered HTTP %d", answer.status)
            return self._fail(session, f"The application answered HTTP {answer.status}")
        prefix, screen = answer.text[:4], answer.text[4:]
        if prefix == "CON ":
            return View(session.id, screen, True), _nothing
        if prefix == "END ":
            return View(session.id, screen, False), self._close(session, "Success")
        log.info("a hop was answered without CON or END")
        return self._fail(session, "The answer begins with neither CON nor END")

    def _take_metadata(self, session: Session, answer: outbound.Answer) -> None:
        label = answer.headers.get(METADATA_HEADER)
        if label is not None and len(label) <= METADATA_LETTERS_MAX and "|" not in label:
            session.metadata = label
            session.metadata_seen.append(label)

    def _fail(self, session: Session, why: str) -> tuple[View, Callable[[], None]]:
        notice = self._close(session, "Failed", why)
        return View(session.id, NETWORK_ERROR, False), notice

    def _close_open(self, msisdn: str) -> Callable[[], None]:
        session_id = self._open.get(msisdn)
        return _nothing if session_id is None else self._close(
            self._sessions[session_id], "Incomplete"
        )  # fmt: skip

    def _time_out(self, session: Session) -> None:
        with self._journal.change():
            notice = self._close(session, "Incomplete") if session.is_open else _nothing
        notice()

    def _time_out_if_idle(self, session: Session, idle_seconds: float) -> None:
        still = self._clock.now() - session.touched_at >= timedelta(seconds=idle_seconds)
        if still:
            self._time_out(session)

    def _close(self, session: Session, status: Status, error: str = "") -> Callable[[], None]:
        """End the session. Returns what to do once the world is unlocked: the notice, or nothing.

        Gateways give no promise about this notice: it may come before, after or never.
        """
        session.is_open = False
        if self._open.get(session.msisdn) == session.id:
            del self._open[session.msisdn]
        self._clock.after(REMEMBER_SECONDS, lambda: self._sessions.pop(session.id))
        now = self._clock.now()
        body = form(
            ("durationInMillis", str(round((now - session.began_at).total_seconds() * 1000))),
            ("phoneNumber", session.msisdn),
            ("errorMessage", error),
            ("serviceCode", self._service_code),
            ("lastAppResponse", session.last_answer),
            ("hopsMetadata", "|".join(session.metadata_seen)),
            ("hopsCount", str(session.hops)),
            ("status", status),
            ("sessionId", session.id),
            ("cost", "0.00"),
            ("date", now.strftime("%Y-%m-%d %H:%M:%S")),
            ("networkCode", session.network_code),
            ("input", session.text),
        )
        rules = self._rulebook.rules
        if rules.events == "never":
            return _nothing
        if rules.events == "before":
            return lambda: self._notify(body)
        self._clock.after(rules.events_seconds, lambda: self._notify(body))
        return _nothing

    def _notify(self, body: bytes) -> None:
        headers = {"User-Agent": "at-ussd-api/1.0", "Content-Type": outbound.FORM}
        try:
            self._post(self._callback_url + "/events", body, headers, ANSWER_TIMEOUT_SECONDS)
        except outbound.Unanswered as lost:
            log.info("an end notice was not answered: %s", lost)


def form(*pairs: tuple[str, str]) -> bytes:
    """Form data as the gateway encodes it: "+", "*" and "#" escaped, a space as "+".

    A lone surrogate, which a broken phone may send, goes out as the bytes it would be.
    """
    return "&".join(
        f"{name}={quote_plus(value, safe='', errors='surrogatepass')}" for name, value in pairs
    ).encode("ascii")


def _nothing() -> None:
    pass
