"""Reasons: why one of ours decides something for others, in writing, to be understood later."""

from typing import Final

LETTERS_MIN: Final = 10
LETTERS_MAX: Final = 500
# Of the column `reason`, in the table of what was decided.
FITS: Final = f"char_length(reason) BETWEEN {LETTERS_MIN} AND {LETTERS_MAX}"


def read(text: str) -> str:
    """As it is kept, on one line. "": it is too short, or too long."""
    said = " ".join(text.split())
    return said if LETTERS_MIN <= len(said) <= LETTERS_MAX else ""
