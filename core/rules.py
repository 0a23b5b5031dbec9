"""What whoever runs the market sets; entry points build it from the settings."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rules:
    fee_basis_points: int = 250  # of an order, paid by the seller
    reservation_minutes: int = 15  # stock waits this long for its payment
    push_after_seconds: int = 4  # the handset shows no M-Pesa prompt over an open USSD screen
    open_checkouts_max: int = 3  # placed and unpaid, for each buyer
    payout_automatic_max_cents: int = 20_000_00  # of a member in a day; more needs a second person
    payout_float_floor_cents: int = 100_000_00  # below it the payout float is filled up; 0: never
    sim_check: bool = True  # money goes to no line before the network was asked for its SIM
    sim_swap_days: int = 14  # after another SIM, so long a person approves what goes there
    number_cooling_hours: int = 24  # so long no money goes to a new number, or after a PIN reset
    support_msisdn: str = "+254700000000"  # whom people call who can no longer dial us
    dispute_second_above_cents: int = 20_000_00  # held by a dispute; of more two people decide
    difference_second_above_cents: int = 5_000_00  # between M-Pesa and our books; as for disputes
    decisions_alone_max_cents: int = 50_000_00  # of both, by one of ours alone in a day
    proposal_hours: int = 72  # so long one waits for a second person, then it lapses
    paybill: str = "174379"  # where people pay by hand
    payout_shortcode: str = "600997"  # from which we pay out
    sms_an_hour_max: int = 60  # to one phone, whatever is asked for; advertising besides
    sms_a_day_max: int = 500
    marketing_an_hour_max: int = 1
    marketing_a_day_max: int = 2
    quiet_hours: tuple[int, int] = (21, 7)  # from, to: of the market's day, over midnight
    nudge_after_seconds: int = 30  # who was cut off has time to dial again by herself
    dial_code: str = "*384*7042#"  # what people dial to reach us
    bot_name: str = "SokoniBot"  # where they write to us on Telegram, as in t.me/SokoniBot
    pin_pepper: bytes = field(default=b"", repr=False)
    initiator_key: bytes = field(default=b"", repr=False)  # other for each M-Pesa password
    token_key: bytes = field(default=b"", repr=False)  # callback path tokens are derived with it
