"""Money: integer cents everywhere, whole shillings where cash moves."""

from typing import Final

CENTS: Final = 100  # in a shilling
PAYOUT_CENTS_MIN: Final = 10 * CENTS  # M-Pesa sends no less to a phone (Daraja, B2C)


def half_up(numerator: int, denominator: int) -> int:
    """numerator / denominator, rounded half away from zero to a whole number; denominator > 0."""
    assert denominator > 0, f"denominator {denominator} is not positive"
    sign = -1 if numerator < 0 else 1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))


def whole_shillings(cents: int) -> int:
    """The shillings in cents. Cash moves in whole shillings only, so a rest is our own mistake."""
    shillings, rest = divmod(cents, CENTS)
    assert rest == 0, f"{cents} cents are not whole shillings"
    return shillings


def line_cents(price_cents: int, quantity_milli: int) -> int:
    """What quantity_milli thousandths of a unit cost at price_cents a unit, in whole shillings."""
    return half_up(price_cents * quantity_milli, 1000 * CENTS) * CENTS


def fee_cents(total_cents: int, basis_points: int) -> int:
    """The seller's fee on an order: half-up to a whole shilling, fixed when the order is placed."""
    return half_up(total_cents * basis_points, 10_000 * CENTS) * CENTS


def part_cents(cents: int, part: int, whole: int) -> int:
    """The part of cents, of a whole that is not all there: half-up to a whole shilling."""
    return half_up(cents * part, whole * CENTS) * CENTS


def show(cents: int) -> str:
    """For a screen: "2,250", or "2,250.50" where there are cents."""
    shillings, rest = divmod(abs(cents), CENTS)
    sign = "-" if cents < 0 else ""
    return f"{sign}{shillings:,}.{rest:02}" if rest else f"{sign}{shillings:,}"
