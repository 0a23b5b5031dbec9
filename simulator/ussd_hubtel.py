"""USSD through Hubtel: JSON, the latest input only, and the life cycle in a field.

Kenyan numbers dial through it here, though it serves Ghana. Source: Hubtel, programmable services.
"""

import json
import random
from datetime import datetime
from typing import Any

from simulator import outbound
from simulator.rules import Rules
from simulator.ussd import Request, Screen, Session, Status, extension

MALFORMED = "UUE"  # what the phone shows for an answer that Hubtel cannot read
TYPES = ("response", "release", "AddToCart")
DATA_TYPES = ("display", "input")
FIELD_TYPES = ("text", "phone", "email", "number", "decimal", "textarea")
OPERATORS = {"63902": "vodafone", "63903": "airtel", "63907": "tigo"}  # by network code
OTHER_OPERATOR = "mtn"


class Hubtel:
    def __init__(self, service_code: str, url: str) -> None:
        """service_code: as dialled between star and hash: "713", or "713*9597" on a shared one."""
        self._dialled = f"*{service_code}#"
        self._service_code = service_code.partition("*")[0]
        self._url = url

    def replies_dialled(self, code: str) -> list[str] | None:
        return extension(self._dialled, code)

    def new_id(self, chance: random.Random) -> str:
        return f"{chance.getrandbits(128):032x}"

    def hop(self, session: Session, rules: Rules) -> Request:  # noqa: ARG002
        if session.hops == 1:
            return self._request(session, "Initiation", session.dialled, session.hops)
        return self._request(session, "Response", session.replies[-1], session.hops)

    def read(self, session: Session, answer: outbound.Answer) -> Screen:
        said = _object(answer)
        session.label = str(said.get("ClientState") or "")
        wrong = _wrong(said, session.id)
        if wrong:
            return Screen(MALFORMED, False, wrong)
        return Screen(said["Message"], said["Type"] == "response")

    def notice(
        self,
        session: Session,
        status: Status,
        error: str,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> Request | None:
        if status != "Incomplete":
            return None
        return self._request(session, "Timeout", "", session.hops + 1)

    def _request(self, session: Session, kind: str, message: str, sequence: int) -> Request:
        body = {
            "Type": kind,
            "Mobile": session.msisdn.removeprefix("+"),
            "SessionId": session.id,
            "ServiceCode": self._service_code,
            "Message": message,
            "Operator": OPERATORS.get(session.network_code, OTHER_OPERATOR),
            "Sequence": sequence,
            "ClientState": session.label,
            "Platform": "USSD",
        }
        return Request(self._url, json.dumps(body).encode(), {"Content-Type": outbound.JSON})


def _object(answer: outbound.Answer) -> dict[str, Any]:
    try:
        value = json.loads(answer.text) if answer.status == 200 else None
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _wrong(said: dict[str, Any], session_id: str) -> str:
    """Why the answer cannot be taken; "" where it can. Six fields are mandatory."""
    rules = (
        ("SessionId", said.get("SessionId") == session_id),
        ("Type", said.get("Type") in TYPES),
        ("Message", isinstance(said.get("Message"), str)),
        ("Label", isinstance(said.get("Label"), str)),
        ("DataType", said.get("DataType") in DATA_TYPES),
        ("FieldType", said.get("FieldType") in FIELD_TYPES),
    )
    wrong = [name for name, is_right in rules if not is_right]
    return f"missing or wrong: {', '.join(wrong)}" if wrong else ""
