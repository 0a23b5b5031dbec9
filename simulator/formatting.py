"""Formatted text, as bots send it: markup read into plain text and its entities, or refused.

Source: Bot API, "Formatting options". Offsets and lengths count UTF-16 units.
"""

import html
import re
from typing import Any

Entity = dict[str, Any]

TAGS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline",
    "ins": "underline", "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough",
    "tg-spoiler": "spoiler", "span": "spoiler", "code": "code", "pre": "pre", "a": "text_link",
    "blockquote": "blockquote", "tg-emoji": "custom_emoji", "tg-time": "date_time",
}  # fmt: skip
NAMED = ("lt", "gt", "amp", "quot")
RESERVED = "_*[]()~`>#+-=|{}.!"
MARKS = {"*": "bold", "_": "italic", "__": "underline", "~": "strikethrough", "||": "spoiler"}


class CannotParse(ValueError):
    """The markup is wrong; the message says where, in Telegram's words."""


def read(text: str, mode: str) -> tuple[str, list[Entity]]:
    """The plain text and its entities. mode: "", "HTML" or "MarkdownV2", in any case.

    Raises CannotParse; ValueError for any other mode.
    """
    if not mode:
        return text, []
    if mode.lower() == "html":
        return _html(text)
    if mode.lower() == "markdownv2":
        return _markdown(text)
    raise ValueError("unsupported parse_mode")


def length(text: str) -> int:
    """In UTF-16 units."""
    return len(text.encode("utf-16-be", "surrogatepass")) // 2


def commands(text: str) -> list[Entity]:
    """The entities that Telegram itself finds in what people type: bot commands."""
    found = re.finditer(r"(?<![\w/])/[A-Za-z0-9_]{1,64}(?:@\w{1,32})?", text)
    return [
        {
            "type": "bot_command",
            "offset": length(text[: each.start()]),
            "length": length(each[0]),
        }
        for each in found
    ]


class _Written:
    """The plain text as it grows, and the spans that are still open."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.units = 0
        self.entities: list[Entity] = []

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.units += length(text)

    def close(self, kind: str, since: int, **more: str) -> None:
        if self.units > since:
            entity = {"type": kind, "offset": since, "length": self.units - since, **more}
            self.entities.append(entity)

    def done(self) -> tuple[str, list[Entity]]:
        entities = sorted(self.entities, key=lambda it: (it["offset"], -it["length"]))
        return "".join(self.parts), entities


def _html(text: str) -> tuple[str, list[Entity]]:
    written = _Written()
    open_tags: list[tuple[str, int, str]] = []  # name, where in the text, href
    pattern = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)([^<>]*)>|&(#x?[0-9A-Fa-f]+|[a-z]+);|(<)")
    position = 0
    for found in pattern.finditer(text):
        written.add(text[position : found.start()])
        position = found.end()
        closing, name, rest, reference, stray = found.groups()
        at = len(text[: found.start()].encode("utf-8", "surrogatepass"))
        if stray:
            raise CannotParse(f'Unsupported start tag "" at byte offset {at}')
        if reference:
            known = reference.startswith("#") or reference in NAMED
            written.add(html.unescape(found[0]) if known else found[0])
        elif not closing:
            if name.lower() not in TAGS:
                raise CannotParse(f'Unsupported start tag "{name}" at byte offset {at}')
            href = re.search(r"""href\s*=\s*["']?([^"'\s]+)""", rest)
            open_tags.append((name.lower(), written.units, href[1] if href else ""))
        elif not open_tags:
            raise CannotParse(f"Unexpected end tag at byte offset {at}")
        else:
            opened, since, href_of = open_tags.pop()
            if opened != name.lower():
                raise CannotParse(
                    f'Unmatched end tag at byte offset {at}, expected "</{opened}>", '
                    f'found "</{name}>"'
                )
            written.close(TAGS[opened], since, **({"url": href_of} if opened == "a" else {}))
    written.add(text[position:])
    if open_tags:
        name = open_tags[-1][0]
        raise CannotParse(f'Can\'t find end tag corresponding to start tag "{name}"')
    return written.done()


def _markdown(text: str) -> tuple[str, list[Entity]]:
    written = _Written()
    open_marks: list[tuple[str, int, int]] = []  # mark, where in the text, byte offset
    position = 0
    while position < len(text):
        letter, at = text[position], len(text[:position].encode("utf-8", "surrogatepass"))
        top = open_marks[-1][0] if open_marks else ""
        mark = next((it for it in ("```", "__", "||") if text.startswith(it, position)), letter)
        if letter == "\\" and text[position + 1 : position + 2].isascii():
            written.add(text[position + 1 : position + 2])
            position += 2
        elif mark in ("`", "```"):
            end = text.find(mark, position + len(mark))
            if end < 0:
                kind = "Code" if mark == "`" else "PreCode"
                raise CannotParse(f"Can't find end of {kind} entity at byte offset {at}")
            since = written.units
            written.add(re.sub(r"\\(.)", r"\1", text[position + len(mark) : end]))
            written.close("code" if mark == "`" else "pre", since)
            position = end + len(mark)
        elif mark in MARKS:
            if top == mark:
                _, since, _ = open_marks.pop()
                written.close(MARKS[mark], since)
            else:
                open_marks.append((mark, written.units, at))
            position += len(mark)
        elif letter == "[":
            open_marks.append(("[", written.units, at))
            position += 1
        elif letter == "]" and top == "[":
            link = re.compile(r"\]\(((?:\\.|[^()\\])*)\)").match(text, position)
            if link is None:
                raise CannotParse(f"Can't find end of a URL at byte offset {at}")
            _, since, _ = open_marks.pop()
            written.close("text_link", since, url=re.sub(r"\\(.)", r"\1", link[1]))
            position = link.end()
        elif letter == ">" and (position == 0 or text[position - 1] == "\n"):
            position += 1  # a quotation; its span is of no use here
        elif letter in RESERVED:
            raise CannotParse(
                f"Character '{letter}' is reserved and must be escaped with the preceding '\\'"
            )
        else:
            written.add(letter)
            position += 1
    if open_marks:
        mark, _, at = open_marks[-1]
        kind = MARKS.get(mark, "text_link").title().replace("_", "")
        raise CannotParse(f"Can't find end of {kind} entity at byte offset {at}")
    return written.done()
