"""One hop: lock the conversation, refuse repeats, take the new answer, keep where it stands.

How an incoming hop is told apart is Africa's Talking's: `text` is all that was typed in the
session, joined by stars, without escapes; what is new is what it adds to the text last accepted.
"""

import hmac
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from core import members
from core.database import Db
from core.members import Member
from core.rules import Rules
from flows import conversations, engine
from flows.book import BOOK
from flows.conversations import Answered, Conversation
from flows.engine import Context, EffectAhead, Frame, Outdated, Step
from flows.words import FALLBACK, common

Column = TypeVar("Column")

DIGEST_BYTES = 16
DIALLED_ANSWERS_MAX = 20


@dataclass(frozen=True)
class Inbound:
    """One request of a gateway that repeats the whole history.

    text: everything typed in the session so far, joined by stars. dialled_ahead: whether answers
    dialled with the code are taken (otherwise the first screen is shown).
    """

    channel: str
    address: str = field(repr=False)
    msisdn: str = field(repr=False)
    session: str
    service_code: str
    text: str = field(repr=False)
    room_septets: int
    dialled_ahead: bool = True


@dataclass(frozen=True)
class Reply:
    """What to show. language: the member's, for whoever must add words of its own."""

    text: str = field(repr=False)
    ends: bool
    label: str
    language: str


def hop(db: Db, inbound: Inbound, rules: Rules, now: datetime) -> Reply:
    """Answer one hop, once: a repeat gets the stored screen and runs nothing."""
    conversation = conversations.lock(db, inbound.channel, inbound.address, inbound.msisdn, now)
    hopping = _Hop(db, inbound, rules, now, conversation)
    return hopping.same_session() if _continues(inbound, conversation) else hopping.new_session()


def sorry(words: str, language: str | None) -> str:
    """When a hop gets no answer of its own: in every language where the member's is not known.

    words: "apology", we are late; "too_many", she asks too often.
    """
    texts = common().texts[words]
    return texts[language] if language else "\n".join(texts[name] for name in common().languages)


def digest(rules: Rules, session: str, text: str) -> bytes:
    """A keyed hash of what was typed so far, from which no PIN can be read back."""
    message = f"hop\0{session}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.digest(rules.token_key, message, "sha256")[:DIGEST_BYTES]


def answered_before(db: Db, inbound: Inbound, rules: Rules, now: datetime) -> Reply | None:
    """The stored answer to this very hop: the proof, after a commit whose outcome was lost.

    The lock waits for a commit that is still under way.
    """
    conversation = conversations.lock(db, inbound.channel, inbound.address, inbound.msisdn, now)
    return _Hop(db, inbound, rules, now, conversation).repeat()


def _continues(inbound: Inbound, conversation: Conversation) -> bool:
    return inbound.session == conversation.session


