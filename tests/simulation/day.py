"""A day: one seed lived from its first step to the evening, when everything must have ended."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from threading import Event
from typing import Final

from core import outbox
from core.days import today
from tests.simulation import acts, invariants, staff, weathers
from tests.simulation.fate import Fate, Job
from tests.simulation.town import Ground, Letter, Town
from tests.simulation.watch import Watch
from worker import reconciliation, tasks

STEPS: Final = 70
# Faults stop; the staff clears its desks, so many days pass, and again: by the end of the last one
# everything must have ended. After the first one the day is reconciled, as on every day.
EVENINGS: Final = (1, 2, 3, 12)
# And so many days more, one at a time, while what M-Pesa gave back by itself is not booked: that
# waits for what is being sent to the same people, and that for the money of the evening before.
EVENINGS_MORE: Final = 3
# In the evening, and on most days, nobody tells anybody anything: it costs time, and moves nothing.
MUTE: Final = frozenset[outbox.Queue]({"receipts", "broadcasts", "reports"})
ROUNDS_MAX: Final = 1_000  # of an evening
SCHEDULED: Final = ("check_ledger", "tidy", "nudge", "look_after_money", "lapse_proposals")


@dataclass(frozen=True)
class Profile:
    """How days are: what a bug is aimed at, where one is. rate: of strikes at boundaries."""

    steps: int = STEPS
    rate: float = 0.02
    acts: Collection[str] | None = None  # those alone; None: all
    weather: tuple[weathers.Weather, ...] = ()  # those alone; none: all
    pairs: float = 0.08  # how often two jobs are at work at once
    eager: int = 30  # how often somebody acts, beside the weights of all else
    begun: float = 0.6  # how often the day begins with orders on their way
    is_mute: bool | None = None  # nobody sends SMS; None: as the seed has it
    loses: bool = True  # letters are lost on their way
    capital_cents: int = 3_000_00  # in the payout float, our own
    on_hand_milli: int = 30_000  # of each of the goods


class Broken(Exception):
    """Something that must always hold does not."""


@dataclass
class Lived:
    """What became of a seed. broken: None, or what did not hold."""

    seed: object
    broken: str | None = None
    history: list[str] = field(default_factory=list)
    steps: int = 0
    strikes: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    struck: int = 0

    def told(self) -> str:
        return "\n".join([f"Seed {self.seed}: {self.broken or 'all well'}", *self.history])


ORDINARY: Final = Profile()


def live(
    ground: Ground, seed: int, profile: Profile = ORDINARY, skip: Collection[int] = ()
) -> Lived:
    """Live the day of that seed. skip: strikes of fate that are spared, by their number."""
    fate = Fate(seed, profile.rate, skip)
    lived = Lived(seed, strikes=fate.strikes, points=fate.points)
    day = Day(
        Town(ground, seed, fate, profile.on_hand_milli, profile.capital_cents), seed, profile, lived
    )
    try:
        day.live()
        day.end()
    except Broken as broken:
        lived.broken = str(broken)
    lived.struck = fate.struck
    return lived


class Day:
    def __init__(self, town: Town, seed: object, profile: Profile, lived: Lived) -> None:
        self.town, self.lived, self.profile = town, lived, profile
        self.dice = random.Random(f"day {seed}")
        self._watch = Watch(town.database)
        self._commits_checked = -1
        chosen = [
            (weight, made)
            for name, (weight, made) in acts.ACTS.items()
            if profile.acts is None or name in profile.acts
        ]
        self._weights, self._acts = [w for w, _ in chosen], [a for _, a in chosen]
        mute = self.dice.random() < 0.7 if profile.is_mute is None else profile.is_mute
        if mute:
            town.full = MUTE
        if profile.weather:
            town.world.rulebook.change(self.dice.choice(profile.weather))
            return
        if self.dice.random() < 0.8:
            town.world.rulebook.change({"auto": "0"})
        if self.dice.random() < 0.3:  # M-Pesa asks us only where it was told to
            town.world.rulebook.change({"validation": False})

    def live(self) -> None:
        if self.dice.random() < self.profile.begun:
            self._morning()
        for _ in range(self.profile.steps):
            self.lived.steps += 1
            self._step()
            self.check()

    def _morning(self) -> None:
        """Before anything befalls anybody: some orders are paid already, some are on their way."""
        town = self.town
        rate, town.fate.rate = town.fate.rate, 0.0
        rules = town.world.rulebook.rules
        town.world.rulebook.change({"auto": "0", "auto_seconds": [1.0, 2.0]})
        for buyer in town.buyers:
            self._do_deed("buys", acts.buying(town, self.dice, buyer))
        if self.profile.acts is None and self.dice.random() < 0.4:
            other = self.dice.choice((acts.has_another_pay, acts.buys_much))(town, self.dice)
            assert other is not None, "everybody has a phone in the morning"
            self._do_deed("buys", other)
        self._run_until_quiet(town.now + timedelta(seconds=20))
        for name in self.dice.choices(("accepts", "sends", "claims_delivery", "complains"), k=6):
            deed = acts.ACTS[name][1](town, self.dice)
            if deed is not None:
                self._do_deed(name, deed)
        town.world.rulebook.rules = rules
        town.fate.rate = rate

    def _do_deed(self, name: str, deed: acts.Deed) -> None:
        self._do(Step(name, deed.who, deed.what, deed.do, deed.moves))

    # --- a step -------------------------------------------------------------------------------

    def _step(self) -> None:
        dice = self.dice
        if dice.random() < 0.05:
            self._misfortune()
            return
        first = self._next()
        if first is None:
            self._pass_time()
            return
        if dice.random() < self.profile.pairs:
            other = self._next()
            if other is not None:
                self._at_once(first, other)
                return
        self._do(first)
        for _ in range(dice.choice([0, 0, 1, 3])):  # whoever works goes on for a while
            if first.who == "worker" and self.town.queue:
                self.check()
                self._do(self._task())

    def _next(self) -> "Step | None":
        """What somebody does now; None: they wait. People do more while nothing else is due."""
        town, dice = self.town, self.dice
        weights = {
            "act": self.profile.eager,
            "work": 40 if town.queue else 0,
            "post": 25 if town.letters else 0,
            "relay": 20,
            "time": 10 if town.queue or town.letters else 30,
        }
        match dice.choices(list(weights), list(weights.values()))[0]:
            case "act":
                return self._act()
            case "work":
                return self._task()
            case "post":
                return self._letter()
            case "relay" if self._is_due():
                return Step("relay", "relay", "hands out", lambda: f"{town.relay.hand_out()}")
        return None

    def _act(self) -> "Step | None":
        """The first of some acts for which there is something to do."""
        for made in self.dice.choices(self._acts, self._weights, k=5):
            deed = made(self.town, self.dice)
            if deed is not None:
                return Step(made.__name__, deed.who, deed.what, deed.do, deed.moves)
        return None

    def _task(self) -> "Step":
        """One of those that the broker holds, mostly the first; now and then it stays there too."""
        town, dice = self.town, self.dice
        place = 0 if dice.random() < 0.7 else dice.randrange(len(town.queue))
        item = town.queue[place] if dice.random() < 0.06 else town.queue.pop(place)
        subject = next(iter(item.arguments.values()), "")
        what = f"{item.kind} of {town.named(_subject(item), subject)}"
        return Step(item.kind, "worker", what, lambda: town.run_task(item))

    def _letter(self) -> "Step":
        """One that is on its way; now and then it comes again, or never."""
        town, dice = self.town, self.dice
        place = 0 if dice.random() < 0.6 else dice.randrange(len(town.letters))
        luck = dice.random()
        letter = town.letters[place] if luck < 0.1 else town.letters.pop(place)
        what = f"letter {letter.number} to {letter.name}"
        if luck > 0.94 and self.profile.loses:
            return Step("lost", "M-Pesa", what, lambda: town.lose(letter), frozenset())
        return Step(letter.name, "M-Pesa", what, lambda: self._delivered(letter))

    def _delivered(self, letter: Letter) -> str:
        said = "nobody there"
        try:
            said = self.town.deliver(letter)
        finally:
            if said != "200" and self.profile.loses:
                self.town.lose(letter)
            elif said != "200":
                self.town.letters.append(letter)
        return said

    def _pass_time(self) -> None:
        """Mostly until the next thing is due, so that a day holds many."""
        town, dice = self.town, self.dice
        luck = dice.random()
        if luck < 0.8:
            seconds = (self._next_due() - town.now).total_seconds()
            seconds = min(max(seconds, 1.0), 3 * 86_400.0)
        elif luck < 0.97:
            seconds = dice.choice([1.0, 5.0, 30.0, 61.0, 130.0, 310.0])
        else:
            seconds = dice.choice([950.0, 3_600.0, 12 * 3_600.0, 25 * 3_600.0])
        town.wait(seconds)
        self._say("time", f"{seconds:g} s pass", "")

    def _misfortune(self) -> None:
        town, dice = self.town, self.dice
        if self.profile.weather:
            rules = dice.choice(self.profile.weather)
            town.world.rulebook.change(rules)
            self._say("M-Pesa", str(rules), "")
            return
        match dice.choice(["weather"] * 6 + ["restart", "token", "schedule", "broker"]):
            case "weather":
                called, rules = weathers.change(dice)
                town.world.rulebook.change(rules)
                self._say("M-Pesa", called, "")
            case "restart":
                town.restart()
                self._say("fate", "all processes start anew, the broker empty", "")
            case "token":
                town.world.tokens.replace()
                self._say("fate", "the token is replaced", "")
            case "broker":
                town.queue[:] = [item for item in town.queue if dice.random() < 0.5]
                self._say("fate", "the broker forgets some of its tasks", "")
            case "schedule":
                name = dice.choice(SCHEDULED)
                self._do(Step(name, "schedule", name, lambda: self._scheduled(name)))

    def _scheduled(self, name: str) -> str:
        tasks.SCHEDULED[name](self.town.work)
        return "done"

    # --- doing --------------------------------------------------------------------------------

    def _do(self, step: "Step") -> None:
        before = self._money() if step.moves is not None else None
        job = Job(step.name)
        outcome = self._outcome(job, step)
        self._say_done(job, step, outcome)
        if before is None or outcome in (step.moves or ()) or job.struck:
            return
        if self._money() != before:
            raise Broken(f"I18 what is refused moves nothing: {step.what} was {outcome}")

    def _outcome(self, job: Job, step: "Step") -> str:
        try:
            return self.town.do(job, step.do)
        except Exception as error:
            raise Broken(f"a promise is broken: {_named(error)}") from error

    def _at_once(self, first: "Step", second: "Step") -> None:
        """The first stops before one of its commits while the second runs, until it has ended or
        waits for a lock of the first's."""
        one, other = Job(first.name), Job(second.name)
        stopped, go_on, ended = Event(), Event(), Event()
        one.stops_before = self.dice.choice([1, 1, 2, 3, 3])

        def stop() -> None:
            if not stopped.is_set():  # before its commit
                stopped.set()
                go_on.wait()
                return
            ended.wait()  # after it: the second is done before anything else happens here
            one.stops_before = None

        one.stop = stop
        with ThreadPoolExecutor(2) as threads:
            doing = threads.submit(self._outcome, one, first)
            doing.add_done_callback(lambda _: stopped.set())
            stopped.wait()
            also = threads.submit(self._outcome, other, second)
            also.add_done_callback(lambda _: ended.set())
            try:
                waited = not doing.done() and self._waits(other, also)
            finally:
                go_on.set()
            outcomes = [doing.result(), also.result()]
        self._say_done(one, first, outcomes[0])
        word = "at once, waiting" if waited else "at once"
        self._say_done(other, second, outcomes[1], word)

    def _waits(self, job: Job, doing: "Future[str]") -> bool:
        """Does it wait for a lock? False: it has ended."""
        while not doing.done():
            if job.backend_pid:
                with self.town.database.look() as db:
                    blocked = db.value(
                        "SELECT cardinality(pg_blocking_pids(%(pid)s::int))",
                        {"pid": job.backend_pid},
                    )
                if blocked:
                    return True
        return False

    def _say_done(self, job: Job, step: "Step", outcome: str, more: str = "") -> None:
        befell = "; ".join([more] * bool(more) + job.struck)
        self.lived.outcomes[f"{step.name}: {outcome}"[:60]] += 1
        self._say(step.who, step.what, outcome + (f"  [{befell}]" if befell else ""))

    def _say(self, who: str, what: str, outcome: str) -> None:
        at = self.town.now
        day = at.strftime("%d %H:%M:%S")
        line = f"{len(self.lived.history) + 1:>4}  {day}  {who:<9} {what}"
        self.lived.history.append(f"{line}: {outcome}" if outcome else line)

    def _money(self) -> str:
        return self._watch.money(self.town.now)

    # --- what must hold -----------------------------------------------------------------------

    def check(self) -> None:
        if self.town.ground.broken:
            raise Broken(f"an error was logged: {self.town.ground.broken[0]}")
        if self.town.database.commits == self._commits_checked:
            return
        self._commits_checked = self.town.database.commits
        found = self.broken()
        if found:
            raise Broken("; ".join(found))

    def broken(self) -> list[str]:
        """The invariants that do not hold now."""
        return self._watch.broken(self.town.now) + invariants.broken_at_mpesa(self.town)

    # --- the evening --------------------------------------------------------------------------

    def end(self) -> None:
        """Faults stop, people finish what they began, time runs: everything must end."""
        town = self.town
        town.fate.rate = 0.0
        town.world.rulebook.change(weathers.FAIR)
        town.full = MUTE
        town.restart()
        self._say("evening", "faults stop, the staff clears its desks", "")
        for number, days in enumerate(self._evenings()):
            self._clear_desks(number)
            self._run_until_quiet(town.now + timedelta(days=days))
            # What nobody told, the statement does; again while what went back waits for a proof.
            if (town.lost or town.reversed) if not number else staff.given_back(town):
                self._reconcile()
        self.check()
        found = invariants.broken_at_the_end(town)
        if found:
            raise Broken("; ".join(found))

    def _evenings(self) -> Iterator[int]:
        """The days between one and the next."""
        yield from EVENINGS
        for _ in range(EVENINGS_MORE):
            if staff.given_back(self.town):
                yield 1

    def _reconcile(self) -> None:
        """Each day on which money moved at M-Pesa."""
        town = self.town
        days = sorted({today(each.at) for each in town.world.books.statement()})
        for day in days:
            self._quietly("reconcile", lambda day=day: self._reconciled(day))  # type: ignore[misc]

    def _reconciled(self, day: date) -> str:
        done = reconciliation.of_day(self.town.work, day)
        return f"{done.settled} settled, {done.judged.open} open"

    def _run_until_quiet(self, until: datetime) -> None:
        """Each thing at its time, until nothing is due any more."""
        town = self.town
        for _ in range(ROUNDS_MAX):
            while town.letters:
                self._quietly("letter", partial(self._delivered, town.letters.pop(0)))
            self._quietly("relay", lambda: str(town.relay.hand_out()))
            while town.queue:
                item = town.queue.pop(0)
                self._quietly(item.kind, partial(town.run_task, item))
            if town.letters:
                continue
            self.check()
            due_at = self._next_due(quiet=True)
            if due_at > until:
                return
            town.wait(max(0.0, (due_at - town.now).total_seconds()))
        raise Broken(f"nothing ends: {ROUNDS_MAX} rounds of an evening")

    def _quietly(self, name: str, act: Callable[[], str]) -> None:
        job = Job(name)
        outcome = self._outcome(job, Step(name, "evening", name, act))
        if name not in ("relay", "letter"):
            self._say_done(job, Step(name, "evening", name, act), outcome)

    def _clear_desks(self, number: int) -> None:
        """What only people can end: they decide, approve, lift, and pay in what is missing."""
        town = self.town
        for deed in staff.clearing(town):
            self._do(Step("clears", deed.who, deed.what, deed.do, deed.moves))
        missing_cents = staff.missing_in_float(town)  # with what was just approved
        if missing_cents:
            deed = staff.filling(town, missing_cents, f"evening {number}")
            self._do_deed("fills_float", deed)
        for case in staff.given_back(town):
            if missing_cents := staff.lacking(town, case):
                key = f"evening {number} case {case.number}"
                self._do_deed("fills_float", staff.filling(town, missing_cents, key))
            self._do_deed("books_what_went_back", staff.booking(town, case))

    def _is_due(self) -> bool:
        """Is there something for the relay?"""
        dues = self._watch.dues(self.town.now)
        return bool(dues) and min(dues.values()) <= self.town.now

    def _next_due(self, quiet: bool = False) -> datetime:
        """When the next thing happens, with us or in the pretend world."""
        town = self.town
        ours = [
            due_at
            for kind, due_at in self._watch.dues(town.now).items()
            if outbox.KINDS[kind].queue not in town.full
        ]
        theirs = [due_at for due_at, *_ in town.world.clock._due[:1]]
        never = town.now + timedelta(days=400) if quiet else town.now
        return min(ours + theirs, default=never)


@dataclass(frozen=True)
class Step:
    """Something that is done: the kind of job, who, what, and how. moves: as a Deed's."""

    name: str
    who: str
    what: str
    do: Callable[[], str]
    moves: Collection[str] | None = None


def _named(error: BaseException) -> str:
    """With all that it holds, where several broke together."""
    held = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "; ".join([f"{type(error).__name__}: {error}", *map(_named, held)])


def _subject(item: outbox.Item) -> str:
    return next(iter(item.arguments), "nothing").removesuffix("_id")
