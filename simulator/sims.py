"""SIM cards: when each line last got another one, as its network tells Africa's Talking's Insights.

The question is accepted with an id; the answer is posted to the asker afterwards. Source: Africa's
Talking, Insights, SIM swap state.
"""

import json
import logging
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from simulator import outbound
from simulator.ground import Ground, Part
from simulator.rules import Rules

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
NEVER = date(1900, 1, 1)
SWAPPED_WITHIN_DAYS = 90  # what this network calls "Swapped"; older ones it only dates


@dataclass(frozen=True, slots=True)
class Question:
    """One that was accepted. answer: its own, where it comes at once; None: it is posted later."""

    request_id: str
    transaction_id: str
    number: str
    answer: dict[str, str] | None


class Sims(Part):
    """What every network knows of its lines. Questions are answered as the rules say."""

    def __init__(self, ground: Ground, *, callback_url: str) -> None:
        super().__init__(ground)
        self._callback_url = callback_url

    def ask(self, number: str) -> Question:
        """Accept a question; what the network says follows."""
        rules = self._rulebook.rules
        request_id = f"ATSwpid_{self._chance.getrandbits(128):032x}"
        transaction_id = f"{self._chance.getrandbits(128):032x}"
        said = self._said(number, rules)
        body = {**said, "requestId": request_id, "transactionId": transaction_id}
        if rules.sim_answer == "reply":
            return Question(request_id, transaction_id, number, said)
        if rules.sim_answer == "callback_first":
            self._tell(body)
        elif rules.sim_answer == "callback":
            for place in range(rules.sim_repeats):
                self._clock.after(rules.sim_seconds + place, partial(self._tell, body))
        return Question(request_id, transaction_id, number, None)

    def _said(self, number: str, rules: Rules) -> dict[str, str]:
        today = self._clock.now().date()
        swapped_on = rules.sim_swapped.get(number, NEVER)
        is_recent = (today - swapped_on).days <= SWAPPED_WITHIN_DAYS
        return {
            "status": rules.sim_says or ("Swapped" if is_recent else "NotSwapped"),
            "lastSimSwapDate": swapped_on.strftime("%d-%m-%Y"),
            "providerRefId": f"{self._chance.getrandbits(64):016x}",
        }

    def _tell(self, body: dict[str, Any]) -> None:
        content_type = {"Content-Type": outbound.JSON}
        try:
            self._post(self._callback_url, json.dumps(body).encode(), content_type, TIMEOUT_SECONDS)
        except outbound.Unanswered as lost:
            log.info("a SIM answer was not taken: %s", lost)
