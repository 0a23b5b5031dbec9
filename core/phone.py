"""Phone numbers: as people type them, and as we keep them (E.164, "+254712345678")."""

import re

import phonenumbers

from core.errors import Invalid

TYPED = re.compile(r"[\d\s+().-]{3,32}")  # no letters: neither vanity numbers nor extensions
# The regulator opens new ranges faster than number libraries learn of them, so every +2547… and
# +2541… counts as a mobile.
KENYAN_MOBILE = re.compile(r"\+254[17][0-9]{8}")
# Ranges given to networks without M-Pesa (Airtel, Telkom, Equitel, Faiba and smaller ones).
# Source: libphonenumber's carriers of 254; a table of its own, since theirs is of the whole world.
_OTHER_NETWORKS = re.compile(r"\+254(?:10|12[014]|13[05-9]|73|744|747|75[0-6]|76[0-7]|7[78])[0-9]+")


def parse(text: str, region: str = "KE") -> str:
    """The number in E.164; region: the country of a number typed without its prefix.

    Raises Invalid("phone").
    """
    typed = text.strip()
    if is_kenyan_mobile(typed):  # as gateways send it
        return typed
    if not TYPED.fullmatch(typed):
        raise Invalid("phone")
    if typed.startswith("00") and not typed.startswith("000"):
        typed = f"+{typed[2:]}"  # the world's way to dial abroad; Kenya's own is 000
    try:
        number = phonenumbers.parse(typed, region)
    except phonenumbers.NumberParseException:
        raise Invalid("phone") from None  # its message may carry the number
    msisdn = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if not (is_kenyan_mobile(msisdn) or phonenumbers.is_valid_number(number)):
        raise Invalid("phone")
    return msisdn


def local(msisdn: str) -> str:
    """As it is dialled and read at home: "0712345678"; one from abroad as it is."""
    return f"0{msisdn[4:]}" if is_kenyan_mobile(msisdn) else msisdn


def has_mpesa(msisdn: str) -> bool:
    """Can it be asked to pay? A Kenyan mobile whose range was given to no other network.

    Whoever took a number along to Safaricom from another range pays by hand, or from another line.
    """
    return is_kenyan_mobile(msisdn) and not _OTHER_NETWORKS.fullmatch(msisdn)


def is_kenyan_mobile(msisdn: str) -> bool:
    """Can M-Pesa know it? Only the number's form is looked at, not its network."""
    return KENYAN_MOBILE.fullmatch(msisdn) is not None
