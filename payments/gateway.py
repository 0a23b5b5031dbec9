"""The port: what the market asks of whoever moves the money."""

from datetime import date, datetime
from typing import Literal, Protocol

from core.balances import Float
from core.charges import ChargeResult, PushAnswer
from core.payout_calls import PayoutAnswer
from core.receipts import Receipt


class Gateway(Protocol):
    """A provider of payments. Each call is done, refused before acting, or unknown.

    No call that moves money raises for what a provider or a network does: a doubt is outcome
    "unknown". token: 32 hex digits, the secret of the path the outcome will be sent to.
    """

    def prepare(self) -> None:
        """Have at hand whatever a call needs (a token), before anything is claimed.

        Raises Unavailable: the provider cannot be asked now; nothing was sent, so wait and
        come again.
        """

    def request_payment(
        self, msisdn: str, amount_cents: int, reference: str, description: str, token: str
    ) -> PushAnswer:
        """Ask the payer for money by a prompt on the phone. Not idempotent: one call a charge.

        msisdn: +254…; amount_cents: whole shillings; reference: 1 to 12 of [A-Z0-9], shown to
        the payer.
        """

    def query_payment(self, push_id: str) -> ChargeResult:
        """What has become of the push the provider knows as push_id. May be repeated freely.

        Raises Unavailable: no answer, or one that says nothing of the push; ask again later.
        """

    def prepare_payouts(self) -> None:
        """Have at hand what the calls below need as well. Raises Unavailable, as prepare."""

    def pay_out(
        self, originator_id: str, msisdn: str, amount_cents: int, remarks: str, token: str
    ) -> PayoutAnswer:
        """Send money to a phone, once for each originator_id however often it is asked.

        amount_cents: whole shillings, 10 to 250,000; remarks: 2 to 100 characters.
        """

    def reverse_payment(
        self, receipt: str, amount_cents: int, remarks: str, token: str
    ) -> PayoutAnswer:
        """Give a payment back to whoever made it, whole. The provider does it once a receipt."""

    def query_payout(self, originator_id: str, is_reversal: bool, token: str) -> PayoutAnswer:
        """Ask what became of a payout or a reversal. "accepted": the answer comes by the path."""

    def query_balance(self, of: Float, token: str) -> PayoutAnswer:
        """Ask what lies on our accounts of that float. "accepted": the answer comes by the path."""

    def top_up(self, amount_cents: int, reference: str, token: str) -> PayoutAnswer:
        """Move money from the collection float to the payout float. Not idempotent: one call each.

        amount_cents: whole shillings; reference: 1 to 13 characters.
        """

    def pull(self, since: datetime, until: datetime) -> list[Receipt] | None:
        """What payers paid to us in that time, which began less than 48 hours ago.

        None: the provider does not let us ask. Raises Unavailable: no answer, none of it is known.
        """

    def statement(self, of: Literal["c2b", "b2c", "charges"], day: date) -> bytes | None:
        """The day's statement of our collection or payout float, or of our charges, as a file.

        None: the provider's portal gives it to people only. Raises Unavailable.
        """
