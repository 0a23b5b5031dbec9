"""The three USSD gateways as a Handset's line: each tells the same hop in its own shape."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core import gsm
from tests.flows.handset import ROOM_SEPTETS, Line, Seen, WebLine

AFRICASTALKING = "/channels/ussd/africastalking/sandbox-path-secret"
HUBTEL = "/channels/ussd/hubtel/sandbox-hubtel-secret"
ADVANTA = "/channels/ussd/advanta/sandbox-advanta-secret"
HUBTEL_CODE = "713"
ADVANTA_CODE = "*415*33#"
NAMES = ("africastalking", "hubtel", "advanta", "advanta, # at the end")


@dataclass
class HubtelLine:
    """Sends the newest reply only, under a number that grows by hop.

    A text that was sent before is sent again as it was: the repeat of that hop.
    """

    client: FlaskClient
    path: str = HUBTEL
    sent: dict[str, list[str]] = field(default_factory=dict)  # texts so far, by session

    def answer(self, msisdn: str, session: str, code: str, text: str) -> Seen:
        texts = self.sent.setdefault(session, [])
        if text not in texts:
            texts.append(text)
        hop = texts.index(text)
        if hop == 0:
            message = f"*{HUBTEL_CODE}*{text}#" if text else f"*{HUBTEL_CODE}#"
        else:
            earlier = texts[hop - 1]
            message = text.removeprefix(f"{earlier}*") if earlier else text
        return hubtel_seen(
            self.client.post(
                self.path,
                json=hubtel_body(
                    Type="Response" if hop else "Initiation",
                    Mobile=msisdn[1:],
                    SessionId=session,
                    Message=message,
                    Sequence=hop + 1,
                ),
            )
        )


@dataclass
class AdvantaLine:
    """Sends everything with the dialled code in front. closes: where its # stands on later hops."""

    client: FlaskClient
    path: str = ADVANTA
    closes: Literal["the dialled", "all"] = "the dialled"
    dialled: dict[str, str] = field(default_factory=dict)  # with the code, by session

    def answer(self, msisdn: str, session: str, code: str, text: str) -> Seen:
        ahead = self.dialled.setdefault(session, text)
        ours = ADVANTA_CODE.removesuffix("#")
        if self.closes == "all" or not text.startswith(ahead):  # the start again, late
            given = f"{ours}*{text}#" if text else f"{ours}#"
        else:
            first = f"{ours}*{ahead}#" if ahead else f"{ours}#"
            given = first if text == ahead else f"{first}*{text[len(ahead) + bool(ahead) :]}"
        query = {"SESSIONID": session, "USSDCODE": "*415#", "MSISDN": msisdn[1:], "INPUT": given}
        return advanta_seen(self.client.get(self.path, query_string=query))


def line(name: str, client: FlaskClient) -> Line:
    """name: one of NAMES."""
    match name:
        case "africastalking":
            return WebLine(client, AFRICASTALKING)
        case "hubtel":
            return HubtelLine(client)
        case "advanta":
            return AdvantaLine(client)
        case "advanta, # at the end":
            return AdvantaLine(client, closes="all")
    raise AssertionError(name)


def hubtel_body(**given: Any) -> dict[str, Any]:
    """A request with these fields; None leaves one out."""
    usual = {
        "Type": "Initiation",
        "ServiceCode": HUBTEL_CODE,
        "Message": f"*{HUBTEL_CODE}#",
        "Operator": "vodafone",
        "Sequence": 1,
        "ClientState": "",
        "Platform": "USSD",
    }
    return {name: value for name, value in {**usual, **given}.items() if value is not None}


def hubtel_seen(answer: TestResponse) -> Seen:
    """What the phone shows of an answer in which nothing is missing; else it would show "UUE"."""
    assert answer.status_code == 200, answer.status
    assert answer.content_type == "application/json"
    said = json.loads(answer.data)
    assert set(said) == {"SessionId", "Type", "Message", "Label", "DataType", "FieldType"}
    assert all(isinstance(value, str) for value in said.values())
    ends = said["Type"] == "release"
    assert said["Type"] in {"response", "release"}
    assert said["DataType"] == ("display" if ends else "input")
    assert said["FieldType"] in ({"text"} if ends else {"text", "number"})
    assert said["Label"]
    return shown(said["Message"], ends)


def advanta_seen(answer: TestResponse) -> Seen:
    assert answer.status_code == 200, answer.status
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.get_data(as_text=True)
    assert body.startswith(("CON ", "END ")), body
    return shown(body[4:], body.startswith("END"))


def shown(text: str, ends: bool) -> Seen:
    """These two are told no name of the state."""
    assert set(text) <= set(gsm.SEPTETS), text
    assert gsm.septets(text) <= ROOM_SEPTETS, text
    return Seen(text, ends, label="")
