"""Hands to drive a pretend world with, and everybody it calls."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import load_pem_x509_certificate

from simulator.outbound import Answer, Unanswered
from simulator.world import SANDBOX_B2C_SHORTCODE, SANDBOX_PASSKEY, SANDBOX_SHORTCODE

START = datetime(2026, 8, 17, 11, 4, 19, 250_000, tzinfo=UTC)  # 14:04:19.250 in Nairobi
PAYER = "+254712345678"
RESULT = "https://shop.example/payments/results/0123456789abcdef0123456789abcdef"
TIMEOUT = "https://shop.example/payments/timeouts/0123456789abcdef0123456789abcdef"
PASSWORD = "Sandbox#Initiator1"
CALLBACK = "https://shop.example/payments/stk/0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Call:
    """One post that left the world. seconds: since the world began."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    seconds: float
    method: str = "POST"

    @property
    def query(self):
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def form(self):
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def stk(self):
        return self.json["Body"]["stkCallback"]

    @property
    def result(self):
        return self.json["Result"]

    @property
    def parameters(self) -> list[tuple]:
        """Of a Result, in order: a key may be there twice."""
        said = self.result["ResultParameters"]["ResultParameter"]
        return [(each["Key"], each.get("Value")) for each in said]

    @property
    def items(self):
        return {each["Name"]: each.get("Value") for each in self.stk["CallbackMetadata"]["Item"]}


@dataclass
class Outside:
    """Everybody the world calls. `answer` may be replaced; it may raise Unanswered."""

    calls: list[Call] = field(default_factory=list)
    now: Callable[[], datetime] = lambda: START
    answer: Callable[[Call], Answer] = lambda call: Answer(200, {}, '{"ResultCode":0}')

    def __call__(self, url, body, headers, timeout_seconds, method="POST"):
        call = Call(url, body, headers, (self.now() - START).total_seconds(), method)
        self.calls.append(call)
        return self.answer(call)

    def to(self, end: str) -> list[Call]:
        """The calls to URLs with that ending, oldest first."""
        return [call for call in self.calls if call.url.endswith(end)]

    def updates(self) -> list[dict]:
        """What came to the bot's webhook, oldest first."""
        return [call.json for call in self.calls if "/channels/telegram/" in call.url]

    def stk(self) -> list[Call]:
        return [call for call in self.calls if call.url == CALLBACK]

    def results(self) -> list[Call]:
        return [call for call in self.calls if call.url == RESULT]

    def timeouts(self) -> list[Call]:
        return [call for call in self.calls if call.url == TIMEOUT]

    def say(self, *screens: str) -> None:
        """Answer hops with these bodies in turn, and everything else with 200."""
        left = list(screens)

        def answer(call: Call) -> Answer:
            is_hop = "/ussd/" in call.url and not call.url.endswith("/events")
            return Answer(200, {}, left.pop(0) if is_hop else "")

        self.answer = answer

    def be_silent(self) -> None:
        def answer(call: Call) -> Answer:
            raise Unanswered("ReadTimeout")

        self.answer = answer


class Shop:
    """A business at M-Pesa's door, over the WSGI application."""

    def __init__(self, web) -> None:
        self.web = web
        self.token = self.new_token()

    def new_token(self) -> str:
        answer = self.web.get(
            "/oauth/v1/generate?grant_type=client_credentials",
            auth=("sandbox-consumer-key", "sandbox-consumer-secret"),
        )
        assert answer.status_code == 200, answer.text
        return answer.json["access_token"]

    def call(self, path: str, body, method: str = "POST", **more):
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.web.open(path, method=method, json=body, headers=headers, **more)

    def wish(self, **changes) -> dict:
        stamp = "20260817140419"
        right = f"{SANDBOX_SHORTCODE}{SANDBOX_PASSKEY}{stamp}".encode()
        wish = {
            "BusinessShortCode": SANDBOX_SHORTCODE,
            "Password": base64.b64encode(right).decode(),
            "Timestamp": stamp,
            "TransactionType": "CustomerPayBillOnline",
            "Amount": 2250,
            "PartyA": PAYER[1:],
            "PartyB": SANDBOX_SHORTCODE,
            "PhoneNumber": PAYER[1:],
            "CallBackURL": CALLBACK,
            "AccountReference": "ORD7K2",
            "TransactionDesc": "Goods",
        }
        wish.update(changes)
        return {name: value for name, value in wish.items() if value is not ...}

    def push(self, **changes):
        return self.call("/mpesa/stkpush/v1/processrequest", self.wish(**changes))

    def accepted(self, **changes) -> dict:
        answer = self.push(**changes)
        assert answer.status_code == 200, answer.text
        return answer.json

    def query(self, checkout_id: str, **changes):
        wish = self.wish()
        names = ("BusinessShortCode", "Password", "Timestamp")
        body = {name: wish[name] for name in names} | {"CheckoutRequestID": checkout_id}
        return self.call("/mpesa/stkpushquery/v1/query", body | changes)

    def register(self, version: int = 2, **changes):
        body = {
            "ShortCode": SANDBOX_SHORTCODE,
            "ResponseType": "Completed",
            "ConfirmationURL": "https://shop.example/payments/c2b/key/confirmation",
            "ValidationURL": "https://shop.example/payments/c2b/key/validation",
        }
        return self.call(f"/mpesa/c2b/v{version}/registerurl", body | changes)


