"""Names: by which of theirs a person is called."""

from typing import Final

# A name alone only with the one after it: many a vendor is known as the mother of her eldest.
_TITLES: Final = frozenset(
    {"mama", "baba", "shosho", "babu", "mzee", "bibi", "bwana", "dada", "kaka", "mwalimu"}
    | {"mr", "mrs", "miss", "ms", "madam", "dr", "pastor", "father", "sister", "brother"}
)


def called(name: str) -> str:
    """The first one, after a title the second too: "Amina", "Mama Njeri"."""
    first, *others = name.split()
    is_title = first.casefold().rstrip(".") in _TITLES
    return f"{first} {others[0]}" if is_title and others else first
