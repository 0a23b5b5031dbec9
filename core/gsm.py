"""GSM text: what a plain phone can show, and how much room it takes.

Source: 3GPP TS 23.038, default alphabet and its extension table.
"""

import re
import unicodedata
from typing import Literal

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = "\f^{}\\[~]|€"  # each costs an escape besides itself
_ALL_BASIC = re.compile(f"[{re.escape(_BASIC)}]*")
SEPTETS = {**dict.fromkeys(_BASIC, 1), **dict.fromkeys(_EXTENDED, 2)}

_REPLACED = {
    **dict.fromkeys("‘’‚‛′ʼʻ`´", "'"),
    **dict.fromkeys("“”„‟«»″", '"'),
    **dict.fromkeys("‐‑‒–—―−•·‣◦", "-"),
    **dict.fromkeys("\u00a0\u202f\u205f\u3000\t", " "),
    **{chr(code): " " for code in range(0x2000, 0x200B)},
    **dict.fromkeys("\u2028\u2029\r", "\n"),
    "…": "...",
    "×": "x",
    "→": "->",
    "←": "<-",
    "ç": "c",
    "\u2126": "Ω",
    "\u2206": "Δ",
    "µ": "u",
    "₦": "NGN",
    "₵": "GHS",
    "¢": "c",
    "™": "TM",
    "©": "(c)",
    "®": "(R)",
    "°": "deg",
    "½": "1/2",
    "¼": "1/4",
    "¾": "3/4",
}


def septets(text: str) -> int:
    """How many septets the text takes; every character must be in the alphabet."""
    if _ALL_BASIC.fullmatch(text):
        return len(text)
    return sum(SEPTETS[character] for character in text)


def parts(text: str) -> tuple[Literal["gsm", "ucs2"], int]:
    """How an SMS of this text is encoded, and how many parts of it the network bills.

    Source: 3GPP TS 23.040: 160 septets or 70 units of UTF-16 in one, 153 or 67 in each of several;
    no escape and no surrogate pair is split over two.
    """
    in_gsm = all(character in SEPTETS for character in text)
    costs = [SEPTETS[c] if in_gsm else 1 + (c > "\uffff") for c in text]
    whole, room_each = (160, 153) if in_gsm else (70, 67)
    encoding: Literal["gsm", "ucs2"] = "gsm" if in_gsm else "ucs2"
    if sum(costs) <= whole:
        return encoding, 1
    count, room = 1, room_each
    for cost in costs:
        if cost > room:
            count, room = count + 1, room_each
        room -= cost
    return encoding, count


def plain(text: str) -> str:
    """The text in the GSM alphabet: look-alikes for what it lacks, nothing for what has none."""
    if text.isascii() and text.isprintable() and "`" not in text:
        return text
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    shown = "".join(
        character if character in SEPTETS and character != "\r" else _nearest(character)
        for character in text
    )
    while "  " in shown and "  " not in text:  # where an emoji stood between two spaces
        shown = shown.replace("  ", " ")
    return shown


def clip(text: str, width: int) -> str:
    """The plain text, cut to at most `width` septets; what was cut ends in a full stop."""
    shown = plain(text)
    if len(shown) * 2 <= width or septets(shown) <= width:
        return shown
    room = width - 1
    for end, character in enumerate(shown):
        room -= SEPTETS[character]
        if room < 0:
            return shown[:end].rstrip() + "."
    return shown


def _nearest(character: str) -> str:
    if character in _REPLACED:
        return _REPLACED[character]
    base = unicodedata.normalize("NFKD", character)[0]
    return base if base in SEPTETS and base != "\r" else ""
