"""Spelling: what a member typed, compared with the names we keep, forgivingly and best first.

A table that is searched has a column `search`, made by `document`, with a GIN index of its trigrams
(pg_trgm). Its query filters by MATCHES, orders by SCORE, takes its parameters from `sought`, and
hands what it found to `nearest`.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import LiteralString, Protocol, TypeVar

from core.database import Db

TYPED_MAX = 60  # characters looked at; no name is longer
SHORT_MAX = 3  # letters; so few leave nothing to misspell, they are the beginning of a word
# The index gives what shares this part of the trigrams typed. It is a wide net: "mahrage" has 0.37
# of "maharagwe". What comes of it is then compared letter by letter.
TRIGRAMS_MIN = "0.3"
CANDIDATES_MAX = 40  # compared letter by letter, about 4 ms for all of them
# A likeness is 1 less the share of letters that were mistyped: one in four may be wrong, two in
# five are another word.
ALIKE_MIN = 0.65
UNTYPED = 0.5  # of a slip: a letter missing at the end, for who stops early or leaves out a plural
UNLIKE = 0.5  # every word is as like as this to any other, so one strange word of two is forgiven
NEAR_BEST = 0.85  # of the best likeness; what is further from it was not meant

BEGINS = 1.0  # the least SCORE of a name with a word that begins with what was typed, as typed
SCORE: LiteralString = """
    CASE WHEN search LIKE %(name)s THEN 1.2
         WHEN search LIKE %(word)s THEN 1.1
         WHEN search LIKE %(beginning)s THEN 1.0
         ELSE word_similarity(%(words)s, search) / 2 END
"""
MATCHES: LiteralString = "(search LIKE %(beginning)s OR %(words)s <%% search)"


class Candidate(Protocol):
    @property
    def search(self) -> str: ...
    @property
    def score(self) -> float: ...


Found = TypeVar("Found", bound=Candidate)


def fold(text: str) -> str:
    """Lower case, no accents, no punctuation, single blanks: "Murang’a " becomes "muranga"."""
    joined = text.replace("'", "").replace("\u2019", "")
    plain = unicodedata.normalize("NFKD", joined).casefold()
    kept = (c if c.isalnum() else " " for c in plain if not unicodedata.combining(c))
    return " ".join("".join(kept).split())


def document(names: Iterable[str]) -> str:
    """The column `search`: "| sukuma wiki | sukumawiki | kale |".

    Every name folded; one of several words a second time as a single word. The blanks and bars let
    LIKE tell where words and names begin and end; trigrams do not see them.
    """
    parts: list[str] = []
    for name in map(fold, names):
        parts += [name, name.replace(" ", "")]
    return f"| {' | '.join(dict.fromkeys(parts))} |"


def sought(db: Db, typed: str) -> dict[str, str] | None:
    """The parameters of MATCHES and SCORE in this transaction; None: nothing there to look for."""
    words = fold(typed[:TYPED_MAX])
    if not words:
        return None
    db.value(
        "SELECT set_config('pg_trgm.word_similarity_threshold', %(least)s, true)",
        {"least": "1" if len(words) <= SHORT_MAX else TRIGRAMS_MIN},
    )
    return {
        "words": words,
        "name": f"%| {words} |%",
        "word": f"% {words} %",
        "beginning": f"% {words}%",
    }


def nearest(words: str, found: Sequence[Found]) -> list[Found]:
    """Those that were meant, best first. words: folded. found: best SCORE first.

    Where a name has the words as they were typed, no misspelling is looked for.
    """
    exact = [candidate for candidate in found if candidate.score >= BEGINS]
    if exact:
        return exact
    likeness = [(_likeness(words, candidate.search), candidate) for candidate in found]
    best = max((alike for alike, _ in likeness), default=0.0)
    near = [pair for pair in likeness if pair[0] >= max(ALIKE_MIN, NEAR_BEST * best)]
    return [candidate for _, candidate in sorted(near, key=lambda pair: -pair[0])]


def _likeness(words: str, search: str) -> float:
    """1: the same. Word by word, and all as one word ("ki tale"), whichever is better."""
    kept = {*search.replace("|", "").split()}
    apart = [_likest(word, kept) for word in words.split()]
    return max(sum(apart) / len(apart), _likest(words.replace(" ", ""), kept))


def _likest(word: str, kept: Iterable[str]) -> float:
    best, letters = UNLIKE, {*word}
    for meant in kept:
        longer, missing = max(len(word), len(meant)), len(meant) - len(word)
        strange = len(letters.difference(meant))
        at_least = max(strange, missing * UNTYPED if missing > 0 else -missing)
        if at_least < (1 - best) * longer:  # else not worth counting
            best = max(best, 1 - _slips(word, meant) / longer)
    return best


def _slips(typed: str, meant: str) -> float:
    """Letters put in, left out, mistaken, or swapped with the next (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(meant) + 1))
    for i, letter in enumerate(typed):
        row = [i + 1]
        for j, other in enumerate(meant):
            slips = min(last[j] + (letter != other), last[j + 1] + 1, row[j] + 1)
            if i and j and letter == meant[j - 1] and other == typed[i - 1]:
                slips = min(slips, before[j - 1] + 1)
            row.append(slips)
        before, last = last, row
    return min(slips + UNTYPED * (len(meant) - j) for j, slips in enumerate(last))
