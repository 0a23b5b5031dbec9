"""Codes: what M-Pesa's codes, amounts and ids say, in an answer and in a callback alike.

Source: Safaricom's developer portal, and logs of live merchants where the portal is silent. What we
do not know proves nothing.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from core.money import CENTS

AMOUNT_SHILLINGS_MAX = 250_000  # of one push, and of one payout
AMOUNT_CENTS_MAX = 10**12  # far beyond any limit of M-Pesa: more is nonsense, not money

# Results of pushes.
PAID_CODE = "0"
PENDING_CODES = frozenset({"4999"})
FAILED_CODES = frozenset(
    {
        "1",  # balance insufficient
        "2",  # below the minimum
        "3",  # above the maximum
        "4",  # daily limit
        "8",  # receiver's limit
        "17",  # same amount, same customer, within two minutes
        "26",  # system busy
        "1001",  # another transaction is open on that phone
        "1019",  # expired
        "1025",  # the prompt could not be sent
        "9999",
        "1031",  # cancelled by the customer
        "1032",
        "1037",  # no answer
        "2001",  # wrong PIN
        "2026",  # the session has expired
        "2028",  # paybill taken for a till, or the reverse
        "SFC_IC0003",
        "8006",  # the customer's PIN is locked
        "BW-JMS-100039",  # a fault of messaging inside M-Pesa
        "E3008",  # sandbox: not the test number
    }
)
LIMIT_CODE = "4"  # the payer has moved as much today as M-Pesa lets her

Verdict = Literal["paid", "failed", "pending", "unknown"]

# Results of payouts and reversals. Our operator's name, password or role: none of them will work.
INITIATOR_CODES = frozenset({"18", "20", "21", "2001", "8006"})
FLOAT_CODE = "1"  # our own balance is too low
# Ours to mend, the member has no part in it.
OUR_CODES = INITIATOR_CODES | {FLOAT_CODE, "11", "2006", "2028"}
# Of the receiver or the amount; a receipt that cannot be reversed.
_THEIR_CODES = frozenset({"2", "3", "4", "8", "2040", "SFC_IC0003", "R000002"})
REVERSED_BEFORE = "R000001"
ABSENT_CODE = "2032"  # of a status query: no such transaction
# M-Pesa was busy or broke down, and where in its work it says not: we ask.
_BROKEN_CODES = frozenset({"17", "26"})
STATUSES: Mapping[str, Verdict] = {
    "Completed": "paid",
    "Cancelled": "failed",
    "Declined": "failed",
    "Expired": "failed",
    "Initiated": "pending",
    "Authorized": "pending",
    "Pending Authorized": "pending",
}


def verdict_of(result_code: str) -> Verdict:
    """What the code of a callback or a query says. One we do not know proves nothing."""
    if result_code == PAID_CODE:
        return "paid"
    if result_code in PENDING_CODES:
        return "pending"
    if result_code in FAILED_CODES:
        return "failed"
    return "unknown"


def failure_of(result_code: str) -> Literal["failed", "pending", "unknown"]:
    """What the Result of a payout or a reversal says with a code that is not 0."""
    if result_code in OUR_CODES or result_code in _THEIR_CODES:
        return "failed"
    return "pending" if result_code in _BROKEN_CODES else "unknown"


def status_verdict_of(
    result_code: str, status: str
) -> Literal["paid", "failed", "absent", "pending", "unknown"]:
    """What a Transaction Status says. Code 0 is of the question, the status of the payout."""
    if result_code == PAID_CODE:
        return STATUSES.get(status, "unknown")
    if result_code == ABSENT_CODE:
        return "absent"
    return "unknown" if failure_of(result_code) == "unknown" else "pending"


def cents_of(value: object) -> int | None:
    """An amount in shillings, a number or text, as cents; None for what is no sane amount."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,6})?", value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if not 0 <= value <= AMOUNT_CENTS_MAX // CENTS:  # before arithmetic: 1E999999 is a number too
        return None
    cents = Fraction(value) * CENTS if Decimal(value).adjusted() > -12 else None
    return int(cents) if cents is not None and cents.denominator == 1 else None


def receipt_of(value: object) -> str | None:
    """M-Pesa's transaction id; None for what is none."""
    text = value.strip() if isinstance(value, str) else ""
    return text if re.fullmatch(r"[A-Z0-9]{6,20}", text) else None


def code_text(value: object) -> str:
    """A code or an id as text: it comes as a number here and as a string there.

    "" for anything else, and for what no code has in it: blanks, signs beyond ASCII, no end.
    """
    if isinstance(value, bool):
        return ""
    if isinstance(value, int | str):
        text = str(value).strip()
        return text if re.fullmatch(r"[!-~]{1,64}", text) else ""
    # Compared, not reckoned with: arithmetic rounds, and fails at 1E9999999.
    if isinstance(value, Decimal) and -(10**9) < value < 10**9 and value == int(value):
        return str(int(value))
    return ""


def reference_of(value: object) -> str:
    """The account as the payer typed it, without the blanks and dashes people add."""
    return re.sub(r"[\W_]", "", str(value or "")[:64])
