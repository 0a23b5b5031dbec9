"""Keywords: what an SMS asks for that begins with one of our words, English or Swahili.

Forgiving of case, spaces and punctuation, and of what stands between words ("STATUS1042", "ok
1042-4821", "Hali ya oda #1042"). A word of ours further on in a sentence is only a word; and those
that act at once (OK, STOP) take nothing else beside them.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal[
    "buy",
    "status",
    "confirm",
    "problem",
    "prices",
    "balance",
    "wallet",
    "stop",
    "start",
    "refuse",
    "help",
    "menu",
    "go_on",
    "agree",
    "call_me",
    "deal",
]

# The word -> what it asks for, and whose language it is; "": everybody's.
WORDS: Final[Mapping[str, tuple[Kind, str]]] = {
    "buy": ("buy", "en"),
    "nunua": ("buy", "sw"),
    "status": ("status", "en"),
    "hali": ("status", "sw"),
    "ok": ("confirm", ""),
    "okay": ("confirm", ""),
    "sawa": ("confirm", "sw"),
    "problem": ("problem", "en"),
    "tatizo": ("problem", "sw"),
    "shida": ("problem", "sw"),
    "price": ("prices", "en"),
    "prices": ("prices", "en"),
    "bei": ("prices", "sw"),
    "balance": ("balance", "en"),
    "salio": ("balance", "sw"),
    "wallet": ("wallet", "en"),
    "mkoba": ("wallet", "sw"),
    "withdraw": ("wallet", "en"),
    "toa": ("wallet", "sw"),
    "stop": ("stop", ""),
    "unsubscribe": ("stop", "en"),
    "acha": ("stop", "sw"),
    "start": ("start", ""),
    "anza": ("start", "sw"),
    "refuse": ("refuse", "en"),
    "kataa": ("refuse", "sw"),
    "help": ("help", "en"),
    "msaada": ("help", "sw"),
    "menu": ("menu", ""),
    "yes": ("go_on", "en"),
    "ndiyo": ("go_on", "sw"),
    "ndio": ("go_on", "sw"),
    "call": ("call_me", "en"),
    "piga": ("call_me", "sw"),
    "deal": ("deal", "en"),
    "deals": ("deal", "en"),
    "dili": ("deal", "sw"),
}

TEXT_CHARACTERS_MAX: Final = 480  # three parts; what comes after adds nothing to a keyword
CODE_DIGITS: Final = 4
ORDER_DIGITS_MIN: Final = 4  # numbers of orders begin at 1001; less is a quantity
ORDER_DIGITS_MAX: Final = 9
GOODS_WORDS_MAX: Final = 4  # more is a sentence

_FIRST: Final = re.compile(r"[\W_]*([^\W\d_]+)(.*)", re.DOTALL)
_TOKEN: Final = re.compile(r"[^\W_]+")
_BETWEEN: Final = frozenset(
    ("order", "orders", "oda", "no", "number", "nambari", "namba", "of", "ya", "za", "my", "yangu")
) | {"zangu", "code", "msimbo", "na", "and", "is", "ni", "thanks", "asante"}
_POLITE: Final = frozenset(
    ("please", "tafadhali", "now", "sasa", "all", "sms", "message", "messages", "me", "simu")
)
# What people add to a deal's number; they are shown it first, whatever they say.
_ANSWERS: Final = frozenset(
    ("yes", "ndiyo", "ndio", "ok", "sawa", "nakubali", "agree", "accept", "no", "hapana")
)
_OF: Final = frozenset(("of", "ya", "za"))
_UNIT: Final = (
    r"(?:kgs?|kilos?|bags?|gunia|magunia|crates?|kreti|bunch(?:es)?|fungu|mafungu|pieces?|pcs|"
    r"trays?|trei|litres?|lita|debe|madebe)\b"
)
_AMOUNT: Final = r"(?P<quantity>\d+(?:[.,]\d+)?(?: +\d+/\d+|/\d+)?)"
_AMOUNT_FIRST: Final = re.compile(
    rf"(?:{_UNIT}\s*)?{_AMOUNT}\s*(?:{_UNIT})?\s*(?P<goods>.*)", re.IGNORECASE
)
_AMOUNT_LAST: Final = re.compile(
    rf"(?P<goods>.*?[^\s\d])\s*{_AMOUNT}\s*(?:{_UNIT})?", re.IGNORECASE
)


@dataclass(frozen=True)
class Keyword:
    """number: an order's. words: what else was said, as it was typed. quantity: of goods, typed.

    language: of the word, "" where both have it.
    """

    kind: Kind
    language: str
    number: int | None = None
    code: str = field(default="", repr=False)
    words: str = field(default="", repr=False)
    quantity: str = ""


@dataclass(frozen=True)
class Ambiguous:
    """Ours, and yet more than one thing can be meant: of an order's number or of its code."""

    kind: Kind
    language: str
    numbers: tuple[str, ...] = field(repr=False)