class Operator:
    """The business's operator at M-Pesa's door. Each verb returns the HTTP answer.

    Changes: fields with other values; ... leaves one out.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        pem = shop.web.get("/simulator/api/certificate").data
        self._key = load_pem_x509_certificate(pem).public_key()
        self.credential = self.encrypt(PASSWORD)

    def encrypt(self, password: str) -> str:
        return base64.b64encode(self._key.encrypt(password.encode(), padding.PKCS1v15())).decode()

    def pay_out(self, amount=450, to: str = PAYER, originator_id: str = "payout-1", **changes):
        body = {
            "OriginatorConversationID": originator_id,
            "InitiatorName": "sokoni-api",
            "CommandID": "BusinessPayment",
            "Amount": amount,
            "PartyA": SANDBOX_B2C_SHORTCODE,
            "PartyB": to[1:],
            "Occassion": "Order 1042",
        }
        return self._ask("b2c/v3/paymentrequest", body, changes)

    def ask_status(self, receipt=..., originator_id=..., **changes):
        body = {
            "Initiator": "sokoni-api",
            "CommandID": "TransactionStatusQuery",
            "TransactionID": receipt,
            "OriginalConversationID": originator_id,
            "PartyA": SANDBOX_B2C_SHORTCODE,
            "IdentifierType": "4",
            "Occasion": "",
        }
        return self._ask("transactionstatus/v1/query", body, changes)

    def reverse(self, receipt: str, amount: int, **changes):
        body = {
            "Initiator": "sokoni-api",
            "CommandID": "TransactionReversal",
            "TransactionID": receipt,
            "Amount": amount,
            "ReceiverParty": SANDBOX_SHORTCODE,
            "RecieverIdentifierType": "11",
        }
        return self._ask("reversal/v1/request", body, changes)

    def ask_balance(self, **changes):
        body = {
            "Initiator": "sokoni-api",
            "CommandID": "AccountBalance",
            "PartyA": SANDBOX_B2C_SHORTCODE,
            "IdentifierType": "4",
        }
        return self._ask("accountbalance/v1/query", body, changes)

    def top_up(self, amount: int = 5000, **changes):
        body = {
            "Initiator": "sokoni-api",
            "CommandID": "BusinessPayToBulk",
            "SenderIdentifierType": "4",
            "RecieverIdentifierType": "4",
            "Amount": amount,
            "PartyA": SANDBOX_SHORTCODE,
            "PartyB": SANDBOX_B2C_SHORTCODE,
            "AccountReference": "FLOAT",
        }
        return self._ask("b2b/v1/paymentrequest", body, changes)

    def _ask(self, path: str, body: dict, changes: dict):
        common = {
            "SecurityCredential": self.credential,
            "Remarks": "Sokoni",
            "ResultURL": RESULT,
            "QueueTimeOutURL": TIMEOUT,
        }
        asked = {**common, **body, **changes}
        asked = {name: value for name, value in asked.items() if value is not ...}
        return self._shop.call(f"/mpesa/{path}", asked)


class Api:
    """The JSON calls, over the WSGI application."""

    def __init__(self, web) -> None:
        self.web = web

    def __call__(self, method: str, path: str, body=None):
        return self.web.open(f"/simulator/api/{path}", method=method, json=body)

    def ok(self, method: str, path: str, body=None):
        answer = self(method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json

    def rules(self, **rules):
        return self.ok("PUT", "rules", rules)

    def prompt(self, number: str = PAYER):
        found = self.ok("GET", f"prompts/{number}")
        assert len(found) == 1, found
        return found[0]

    def answer(self, **answer):
        """Answer the payer's prompt."""
        return self.ok("POST", f"prompts/{self.prompt()['id']}", answer)

    def fund(self, utility: int = 100_000, number: str = SANDBOX_B2C_SHORTCODE) -> None:
        """Have so many shillings in the shortcode's Utility."""
        self.ok("PUT", f"shortcodes/{number}", {"utility": utility})

    def held(self, number: str = SANDBOX_B2C_SHORTCODE) -> dict:
        return self.ok("GET", f"shortcodes/{number}")

    def balance(self, number: str = PAYER) -> int:
        return self.ok("GET", f"subscribers/{number}")["balance"]


class Bot:
    """The bot at Telegram's door, over the WSGI application."""

    def __init__(self, web) -> None:
        self.web = web
        self.token = "7000000000:sandbox-telegram-token"

    def __call__(self, method: str, **given):
        return self.web.post(f"/telegram/bot{self.token}/{method}", json=given)

    def ok(self, method: str, **given):
        answer = self(method, **given)
        assert answer.status_code == 200, answer.text
        assert answer.json["ok"] is True
        return answer.json["result"]

    def refused(self, method: str, **given) -> tuple[int, str]:
        answer = self(method, **given)
        assert answer.json["ok"] is False, answer.text
        assert answer.json["error_code"] == answer.status_code
        return answer.status_code, answer.json["description"]
