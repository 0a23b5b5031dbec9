"""USSD: one hop within its deadline, or an apology that never follows a commit."""

from collections import OrderedDict
from dataclasses import replace
from time import monotonic
from typing import Final

import structlog

from channels.limits import HopLimit
from core.database import Database
from core.errors import CommitUnknown, OutOfTime, Unavailable
from core.rules import Rules
from flows import conversations, nudges, run
from flows.conversations import Ended
from flows.run import Inbound, Reply, Wisher
from flows.standing import Standing

log = structlog.get_logger(__name__)

LANGUAGES_KEPT_MAX = 10_000
END_SECONDS_MAX: Final = 3.0  # to keep that a session is over
PROOF_SECONDS = 1.0  # for what is done after a failure: was it kept, shall it be forgotten


class Hopper:
    """Answers hops for one process; remembers the languages of those it spoke to lately."""

    def __init__(
        self,
        database: Database,
        rules: Rules,
        *,
        seconds_max: float,
        limit: HopLimit | None = None,
        standing: Standing | None = None,
    ) -> None:
        """standing: where this process leaves conversations; None: each hop reads its own."""
        self._database = database
        self._rules = rules
        self._seconds_max = seconds_max
        self._limit = limit
        self._standing = standing
        self._languages: OrderedDict[str, str] = OrderedDict()

    def answer(self, inbound: Inbound, wisher: Wisher = run.nothing) -> Reply:
        """The screen for this hop. Never raises: what cannot be answered is apologised for.

        wisher: what to send of it besides, written with the hop.
        """
        started = monotonic()
        if self._limit is not None and not self._limit.admits(_person(inbound)):
            log.warning("hop_beyond_limit")
            return self._sorry(inbound, "too_many")
        try:
            reply = self._glanced(inbound, wisher)
            if reply is None:
                left = self._seconds_max - (monotonic() - started)
                with self._database.begin(seconds=left, durable=False) as db:
                    reply = run.hop(db, inbound, self._rules, self._database.clock(), wisher)
        except CommitUnknown:
            reply = self._proved(inbound) or self._sorry(inbound, "apology")
        except Unavailable as error:
            log.warning("hop_late", reason=type(error).__name__, seconds=monotonic() - started)
            reply = self._sorry(inbound, "apology")
        except Exception:
            # Whatever we broke, she gets a polite end instead of the network's error. A label of
            # its own: the same request would break again, so nobody shall repeat it.
            log.exception("hop_broken", service_code=inbound.service_code)
            self._forget(inbound)
            reply = replace(self._sorry(inbound, "apology"), label="broken")
        else:
            self._remember(inbound.address, reply.language)
        return reply

    def ended(self, notice: Ended) -> None:
        """Keep a gateway's notice that a session is over. Never raises: no gateway repeats it."""
        try:
            with self._database.begin(seconds=END_SECONDS_MAX) as db:
                now = self._database.clock()
                if conversations.end_session(db, notice, now) and notice.status == "Incomplete":
                    nudges.foresee(db, notice.session, self._rules, now)
        except Unavailable as error:
            log.warning("session_end_not_kept", reason=type(error).__name__)

    def _glanced(self, inbound: Inbound, wisher: Wisher) -> Reply | None:
        """The answer, where no lock is needed for it."""
        try:
            with self._database.autocommit(seconds=self._seconds_max) as db:
                now = self._database.clock()
                return run.glance(db, inbound, self._rules, now, wisher, self._standing)
        except OutOfTime:
            raise
        except Unavailable:
            return None  # if it was kept all the same, the locked hop finds it

    def _proved(self, inbound: Inbound) -> Reply | None:
        """The connection broke during the commit: look whether the hop is there."""
        try:
            with self._database.begin(seconds=PROOF_SECONDS) as db:
                return run.answered_before(db, inbound, self._rules, self._database.clock())
        except Unavailable:
            return None

    def _forget(self, inbound: Inbound) -> None:
        """Whatever stands there breaks us: the next dial shall begin at the beginning."""
        try:
            with self._database.begin(seconds=PROOF_SECONDS) as db:
                conversations.forget(db, inbound.channel, inbound.address)
        except Unavailable as error:
            log.warning("hop_not_forgotten", reason=type(error).__name__)

    def _sorry(self, inbound: Inbound, words: str) -> Reply:
        language = self._languages.get(inbound.address)
        return Reply(run.sorry(words, language), True, words, language or "")

    def _remember(self, address: str, language: str) -> None:
        self._languages[address] = language
        self._languages.move_to_end(address)
        if len(self._languages) > LANGUAGES_KEPT_MAX:
            self._languages.popitem(last=False)


def _person(inbound: Inbound) -> str:
    """Who is counted: the phone, or the chat that has proved none."""
    return inbound.msisdn or f"{inbound.channel}:{inbound.address}"
