"""Phone numbers as people write them, brought to the one form used inside: "+254712345678"."""

import re


class NotANumber(ValueError):
    """The text is no phone number; the message says so without repeating it."""


def read(text: object) -> str:
    """ "+2547…", "2547…" and "07…" all give "+2547…"; foreign numbers need their plus sign."""
    digits = text.strip().replace(" ", "") if isinstance(text, str) else ""
    if re.fullmatch(r"0[17][0-9]{8}", digits):
        return "+254" + digits[1:]
    if re.fullmatch(r"254[17][0-9]{8}", digits):
        return "+" + digits
    if re.fullmatch(r"\+[1-9][0-9]{6,14}", digits):
        return digits
    raise NotANumber("not a phone number")


def may_hold_mpesa(msisdn: str) -> bool:
    """Kenyan mobile numbers may have an M-Pesa account; others never do."""
    return re.fullmatch(r"\+254[17][0-9]{8}", msisdn) is not None


def masked(msisdn: str) -> str:
    """As C2B shows a payer: "2547 ***** 149"."""
    return f"{msisdn[1:5]} ***** {msisdn[-3:]}"
