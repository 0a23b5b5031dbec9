"""One hop on any channel: refuse repeats, take the new answer, keep where the member stands.

A gateway that repeats the whole history (Africa's Talking) sends `text`: all that was typed in the
session, joined by stars, without escapes; what is new is what it adds to the text last accepted.
The others send only what is new, with a key of its own.

A hop that only shows the next screen takes no lock: it reads, or remembers, draws, and saves in
one statement that finds out whether the conversation still stands there (glance). Whatever has an
effect, or loses that race, is done under the lock of all of the phone's conversations (hop).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TypeVar
from uuid import UUID

import psycopg

from core import members
from core.database import Db
from core.members import Member
from core.rules import Rules
from flows import conversations, engine
from flows.book import BOOK
from flows.conversations import Answered, Conversation, Glimpse, Wish
from flows.engine import Context, EffectAhead, Frame, Outdated, Screen, Step
from flows.standing import Standing
from flows.words import FALLBACK, common

Column = TypeVar("Column")

DIGEST_BYTES = 16
DIALLED_ANSWERS_MAX = 20


@dataclass(frozen=True)
class History:
    """All that was typed in the session so far, joined by stars.

    dialled_ahead: whether answers dialled with the code are taken (otherwise the first screen is
    shown).
    """

    text: str = field(repr=False)
    dialled_ahead: bool = True


@dataclass(frozen=True)
class Answer:
    """Only what was typed now. key: names this request within its session.

    begins: where nothing is open, the first screen is the answer (otherwise the label "over").
    """

    key: str
    text: str = field(repr=False)
    begins: bool = False


@dataclass(frozen=True)
class Tap:
    """A button of a screen. option: what one would have typed; turn: of the screen it stood on."""

    key: str
    turn: int
    option: str


@dataclass(frozen=True)
class Begin:
    """A dial, a command, a keyword: a flow from its first state, or from one with answers given.

    ahead: answers dialled with the code. resumes: what was left unfinished goes on without asking.
    """

    key: str
    flow: str = engine.HOME
    state: str = ""
    answers: Mapping[str, object] = field(default_factory=dict, repr=False)
    ahead: Sequence[str] = field(default=(), repr=False)
    resumes: bool = False


@dataclass(frozen=True)
class Inbound:
    """One request of a channel.

    address: the phone, the chat. msisdn: proved by the network; None: the conversation's own.
    session: the gateway's, or one for ever where there are none. private: whether a PIN may be
    typed. language: a stranger's, if the channel tells it.
    """

    channel: str
    address: str = field(repr=False)
    msisdn: str | None = field(repr=False)
    session: str
    service_code: str
    said: History | Answer | Tap | Begin
    room_septets: int
    private: bool = True
    language: str | None = None


@dataclass(frozen=True)
class Reply:
    """What to show. language: the member's, for whoever must add words of its own.

    screen: its parts, where it was drawn just now. turn: what a button of it must carry.
    repeated: this very request was answered before. takes_secret: what was typed is one.
    """

    text: str = field(repr=False)
    ends: bool
    label: str
    language: str
    screen: Screen | None = field(default=None, repr=False)
    turn: int = 0
    repeated: bool = False
    takes_secret: bool = False


Wisher = Callable[[Reply], Wish | None]  # what to send of it, on a channel that must


def nothing(_reply: Reply) -> None:
    return None


def glance(
    db: Db,
    inbound: Inbound,
    rules: Rules,
    now: datetime,
    wisher: Wisher = nothing,
    standing: Standing | None = None,
) -> Reply | None:
    """Answer a hop that changes nothing but its own conversation. None: it takes a lock.

    db: in autocommit. Nothing is written but by the last statement. standing: where this process
    left conversations; whatever does not save what follows from there is asked of the database.
    """
    try:
        if standing and (reply := _remembered(db, inbound, rules, now, wisher, standing)):
            return reply
        found = conversations.glimpse(
            db, inbound.channel, inbound.address, inbound.msisdn, inbound.session
        )
        if found is None:
            return None
        hop = _Hop(db, inbound, rules, now, wisher, found, None)
        reply = hop.answer()
    except (EffectAhead, _Moves, psycopg.errors.UniqueViolation):
        return None
    if standing and hop.left_at:
        standing.keep(hop.left_at)
    return reply


def _remembered(
    db: Db, inbound: Inbound, rules: Rules, now: datetime, wisher: Wisher, standing: Standing
) -> Reply | None:
    """The answer, if it was saved: a refusal or a repeat may come of what is no longer so."""
    found = standing.take(inbound.channel, inbound.address, inbound.msisdn, inbound.session)
    if found is None:
        return None
    hop = _Hop(db, inbound, rules, now, wisher, found, None, remembered=True)
    reply = hop.answer()
    if hop.left_at:
        standing.keep(hop.left_at)
    return reply if hop.is_saved else None


def hop(db: Db, inbound: Inbound, rules: Rules, now: datetime, wisher: Wisher = nothing) -> Reply:
    """Answer one hop, once: a repeat gets the stored screen and runs nothing."""
    own, others = conversations.lock(db, inbound.channel, inbound.address, inbound.msisdn, now)
    return _Hop(db, inbound, rules, now, wisher, own, others).answer()


def answered_before(db: Db, inbound: Inbound, rules: Rules, now: datetime) -> Reply | None:
    """The stored answer to this very hop: the proof, after a commit whose outcome was lost.

    The lock waits for a commit that is still under way.
    """
    own, others = conversations.lock(db, inbound.channel, inbound.address, inbound.msisdn, now)
    return _Hop(db, inbound, rules, now, nothing, own, others).repeat()


def awaits_words(db: Db, channel: str, address: str) -> bool:
    """Whether whatever is typed there now answers a question: words, and no command."""
    found = conversations.read(db, channel, address)
    frame = conversations.frame_of(found.frame) if found else None
    flow = BOOK.get(frame.flow) if frame else None
    state = flow.states.get(frame.state) if flow and frame else None
    return isinstance(state, engine.Ask) and not state.secret


def revealed(db: Db, conversation_id: UUID, kept: str, rules: Rules, now: datetime) -> str:
    """A kept screen with its secret in it again, where the conversation still stands there."""
    found = conversations.by_id(db, conversation_id)
    if found is None or found.frame is None:
        return kept
    context = _context(db, found, rules, now)
    with suppress(Outdated):  # a flow that changed since: then it stays hidden
        return engine.reveal(BOOK, Frame(**found.frame), kept, context)
    return kept


def sorry(words: str, language: str | None) -> str:
    """When a hop gets no answer of its own: in every language where the member's is not known.

    words: "apology", we are late; "too_many", she asks too often.
    """
    texts = common().texts[words]
    return texts[language] if language else "\n".join(texts[name] for name in common().languages)


def digest(rules: Rules, session: str, text: str) -> bytes:
    """A keyed hash of what was typed so far, from which no PIN can be read back."""
    message = f"hop\0{session}\0{text}".encode("utf-8", "surrogatepass")
    return blake2b(message, key=rules.token_key[:64], digest_size=DIGEST_BYTES).digest()


class _Moves(Exception):
    """More than its own conversation changes, or another hop was faster: it takes the lock."""


class _Hop:
    """The one hop while it is being answered. others: the phone's, locked; None: no lock is held"""

    def __init__(
        self,
        db: Db,
        inbound: Inbound,
        rules: Rules,
        now: datetime,
        wisher: Wisher,
        own: Conversation,
        others: Sequence[Conversation] | None,
        *,
        remembered: bool = False,
    ) -> None:
        self.db, self.inbound, self.rules, self.now, self.wisher = db, inbound, rules, now, wisher
        self.conversation = own
        self.others = others
        self.remembered = remembered
        self.is_saved = False
        self.left_at: Glimpse | None = None  # where it then stands, if that may be remembered
        self.dials = isinstance(own, Glimpse) and own.dials
        self.left: UUID | None = None  # the conversation that this one is taken over from
        said = inbound.said
        text = said.text if isinstance(said, History) else f"\0{said.key}"
        self.digest = digest(rules, inbound.session, text)
        # What somebody else left here, who had this number before, is nobody's any more.
        theirs = own.speaker_id in (None, own.member_id)
        self.frame = conversations.frame_of(own.frame) if theirs else None
        self.parked_from = own.parked_from if theirs else None
        self.context = context = _context(db, own, rules, now, inbound.language)
        context.msisdn = inbound.msisdn or own.msisdn or ""
        context.room_septets = inbound.room_septets
        context.private = inbound.private
        context.on_line = inbound.private and inbound.msisdn is not None
        context.replaying = others is None
        context.parked = conversations.frame_of(own.parked) if theirs else None

    def answer(self) -> Reply:
        if not self.context.msisdn:
            return self.repeat() or self._refuse("unproved")
        said = self.inbound.said
        if isinstance(said, History):
            known_session = self.inbound.session == self.conversation.session
            return self._continued(said) if known_session else self._dialled(said)
        # Without the lock the key's own uniqueness finds a repeat, when the answer is saved.
        if self.others is not None and (known := self.repeat()):
            return known
        match said:
            case Begin():
                return self._begun(said)
            case Answer():
                return self._answered(said)
            case Tap():
                return self._tapped(said)

    def repeat(self) -> Reply | None:
        """The stored answer to this very hop, if it was here before."""
        known = conversations.answered(self.db, self.inbound.session, self.digest)
        if known is None or known.conversation_id != self.conversation.id:
            return None
        return self._again(known)

    def _continued(self, said: History) -> Reply:
        """The newest session of this phone: a repeat, a new answer, something late or forged."""
        if self.inbound.service_code != self.conversation.service_code:
            return self._refuse("conflict")
        if self.digest == self.conversation.accepted_digest:
            return self.repeat() or self._refuse("conflict")
        answer = self._new_answer(said.text)
        if answer is None:
            return self.repeat() or self._refuse("conflict")
        return self._take(answer)

    def _dialled(self, said: History) -> Reply:
        """A dial; or a hop of an older session, which moves nothing any more."""
        if past := self._past():
            return past
        if said.text and said.dialled_ahead:
            return self._save(self._dialled_ahead(said.text.split("*")))
        return self._save(self._dial())

    def _past(self) -> Reply | None:
        """The answer to a hop of an older session, or of another phone's; None: it is a new one."""
        if self.dials:
            return None
        known = conversations.heard(self.db, self.inbound.session, self.digest)
        if known is None:
            return None
        if known.conversation_id != self.conversation.id:
            return self._refuse("conflict")
        return self._again(known) if known.same else self._refuse("over")

    def _begun(self, said: Begin) -> Reply:
        if self.inbound.session != self.conversation.session and (past := self._past()):
            return past
        stranger = self.context.member is None or self.conversation.shares_phone
        if stranger or (said.flow == engine.HOME and not said.state):
            if said.ahead:
                return self._save(self._dialled_ahead(said.ahead))
            return self._save(self._dial(offers=not said.resumes))
        self._park()
        step = engine.begin_at(BOOK, said.flow, said.state, said.answers, self.context)
        return self._save(step)

    def _answered(self, said: Answer) -> Reply:
        if self.inbound.session != self.conversation.session:
            if said.begins and self.conversation.session is None:
                return self._save(self._dial())
            return self._past() or self._refuse("over")
        if self.inbound.service_code != self.conversation.service_code:
            return self._refuse("conflict")
        if self._is_stale():  # a number typed days later was not meant for that screen
            return self._save(self._dial()) if said.begins else self._refuse("over")
        if self.frame is None and said.begins:
            return self._taken_back() or self._save(self._dial())
        return self._take(said.text)

    def _is_stale(self) -> bool:
        """Whether what is shown here, where no session ever ends, is too old to be answered."""
        if self.frame is None:
            return False
        _, hours_max = engine.resume_rule(BOOK, self.frame)
        return self.now - self.conversation.updated_at > timedelta(hours=hours_max)

    def _tapped(self, said: Tap) -> Reply:
        if self.frame is not None and said.turn == self.conversation.turn:
            return self._take(said.option)
        if self.frame is None:
            return self._taken_back() or self._save(self._dial())
        return self._save(self._drawn(self.frame), moved=False)

    def _new_answer(self, text: str) -> str | None:
        """What the text adds to the text last accepted; None: it does not continue it."""
        length = self.conversation.accepted_length
        accepted = digest(self.rules, self.inbound.session, text[:length])
        if len(text) <= length or accepted != self.conversation.accepted_digest:
            return None
        if length == 0:
            return text
        return text[length + 1 :] if text[length] == "*" else None

    def _take(self, answer: str) -> Reply:
        """One answer to the screen that is shown here."""
        if self.frame is None:
            return self._taken_back() or self.repeat() or self._refuse("over")
        if self.others is None and engine.acts(BOOK, self.frame):
            raise _Moves  # what reads the answer would be asked twice
        offering = (self.frame.flow, self.frame.state) == (engine.HOME, engine.OFFER)
        if offering and self.parked_from and self.others is not None:
            # It may have gone on there since it was offered here.
            standing = {other.id: self._left_at(other) for other in self.others}
            self.context.parked = standing.get(self.parked_from)
        try:
            if offering and self.context.parked is None:
                step = engine.start_over(BOOK, self.context)
            else:
                step = engine.take(BOOK, self.frame, answer, self.context)
        except Outdated:
            step = engine.start_over(BOOK, self.context)
        if self.context.resumed and self.parked_from:
            self._leave(self.parked_from)
        if offering and not _is_offer(step.frame):  # taken up, or not wanted
            self.context.parked = self.parked_from = None
        return self._save(step)

    def _taken_back(self) -> Reply | None:
        """What was shown here went on elsewhere: here is where it stands now, nothing is taken."""
        if not self.conversation.open:
            return None
        for other in self._elsewhere():
            frame = self._unfinished(other, conversations.frame_of(other.frame))
            if frame is not None:
                self._leave(other.id)
                return self._save(self._drawn(frame))
        return None

    def _drawn(self, frame: Frame) -> Step:
        try:
            return engine.redraw(BOOK, frame, self.context)
        except Outdated:
            return engine.start_over(BOOK, self.context)

    def _dial(self, *, offers: bool = True) -> Step:
        """The first screen, or what was left unfinished, here or on another channel."""
        own = self.conversation
        if own.shares_phone:  # whoever speaks now says so first
            self.context.member = None
        parked = None if self.parked_from else self.context.parked  # else it stands elsewhere
        frame = self._unfinished(own, self.frame) or self._unfinished(own, parked)
        self.context.parked = self.parked_from = None
        for other in self._elsewhere():
            newer = self._left_at(other)
            if newer is not None and (frame is None or other.updated_at > own.updated_at):
                frame, self.parked_from = newer, other.id
                break
        if frame is None:
            return engine.begin(BOOK, engine.HOME, self.context)
        try:
            if offers and engine.resume_rule(BOOK, frame)[0] == "ask":
                return engine.offer(BOOK, frame, self.context)
            step = engine.redraw(BOOK, frame, self.context)
        except Outdated:
            self.parked_from = None
            return engine.start_over(BOOK, self.context)
        if self.parked_from:
            self._leave(self.parked_from)
            self.parked_from = None
        return step

    def _left_at(self, other: Conversation) -> Frame | None:
        """What is to be taken up of another conversation: where it stands, or what it put aside."""
        frame = self._unfinished(other, conversations.frame_of(other.frame))
        if frame is None and other.parked_from is None:  # else it stands in a third
            frame = self._unfinished(other, conversations.frame_of(other.parked))
        return frame

    def _unfinished(self, kept: Conversation, frame: Frame | None) -> Frame | None:
        """A conversation's frame, if it is to be taken up again by whoever speaks now."""
        if frame is None:
            return None
        member = self.context.member
        if kept.speaker_id is not None and kept.speaker_id != (member and member.id):
            return None  # the other of two people, or who had this number before
        rule, hours_max = engine.resume_rule(BOOK, frame)
        too_old = self.now - kept.updated_at > timedelta(hours=hours_max)
        return None if rule == "restart" or too_old else frame

    def _elsewhere(self) -> Sequence[Conversation]:
        """This phone's other conversations, newest first."""
        if self.others is not None:
            return self.others
        if self.dials:
            return ()
        return conversations.elsewhere(self.db, self.context.msisdn, self.conversation.id)

    def _park(self) -> None:
        """A keyword leads away from here: what is unfinished is offered afterwards."""
        unfinished = self._unfinished(self.conversation, self.frame)
        if unfinished is not None and not _is_offer(unfinished):
            self.context.parked, self.parked_from = unfinished, None

    def _leave(self, conversation_id: UUID) -> None:
        self._lock_needed()
        self.left = conversation_id

    def _lock_needed(self) -> None:
        if self.others is None:
            raise _Moves

    def _dialled_ahead(self, answers: Sequence[str]) -> Step:
        """Walk through answers that came with the code, up to the first that would do something."""
        self._lock_needed()
        self.context.replaying = True
        if self.conversation.shares_phone:
            self.context.member = None
        step = engine.begin(BOOK, engine.HOME, self.context)
        passed = ""
        for number, answer in enumerate(answers[:DIALLED_ANSWERS_MAX]):
            if isinstance(self.inbound.said, History):
                self._pass_over(passed, step, number - DIALLED_ANSWERS_MAX)
            passed = f"{passed}*{answer}" if number else answer
            if step.frame is None:
                break
            try:
                step = engine.take(BOOK, step.frame, answer, self.context)
            except EffectAhead:
                break
        return step

    def _pass_over(self, text: str, step: Step, order: int) -> None:
        """order: below zero; hops of one request are still one after the other."""
        conversations.keep_hop(
            self.db,
            self.conversation.id,
            session=self.inbound.session,
            digest=digest(self.rules, self.inbound.session, text),
            label=step.screen.label,
            kind=step.kind,
            screen=step.screen.kept(),
            now=self.now + timedelta(microseconds=order),
        )

    def _again(self, known: Answered) -> Reply:
        text = known.screen
        newest = self.digest == self.conversation.accepted_digest
        if engine.HIDDEN in text and newest and self.frame is not None:
            with suppress(Outdated):  # a flow that changed since: then it stays hidden
                text = engine.reveal(BOOK, self.frame, text, self.context)
        turn = self.conversation.turn
        return Reply(text, known.ends, "repeat", self.context.language, turn=turn, repeated=True)

    def _refuse(self, words: str) -> Reply:
        text = common().texts[words][self.context.language]
        return Reply(text, True, words, self.context.language, turn=self.conversation.turn)

    def _save(self, step: Step, *, moved: bool = True) -> Reply:
        """Keep the turn taken. moved: False where the screen was only drawn again."""
        screen, member = step.screen, self.context.member
        if member is not None and member.language != self.context.language:
            self._lock_needed()
            members.set_language(self.db, member.id, self.context.language, self.now)
        if self.left is not None:
            conversations.leave(self.db, self.left)
        turn = self.conversation.turn + moved
        language = self.context.language
        secret = self.frame is not None and engine.asks_secret(BOOK, self.frame)
        reply = Reply(
            screen.drawn(), screen.ends, screen.label, language, screen, turn, takes_secret=secret
        )
        said = self.inbound.said
        parked = self.context.parked
        saved = conversations.save(
            self.db,
            self.conversation,
            session=self.inbound.session,
            service_code=self.inbound.service_code,
            accepted_length=len(said.text) if isinstance(said, History) else 0,
            digest=self.digest,
            turn=turn,
            language=language,
            speaker_id=member.id if member else None,
            frame=step.frame,
            parked=parked,
            parked_from=self.parked_from if parked else None,
            screen=screen.kept(),
            ends=screen.ends,
            label=screen.label,
            kind=step.kind,
            wish=self.wisher(reply),
            locked=self.others is not None,
            remembered=self.remembered,
            now=self.now,
        )
        if not saved:
            assert self.others is None, "a locked conversation was moved by somebody else"
            raise _Moves
        self.is_saved = True
        if self.others is None and member is not None and not self.conversation.shares_phone:
            self._leave_at(step.frame, turn)
        return reply

    def _leave_at(self, frame: Frame | None, turn: int) -> None:
        """As the next hop would read it. One that is over is begun anew, and read for that."""
        if frame is None:
            return
        said, parked = self.inbound.said, self.context.parked
        now_so = {
            "session": self.inbound.session,
            "service_code": self.inbound.service_code,
            "accepted_length": len(said.text) if isinstance(said, History) else 0,
            "accepted_digest": self.digest,
            "turn": turn,
            "language": self.context.language,
            "speaker_id": self.conversation.member_id,
            "frame": vars(frame),
            "parked": vars(parked) if parked else None,
            "parked_from": self.parked_from if parked else None,
            "open": True,
            "updated_at": self.now,
            "dials": False,
        }
        self.left_at = Glimpse(**{**vars(self.conversation), **now_so})


def _is_offer(frame: Frame | None) -> bool:
    return frame is not None and (frame.flow, frame.state) == (engine.HOME, engine.OFFER)


def _context(
    db: Db, kept: Conversation, rules: Rules, now: datetime, told: str | None = None
) -> Context:
    """told: the language that the channel knows of."""
    language = kept.member_language or kept.language or told or FALLBACK
    return Context(
        db,
        now,
        rules,
        kept.msisdn or "",
        language if language in common().languages else FALLBACK,
        _member(kept),
        room_septets=0,
    )


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
