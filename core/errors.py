"""What can go wrong, told apart by who must act."""


class Invalid(Exception):
    """The member typed something we cannot use: the same screen again, with a hint.

    hint: the name of the hint in the flow's words, for example "whole_number".
    values: what the hint's placeholders stand for.
    """

    def __init__(self, hint: str, **values: object) -> None:
        super().__init__(hint)
        self.hint = hint
        self.values = values


class Unavailable(Exception):
    """A provider or the database cannot be reached now: tried again later, bounded."""


class Declined(Exception):
    """A provider says no for good: never tried again."""


class OutOfTime(Unavailable):
    """The deadline of this transaction has passed; nothing of it is kept."""


class CommitUnknown(Unavailable):
    """The connection broke during the commit: it may have happened. Settled by looking."""
