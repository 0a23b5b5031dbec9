"""USSD through Advanta: GET, the whole input with the dialled code in it, and no life cycle.

Source: Advanta Africa, USSD integration guide.
"""

import random
import re
from datetime import datetime

from simulator import outbound
from simulator.rules import Rules
from simulator.ussd import Request, Screen, Session, Status, extension, form, read_prefixed


class Advanta:
    def __init__(self, service_code: str, url: str) -> None:
        """service_code: the shared code with our extension, as "*415*33#"."""
        self._service_code = service_code
        self._shared_code = re.sub(r"^(\*[0-9]+).*", r"\1#", service_code)
        self._url = url

    def replies_dialled(self, code: str) -> list[str] | None:
        return extension(self._service_code, code)

    def new_id(self, chance: random.Random) -> str:
        return str(chance.randrange(10**9, 10**10))

    def hop(self, session: Session, rules: Rules) -> Request:
        service = self._service_code
        if rules.advanta_hash == "end":
            whole = "*".join([service.removesuffix("#"), *session.replies]) + "#"
        else:
            ahead = extension(service, session.dialled) or []
            whole = "*".join([session.dialled, *session.replies[len(ahead) :]])
        query = form(
            ("SESSIONID", session.id),
            ("USSDCODE", self._shared_code),
            ("MSISDN", session.msisdn.removeprefix("+")),
            ("INPUT", whole),
        )
        return Request(f"{self._url}?{query.decode()}", b"", {}, "GET")

    def read(self, session: Session, answer: outbound.Answer) -> Screen:  # noqa: ARG002
        return read_prefixed(answer)

    def notice(
        self,
        session: Session,  # noqa: ARG002
        status: Status,  # noqa: ARG002
        error: str,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> None:
        return None
