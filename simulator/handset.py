"""Phones with an open USSD session: they dial, reply and hang up, through whichever gateway."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from simulator import outbound
from simulator.ground import Ground, Part
from simulator.rules import Rules
from simulator.ussd import NETWORK_ERROR, Gateway, Request, Session, Status

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_SECONDS = 10.0
REPLY_LETTERS_MAX = 80  # Safaricom's limit on what a person can send
REMEMBER_SECONDS = 3600.0  # a session that has ended is still known as ended for so long
UNKNOWN_SERVICE = "Unknown service"


@dataclass(frozen=True, slots=True)
class View:
    """What the person sees. session is None where none was opened (unknown code)."""

    session: str | None
    screen: str
    is_open: bool


class NoSuchSession(Exception):
    """No session has that id."""


class SessionClosed(Exception):
    """The session has ended, or a hop of it is still on its way."""


class TooLong(Exception):
    """More than the network lets a person send."""


class Handsets(Part):
    """All phones in this world. Verbs lock it themselves, but not while the application answers."""

    def __init__(self, ground: Ground, gateways: Mapping[str, Gateway]) -> None:
        """gateways: by name; a code is dialled through the first whose service it is."""
        super().__init__(ground)
        self.gateways = gateways
        self._sessions: dict[str, Session] = {}
        self._open: dict[str, str] = {}  # a phone's open session, by msisdn
        self._newest: dict[str, Session] = {}  # its last one, open or not

    def dial(self, msisdn: str, code: str, gateway: str | None = None) -> View:
        """Dial a code. A longer one than the service's (`*384*7042*1#`) replies in advance.

        gateway: the only one to dial through. A session the phone still had open ends, Incomplete.
        Raises TooLong.
        """
        if len(code) > REPLY_LETTERS_MAX:
            raise TooLong
        through = self.gateways.values() if gateway is None else [self.gateways[gateway]]
        found = ((each, each.replies_dialled(code)) for each in through)
        serving, replies = next((it for it in found if it[1] is not None), (None, None))
        if serving is None or replies is None:
            return View(None, UNKNOWN_SERVICE, False)
        with self._journal.change():
            notice = self._close_open(msisdn)
            now = self._clock.now()
            session = Session(
                id=serving.new_id(self._chance),
                gateway=serving,
                msisdn=msisdn,
                network_code=self._books.network_code(msisdn, now),
                dialled=code,
                began_at=now,
                touched_at=now,
                replies=replies,
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

    def _session(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise NoSuchSession
        return session

    def _hop(self, session: Session) -> View:
        """Carry the session's input to the application and its answer back, as the rules will."""
        with self._journal.change():
            rules = self._rulebook.for_hop()
            session.is_waiting = True
            session.hops += 1
            session.touched_at = self._clock.now()
            late = session.newest
            session.newest = request = session.gateway.hop(session, rules)
        answer = self._deliver(request, rules)
        if rules.hop_late and late is not None:
            self._deliver(late, self._rulebook.rules)
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

    def _deliver(self, request: Request, rules: Rules) -> outbound.Answer | outbound.Unanswered:
        """Send one hop, repeated as the rules say; the first answer is the one that counts."""
        once = partial(self._send, request)
        if rules.hop_together:
            return outbound.together(*[once] * rules.hop_repeats)[0]
        answers = [outbound.together(once)[0] for _ in range(rules.hop_repeats)]
        return answers[0]

    def _send(self, request: Request) -> outbound.Answer:
        how = {} if request.method == "POST" else {"method": request.method}
        return self._post(request.url, request.body, request.headers, ANSWER_TIMEOUT_SECONDS, **how)

    def _take(
        self, session: Session, answer: outbound.Answer | outbound.Unanswered
    ) -> tuple[View, Callable[[], None]]:
        """What the answer does to the session: the view, and the end notice to send if any."""
        if isinstance(answer, outbound.Unanswered):
            log.info("a hop was not answered: %s", answer)
            notice = self._close(session, "Failed", "The application did not answer")
            return View(session.id, NETWORK_ERROR, False), notice
        session.last_answer = answer.text
        screen = session.gateway.read(session, answer)
        if screen.wrong:
            log.info("a hop was answered wrongly: HTTP %d", answer.status)
            notice = self._close(session, "Failed", screen.wrong)
        else:
            notice = _nothing if screen.goes_on else self._close(session, "Success")
        return View(session.id, screen.text, screen.goes_on), notice

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
        request = session.gateway.notice(session, status, error, self._clock.now())
        rules = self._rulebook.rules
        if request is None or rules.events == "never":
            return _nothing
        if rules.events == "before":
            return partial(self._notify, request)
        self._clock.after(rules.events_seconds, partial(self._notify, request))
        return _nothing

    def _notify(self, request: Request) -> None:
        try:
            self._send(request)
        except outbound.Unanswered as lost:
            log.info("an end notice was not answered: %s", lost)


def _nothing() -> None:
    pass
