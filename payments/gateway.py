"""The port: what the market asks of whoever moves the money."""

from typing import Protocol

from core.charges import ChargeResult, PushAnswer


class Gateway(Protocol):
    """A provider of payments. Each call is done, refused before acting, or unknown."""

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
        the payer; token: 32 hex digits, the secret of the path the outcome will be sent to.
        Never raises for what a provider or a network does: a doubt is outcome "unknown".
        """

    def query_payment(self, push_id: str) -> ChargeResult:
        """What has become of the push the provider knows as push_id. May be repeated freely.

        Raises Unavailable: no answer, or one that says nothing of the push; ask again later.
        """
