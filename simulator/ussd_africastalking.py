"""USSD through Africa's Talking: the whole input with each hop, and a notice at the end.

Source: Africa's Talking, USSD session callback and its captures.
"""

import random
from datetime import datetime

from simulator import outbound
from simulator.rules import Rules
from simulator.ussd import Request, Screen, Session, Status, extension, form, read_prefixed

METADATA_HEADER = "at-ussd-hop-metadata"
METADATA_LETTERS_MAX = 99
USER_AGENT = "at-ussd-api/1.0"


class AfricasTalking:
    def __init__(self, service_code: str, url: str) -> None:
        self._service_code = service_code
        self._url = url

    def replies_dialled(self, code: str) -> list[str] | None:
        return extension(self._service_code, code)

    def new_id(self, chance: random.Random) -> str:
        return f"ATUid_{chance.getrandbits(128):032x}"

    def hop(self, session: Session, rules: Rules) -> Request:  # noqa: ARG002
        body = form(
            ("phoneNumber", session.msisdn),
            ("serviceCode", self._service_code),
            ("text", "*".join(session.replies)),
            ("sessionId", session.id),
            ("networkCode", session.network_code),
        )
        headers = {
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "gzip",
            "Content-Type": outbound.FORM,
        }
        if session.label:
            headers[METADATA_HEADER] = session.label
        return Request(self._url, body, headers)

    def read(self, session: Session, answer: outbound.Answer) -> Screen:
        label = answer.headers.get(METADATA_HEADER)
        if label and len(label) <= METADATA_LETTERS_MAX and "|" not in label:
            session.label = label
            session.labels_seen.append(label)
        return read_prefixed(answer)

    def notice(self, session: Session, status: Status, error: str, now: datetime) -> Request:
        body = form(
            ("durationInMillis", str(round((now - session.began_at).total_seconds() * 1000))),
            ("phoneNumber", session.msisdn),
            ("errorMessage", error),
            ("serviceCode", self._service_code),
            ("lastAppResponse", session.last_answer),
            ("hopsMetadata", "|".join(session.labels_seen)),
            ("hopsCount", str(session.hops)),
            ("status", status),
            ("sessionId", session.id),
            ("cost", "0.00"),
            ("date", now.strftime("%Y-%m-%d %H:%M:%S")),
            ("networkCode", session.network_code),
            ("input", "*".join(session.replies)),
        )
        headers = {"User-Agent": USER_AGENT, "Content-Type": outbound.FORM}
        return Request(self._url + "/events", body, headers)