def parse(text: str) -> Keyword | Ambiguous | None:
    """What the message asks for; None: it begins with no word of ours, or is a sentence."""
    found = _FIRST.match(_plain(text[:TEXT_CHARACTERS_MAX]))
    if found is None or found[1].casefold() not in WORDS:
        return None
    kind, language = WORDS[found[1].casefold()]
    rest = found[2].strip()
    match kind:
        case "buy":
            return _goods(kind, language, rest, with_amount=True)
        case "prices":
            return _goods(kind, language, rest, with_amount=False)
        case "status":
            return _of_order(kind, language, rest)
        case "deal":
            return _deal(language, rest)
        case "go_on":
            return _agreed(language, rest)
        case "confirm":
            return _confirmed(language, rest)
        case "problem":
            return _problem(language, rest)
        case _:
            alone = all(word.casefold() in _POLITE for word in _TOKEN.findall(rest))
            return Keyword(kind, language) if alone else None


def _plain(text: str) -> str:
    """Full-width and other shapes as plain letters, every script's digits as 0 to 9, no controls.

    What no plain phone can type stays as it is; it is in no word of ours.
    """
    apart = re.sub(r"(?<=\d)(?=[¼-¾])", " ", text)  # 1½ is 1 1/2
    shown = unicodedata.normalize("NFKC", apart).replace("\N{FRACTION SLASH}", "/")
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else c if c.isprintable() else " "
        for c in shown
    )


def _told(rest: str) -> list[str]:
    """The words and numbers of rest that say something; letters and digits apart."""
    tokens = [part for token in _TOKEN.findall(rest) for part in re.findall(r"\d+|\D+", token)]
    return [token for token in tokens if token.casefold() not in _BETWEEN]


def _of_order(kind: Kind, language: str, rest: str) -> Keyword | Ambiguous | None:
    told = _told(rest)
    if not all(token.isdecimal() and len(token) <= ORDER_DIGITS_MAX for token in told):
        return None
    if len(told) > 1:
        return Ambiguous(kind, language, tuple(told))
    return Keyword(kind, language, int(told[0]) if told else None)


def _deal(language: str, rest: str) -> Keyword | None:
    """ "DEAL 1042", "Dili no. 1042 ndiyo"; a sentence about a deal is only a sentence."""
    told = [token for token in _told(rest) if token.casefold() not in _ANSWERS | _POLITE]
    if len(told) > 1 or not all(t.isdecimal() and len(t) <= ORDER_DIGITS_MAX for t in told):
        return None
    return Keyword("deal", language, int(told[0]) if told else None)


def _agreed(language: str, rest: str) -> Keyword | None:
    """ "YES" goes on with what was left; "YES 1042" agrees to what was asked about that order."""
    if all(word.casefold() in _POLITE for word in _TOKEN.findall(rest)):
        return Keyword("go_on", language)
    told = [token for token in _told(rest) if token.casefold() not in _POLITE]
    if len(told) != 1 or not told[0].isdecimal():
        return None
    fits = ORDER_DIGITS_MIN <= len(told[0]) <= ORDER_DIGITS_MAX
    return Keyword("agree", language, int(told[0])) if fits else None


def _confirmed(language: str, rest: str) -> Keyword | Ambiguous | None:
    """The order's number, then its code: whole, in pieces, or both in one."""
    told = _told(rest)
    digits = "".join(told)
    if not digits.isdecimal() or len(digits) < ORDER_DIGITS_MIN:
        return None  # "ok", "ok thanks", "ok 1": an answer like any other
    number = told[0] if len(told) > 1 else digits[:-CODE_DIGITS]
    code = digits[len(number) :]
    if not ORDER_DIGITS_MIN <= len(number) <= ORDER_DIGITS_MAX or len(code) < CODE_DIGITS:
        return Ambiguous("confirm", language, tuple(told))
    return Keyword("confirm", language, int(number), code)


def _problem(language: str, rest: str) -> Keyword:
    found = re.match(rf"(?:\W|{'|'.join(sorted(_BETWEEN))}\b)*(\d+)", rest, re.IGNORECASE)
    if found and ORDER_DIGITS_MIN <= len(found[1]) <= ORDER_DIGITS_MAX:
        return Keyword("problem", language, int(found[1]), words=_trimmed(rest[found.end() :]))
    return Keyword("problem", language, words=_trimmed(rest))


def _goods(kind: Kind, language: str, rest: str, *, with_amount: bool) -> Keyword | None:
    goods, quantity = _trimmed(rest), ""
    amount = _AMOUNT_FIRST.fullmatch(goods) or _AMOUNT_LAST.fullmatch(goods)
    if with_amount and amount is not None:
        goods, quantity = _trimmed(amount["goods"]), " ".join(amount["quantity"].split())
    words = [word for word in goods.split() if word.casefold() not in _OF]
    if len(words) > GOODS_WORDS_MAX:
        return None
    if sum(c.isalpha() for c in goods) < 2:  # nothing to look for
        return Keyword(kind, language)
    return Keyword(kind, language, words=" ".join(words), quantity=quantity)


def _trimmed(text: str) -> str:
    """Without what stands around it, in one line."""
    return " ".join(re.sub(r"^[\W_]+|[\W_]+$", "", text).split())