class _Hop:
    """The one hop while it is being answered."""

    def __init__(
        self, db: Db, inbound: Inbound, rules: Rules, now: datetime, conversation: Conversation
    ) -> None:
        self.db, self.inbound, self.rules, self.now = db, inbound, rules, now
        self.conversation = conversation
        self.digest = digest(rules, inbound.session, inbound.text)
        language = conversation.member_language or conversation.language or FALLBACK
        self.context = Context(
            db,
            now,
            rules,
            inbound.msisdn,
            language if language in common().languages else FALLBACK,
            _member(conversation),
            inbound.room_septets,
            parked=conversations.frame_of(conversation.parked),
        )

    def same_session(self) -> Reply:
        """The newest session of this phone: a repeat, a new answer, something late or forged."""
        if self.inbound.service_code != self.conversation.service_code:
            return self._refuse("conflict")
        if self.digest == self.conversation.accepted_digest:
            return self.repeat() or self._refuse("conflict")
        answer = self._new_answer()
        if answer is None:
            return self.repeat() or self._refuse("conflict")
        frame = conversations.frame_of(self.conversation.frame)
        if frame is None:
            return self._refuse("over")
        return self._save(self._take(frame, answer))

    def new_session(self) -> Reply:
        """A dial; or a hop of an older session, which moves nothing any more."""
        known = conversations.heard(self.db, self.inbound.session, self.digest)
        if known is not None:
            if known.conversation_id != self.conversation.id:
                return self._refuse("conflict")
            return self._again(known) if known.same else self._refuse("over")
        if self.inbound.text and self.inbound.dialled_ahead:
            return self._save(self._dialled_ahead())
        return self._save(self._dial())

    def _new_answer(self) -> str | None:
        """What the text adds to the text last accepted; None: it does not continue it."""
        text, length = self.inbound.text, self.conversation.accepted_length
        accepted = digest(self.rules, self.inbound.session, text[:length])
        if len(text) <= length or accepted != self.conversation.accepted_digest:
            return None
        if length == 0:
            return text
        return text[length + 1 :] if text[length] == "*" else None

    def _take(self, frame: Frame, answer: str) -> Step:
        try:
            return engine.take(BOOK, frame, answer, self.context)
        except Outdated:
            return self._start_over()

    def _dial(self) -> Step:
        """The first screen, or what was left unfinished."""
        frame = conversations.frame_of(self.conversation.frame)
        if frame is not None and frame.flow == engine.HOME:
            frame = self.context.parked
        if frame is None:
            return engine.begin(BOOK, engine.HOME, self.context)
        rule, hours_max = engine.resume_rule(BOOK, frame)
        too_old = self.now - self.conversation.updated_at > timedelta(hours=hours_max)
        if rule == "restart" or too_old:
            return engine.begin(BOOK, engine.HOME, self.context)
        try:
            if rule == "continue":
                return engine.redraw(BOOK, frame, self.context)
            return engine.offer(BOOK, frame, self.context)
        except Outdated:
            return self._start_over()

    def _dialled_ahead(self) -> Step:
        """Walk through answers that came with the code, up to the first that would do something."""
        self.context.replaying = True
        step = engine.begin(BOOK, engine.HOME, self.context)
        passed = ""
        for number, answer in enumerate(self.inbound.text.split("*")[:DIALLED_ANSWERS_MAX]):
            self._pass_over(passed, step)
            passed = f"{passed}*{answer}" if number else answer
            if step.frame is None:
                break
            try:
                step = engine.take(BOOK, step.frame, answer, self.context)
            except EffectAhead:
                break
        return step

    def _pass_over(self, text: str, step: Step) -> None:
        conversations.keep_hop(
            self.db,
            self.conversation.id,
            session=self.inbound.session,
            digest=digest(self.rules, self.inbound.session, text),
            label=step.screen.label,
            screen=step.screen.kept(),
            now=self.now,
        )

    def _start_over(self) -> Step:
        """The conversation was begun before a change of the flow that it does not survive."""
        self.context.parked = None
        return engine.begin(BOOK, engine.HOME, self.context)

    def repeat(self) -> Reply | None:
        """The stored answer to this very hop, if it was here before."""
        known = conversations.answered(self.db, self.inbound.session, self.digest)
        if known is None or known.conversation_id != self.conversation.id:
            return None
        return self._again(known)

    def _again(self, known: Answered) -> Reply:
        text, frame = known.screen, conversations.frame_of(self.conversation.frame)
        newest = self.digest == self.conversation.accepted_digest
        if engine.HIDDEN in text and newest and frame is not None:
            with suppress(Outdated):  # a flow that changed since: then it stays hidden
                text = engine.reveal(BOOK, frame, text, self.context)
        return Reply(text, known.ends, "repeat", self.context.language)

    def _refuse(self, words: str) -> Reply:
        text = common().texts[words][self.context.language]
        return Reply(text, True, words, self.context.language)

    def _save(self, step: Step) -> Reply:
        screen, frame, member = step.screen, step.frame, self.context.member
        if member is not None and member.language != self.context.language:
            members.set_language(self.db, member.id, self.context.language, self.now)
        offered = frame is not None and (frame.flow, frame.state) == (engine.HOME, engine.OFFER)
        conversations.save(
            self.db,
            self.conversation.id,
            session=self.inbound.session,
            service_code=self.inbound.service_code,
            accepted_length=len(self.inbound.text),
            digest=self.digest,
            language=self.context.language,
            frame=frame,
            parked=self.context.parked if offered else None,
            screen=screen.kept(),
            ends=screen.ends,
            label=screen.label,
            now=self.now,
        )
        return Reply(screen.drawn(), screen.ends, screen.label, self.context.language)


def _member(kept: Conversation) -> Member | None:
    if kept.member_id is None:
        return None
    return Member(
        kept.member_id,
        _there(kept.msisdn),
        _there(kept.name),
        _there(kept.member_language),
        _there(kept.place_id),
        _there(kept.is_seller),
        _there(kept.consent_version),
    )


def _there(column: Column | None) -> Column:
    """A column that a found member always has; the left join's type cannot say so."""
    assert column is not None, "a member without one of its columns"
    return column
