"""Daraja, Safaricom's M-Pesa API: our calls to it, and what each of its answers proves.

Source of shapes and of the gateway's errors: Safaricom's developer portal, and logs of live
merchants where the portal is silent. An answer never means that money moved, a missing one never
that it did not.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import redis
import requests
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.balances import Float
from core.charges import ChargeResult, PushAnswer
from core.days import EAST_AFRICA_TIME, YEARS
from core.errors import Declined, Unavailable
from core.money import whole_shillings
from core.payout_calls import PayoutAnswer
from core.receipts import Receipt
from payments import wire
from payments.access_token import Fetched, SharedToken
from payments.codes import (
    AMOUNT_SHILLINGS_MAX,
    LIMIT_CODE,
    cents_of,
    code_text,
    receipt_of,
    reference_of,
    verdict_of,
)
from payments.rate import Bucket
from payments.wire import ANSWER_BYTES_MAX, Lost, NotSent, Sessions, load_object
from settings import Settings

log = structlog.get_logger(__name__)

PAYOUT_SHILLINGS_MIN = 10
PULLED_BYTES_MAX = 32 * 1024 * 1024  # of two days' payments, some 250 bytes each
STATEMENT_BYTES_MAX = 64 * 1024 * 1024
STATEMENT_SECONDS_MAX = 30.0  # a task asks for three, and may take 120 s

_TOKEN_PATH = "/oauth/v1/generate?grant_type=client_credentials"  # noqa: S105 - a path
_PUSH_PATH = "/mpesa/stkpush/v1/processrequest"
_QUERY_PATH = "/mpesa/stkpushquery/v1/query"
_REGISTER_PATH = "/mpesa/c2b/v2/registerurl"
_PAYOUT_PATH = "/mpesa/b2c/v3/paymentrequest"  # version 1 has no idempotency key
_STATUS_PATH = "/mpesa/transactionstatus/v1/query"
_REVERSAL_PATH = "/mpesa/reversal/v1/request"
_BALANCE_PATH = "/mpesa/accountbalance/v1/query"
_TOP_UP_PATH = "/mpesa/b2b/v1/paymentrequest"
_PULL_REGISTER_PATH = "/pulltransactions/v1/register"
_PULL_PATH = "/pulltransactions/v1/query"
# Where the pretend world has its certificate; Safaricom's is downloaded from its portal.
_CERTIFICATE_PATH = "/simulator/api/certificate"

# The gateway turns a dead token away before acting, so these calls may be repeated.
INVALID_TOKEN_CODES = frozenset({"404.001.03", "401.002.01", "400.003.01"})

# Errors of the gateway by which nothing was sent to the phone.
_REFUSALS = INVALID_TOKEN_CODES | {
    "400.002.02",  # a field missing or malformed
    "400.002.05",  # the body malformed
    "400.003.02",
    "404.001.01",  # no such path
    "404.002.01",
    "404.003.01",
    "404.001.04",  # wrong method or header
    "405.001",
    "500.003.02",  # spike arrest
    "500.003.03",  # quota
}
# One code, at least four meanings: only these words prove a refusal.
_MANY_MEANINGS = "500.001.1001"
_REFUSING_WORDS = (
    "merchant does not exist",
    "wrong credentials",
    "[merchantvalidate]",
    "unable to lock subscriber",
)
_PENDING_WORDS = "transaction is being processed"
# Also maintenance, in older texts; only with this word it says that the payout exists.
_DUPLICATE = "500.002.1001"
_DUPLICATE_WORD = "duplicate"
# Of an answer without an envelope only these prove that nothing behind the gateway was reached.
_REFUSING_STATUSES = frozenset({401, 403, 404, 405, 413, 415, 429})


@dataclass(frozen=True)
class Account:
    """Our account at Safaricom and where its callbacks reach us."""

    base_url: str
    consumer_key: str
    consumer_secret: str = field(repr=False)
    shortcode: str
    passkey: str = field(repr=False)
    public_base_url: str
    b2c_shortcode: str = ""
    initiator: str = ""
    initiator_password: str = field(default="", repr=False)
    pulls: bool = True  # whether Safaricom lets us pull transactions
    statement_url: str | None = None  # the portal's, where it can be asked for a file
    certificate: str | None = None  # PEM; None: fetched from base_url, as the pretend world has it
    calls_per_second: float = 5.0  # of this process; Safaricom publishes no limit
    connect_seconds: float = 3.0
    read_seconds: float = 8.0


class Daraja:
    """The adapter. Safe for threads; one for each process.

    redis_url: where all processes share one token; None: each keeps its own.
    """

    def __init__(
        self, account: Account, *, redis_url: str | None, clock: Callable[[], datetime]
    ) -> None:
        self._account = account
        self._clock = clock
        self._bucket = Bucket(account.calls_per_second)
        self._sessions = Sessions()
        self._store = None if redis_url is None else _connect(redis_url)
        owner = hashlib.sha256(f"{account.base_url} {account.consumer_key}".encode()).hexdigest()
        self._token = SharedToken(self._fetch_token, self._store, name=f"daraja:{owner[:16]}")
        self._certificate = account.certificate

    def prepare(self) -> None:
        """Have a token. Raises Unavailable: none to be had."""
        self._token.get()

    def request_payment(
        self, msisdn: str, amount_cents: int, reference: str, description: str, token: str
    ) -> PushAnswer:
        """Prompt the phone (STK Push). See payments.gateway.Gateway."""
        shillings = whole_shillings(amount_cents)
        assert 1 <= shillings <= AMOUNT_SHILLINGS_MAX, f"KSh {shillings} cannot be pushed"
        assert re.fullmatch(r"\+254[17]\d{8}", msisdn), "not the number of a Kenyan mobile"
        assert re.fullmatch(r"[A-Z0-9]{1,12}", reference), f"reference {reference!r} is no account"
        assert 1 <= len(description) <= 13, f"description {description!r} is not 1 to 13 long"
        assert re.fullmatch(r"[0-9a-f]{32}", token), "the path's token is not 32 hex digits"
        account = self._account
        try:
            answer = self._post(
                _PUSH_PATH,
                {
                    **self._identity(),
                    "TransactionType": "CustomerPayBillOnline",
                    "Amount": str(shillings),
                    "PartyA": msisdn[1:],
                    "PartyB": account.shortcode,
                    "PhoneNumber": msisdn[1:],
                    "CallBackURL": f"{account.public_base_url}/payments/stk/{token}",
                    "AccountReference": reference,
                    "TransactionDesc": description,
                },
            )
        except NotSent as error:
            return PushAnswer("refused", None, None, error.code, str(error))
        except Lost as error:
            return PushAnswer("unknown", None, None, error.code, str(error))
        return _push_answer(answer)

    def query_payment(self, push_id: str) -> ChargeResult:
        """Ask what became of a push (STK Query). See payments.gateway.Gateway."""
        try:
            answer = self._post(_QUERY_PATH, {**self._identity(), "CheckoutRequestID": push_id})
        except (NotSent, Lost) as error:
            raise Unavailable(f"the query was not answered: {error.code}") from error
        return _query_result(answer, push_id)

    def register_urls(self, c2b_secret: str) -> Literal["registered", "registered_before"]:
        """Tell M-Pesa where payments by hand, and every payment's confirmation, are to be told.

        In production M-Pesa takes this once; what is registered is then changed in its portal.
        Raises Unavailable, and Declined with its code.
        """
        base = f"{self._account.public_base_url}/payments/c2b/{c2b_secret}"
        try:
            answer = self._post(
                _REGISTER_PATH,
                {
                    "ShortCode": self._account.shortcode,
                    "ResponseType": "Completed",  # if our validation cannot be reached
                    "ConfirmationURL": f"{base}/confirmation",
                    "ValidationURL": f"{base}/validation",
                },
            )
        except (NotSent, Lost) as error:
            raise Unavailable(f"the addresses were not registered: {error.code}") from error
        if answer.status == 200 and answer.text("ResponseCode") == "0":
            return "registered"
        if "already registered" in answer.said.lower():
            return "registered_before"
        raise Declined(f"HTTP {answer.status} {answer.code}: {answer.said}")

    def prepare_payouts(self) -> None:
        """Have a token and M-Pesa's certificate. See payments.gateway.Gateway."""
        self._token.get()
        if self._account.certificate is None:  # anew each time: a pretend world may be another one
            self._certificate = self._fetch_certificate()

    def pay_out(
        self, originator_id: str, msisdn: str, amount_cents: int, remarks: str, token: str
    ) -> PayoutAnswer:
        """Send money to a phone (B2C). See payments.gateway.Gateway."""
        shillings = whole_shillings(amount_cents)
        assert PAYOUT_SHILLINGS_MIN <= shillings <= AMOUNT_SHILLINGS_MAX, f"KSh {shillings}"
        assert re.fullmatch(r"\+254[17]\d{8}", msisdn), "not the number of a Kenyan mobile"
        return self._ask(
            _PAYOUT_PATH,
            token,
            {
                "OriginatorConversationID": originator_id,
                "InitiatorName": self._account.initiator,  # "Initiator" in every other call
                "SecurityCredential": self._credential(),
                "CommandID": "BusinessPayment",
                "Amount": str(shillings),
                "PartyA": self._account.b2c_shortcode,
                "PartyB": msisdn[1:],
                "Remarks": remarks,
            },
        )

    def reverse_payment(
        self, receipt: str, amount_cents: int, remarks: str, token: str
    ) -> PayoutAnswer:
        """Give a payment back whole (Reversal). See payments.gateway.Gateway."""
        return self._ask(
            _REVERSAL_PATH,
            token,
            {
                **self._initiated("TransactionReversal"),
                "TransactionID": receipt,
                "Amount": str(whole_shillings(amount_cents)),
                "ReceiverParty": self._account.shortcode,
                "RecieverIdentifierType": "11",  # spelled so
                "Remarks": remarks,
            },
        )

    def query_payout(self, originator_id: str, is_reversal: bool, token: str) -> PayoutAnswer:
        """Ask what became of one (Transaction Status). See payments.gateway.Gateway."""
        account = self._account
        return self._ask(
            _STATUS_PATH,
            token,
            {
                **self._initiated("TransactionStatusQuery"),
                "OriginalConversationID": originator_id,
                "PartyA": account.shortcode if is_reversal else account.b2c_shortcode,
                "IdentifierType": "4",
                "Remarks": "Status",
                "Occasion": "Status",
            },
        )

    def query_balance(self, of: Float, token: str) -> PayoutAnswer:
        """Ask what lies on a shortcode (Account Balance). See payments.gateway.Gateway."""
        account = self._account
        return self._ask(
            _BALANCE_PATH,
            token,
            {
                **self._initiated("AccountBalance"),
                "PartyA": account.shortcode if of == "c2b" else account.b2c_shortcode,
                "IdentifierType": "4",
                "Remarks": "Balance",
            },
        )

    def top_up(self, amount_cents: int, reference: str, token: str) -> PayoutAnswer:
        """Fill the payout float up (BusinessPayToBulk). See payments.gateway.Gateway."""
        assert 1 <= len(reference) <= 13, f"reference {reference!r} is not 1 to 13 long"
        account = self._account
        return self._ask(
            _TOP_UP_PATH,
            token,
            {
                **self._initiated("BusinessPayToBulk"),
                "SenderIdentifierType": "4",
                "RecieverIdentifierType": "4",
                "Amount": str(whole_shillings(amount_cents)),
                "PartyA": account.shortcode,
                "PartyB": account.b2c_shortcode,
                "AccountReference": reference,
                "Remarks": "Float",
            },
        )

    def register_pull(
        self, msisdn: str, c2b_secret: str
    ) -> Literal["registered", "registered_before"]:
        """Be allowed to pull transactions. msisdn: the number Safaricom knows us by.

        What M-Pesa may tell us of it by itself is a payment, and comes where those come.
        Raises Unavailable, and Declined with its code.
        """
        base = f"{self._account.public_base_url}/payments/c2b/{c2b_secret}"
        fields = {
            "ShortCode": self._account.shortcode,
            "RequestType": "Pull",
            "NominatedNumber": msisdn[1:],
            "CallBackURL": f"{base}/confirmation",
        }
        try:
            answer = self._post(_PULL_REGISTER_PATH, fields)
        except (NotSent, Lost) as error:
            raise Unavailable(f"pulling was not registered: {error.code}") from error
        status = answer.text("ResponseStatus")
        if answer.status == 200 and status in ("1000", "1001"):
            return "registered" if status == "1000" else "registered_before"
        raise Declined(f"HTTP {answer.status} {answer.code}: {answer.said}")

    def pull(self, since: datetime, until: datetime) -> list[Receipt] | None:
        """The payments that M-Pesa says came in (Pull Transactions). See payments.gateway.Gateway.

        A row without a receipt or an amount is left out, and logged.
        """
        if not self._account.pulls:
            return None
        found: list[Receipt] = []
        offset, page, before = 0, self._pulled(since, until, 0), None
        while page and page != before:  # a gateway that knows no offset says the same again
            lines = [line for line in map(_pulled, page) if line is not None]
            if len(lines) != len(page):
                log.error("pulled_rows_unreadable", rows=len(page) - len(lines))
            found += lines
            offset, before = offset + len(page), page
            page = self._pulled(since, until, offset)
        return found

    def statement(self, of: Literal["c2b", "b2c", "charges"], day: date) -> bytes | None:
        """The day's statement of an account of ours, as a file. See payments.gateway.Gateway."""
        account = self._account
        if account.statement_url is None:
            return None
        query = {
            "shortcode": account.shortcode if of == "c2b" else account.b2c_shortcode,
            "account": "Charges" if of == "charges" else "Utility",
            "date": day.isoformat(),
        }
        try:
            answer = wire.ask(
                *(self._sessions.mine(), "GET", account.statement_url),
                seconds=(account.connect_seconds, STATEMENT_SECONDS_MAX),
                bytes_max=STATEMENT_BYTES_MAX,
                params=query,
            )
        except (NotSent, Lost) as error:
            raise Unavailable(f"no statement: {error.code}") from error
        if answer.status != 200:
            raise Unavailable(f"no statement: HTTP {answer.status}")
        return answer.body

    def close(self) -> None:
        """Let go of every connection; no call may be under way."""
        self._sessions.close()
        if self._store is not None:
            self._store.close()

    def _pulled(self, since: datetime, until: datetime, offset: int) -> list[Any]:
        """The rows from there on, as they came."""
        form = "%Y-%m-%d %H:%M:%S"
        fields = {
            "ShortCode": self._account.shortcode,
            "StartDate": since.astimezone(EAST_AFRICA_TIME).strftime(form),
            "EndDate": until.astimezone(EAST_AFRICA_TIME).strftime(form),
            "OffSetValue": str(offset),
        }
        try:
            answer = self._post(_PULL_PATH, fields, method="GET", bytes_max=PULLED_BYTES_MAX)
        except (NotSent, Lost) as error:
            raise Unavailable(f"nothing was pulled: {error.code}") from error
        if answer.status != 200 or answer.text("ResponseCode") not in ("1000", "1001"):
            raise Unavailable(f"nothing was pulled: HTTP {answer.status} {answer.code}")
        return [row for row in _flat(answer.body.get("Response")) if isinstance(row, dict)]

    def _ask(self, path: str, token: str, fields: Mapping[str, str]) -> PayoutAnswer:
        """Ask for what is done and told of later, on the paths of this token."""
        assert re.fullmatch(r"[0-9a-f]{32}", token), "the path's token is not 32 hex digits"
        base = f"{self._account.public_base_url}/payments"
        urls = {
            "ResultURL": f"{base}/results/{token}",
            "QueueTimeOutURL": f"{base}/timeouts/{token}",
        }
        try:
            return _payout_answer(self._post(path, {**fields, **urls}))
        except NotSent as error:
            return PayoutAnswer("refused", error.code, detail=str(error))
        except Lost as error:
            return PayoutAnswer("unknown", error.code, detail=str(error))

    def _initiated(self, command: str) -> dict[str, str]:
        return {
            "Initiator": self._account.initiator,
            "SecurityCredential": self._credential(),
            "CommandID": command,
        }

    def _credential(self) -> str:
        assert self._certificate is not None, "a call without prepare_payouts before it"
        return security_credential(self._account.initiator_password, self._certificate)

    def _fetch_certificate(self) -> str:
        url = self._account.base_url + _CERTIFICATE_PATH
        try:
            answer = wire.ask(self._sessions.mine(), "GET", url, seconds=(3.0, 3.0))
        except (NotSent, Lost) as error:
            raise Unavailable(f"no certificate: {error.code}") from error
        if answer.status != 200 or b"BEGIN CERTIFICATE" not in answer.body:
            raise Unavailable(f"no certificate: HTTP {answer.status}")
        return answer.body.decode("ascii", "replace")

    def _identity(self) -> dict[str, str]:
        # One stamp for both: Safaricom takes the Password apart by the Timestamp beside it.
        stamp = self._clock().astimezone(EAST_AFRICA_TIME).strftime("%Y%m%d%H%M%S")
        return {
            "BusinessShortCode": self._account.shortcode,
            "Password": password(self._account.shortcode, self._account.passkey, stamp),
            "Timestamp": stamp,
        }

    def _post(
        self,
        path: str,
        fields: Mapping[str, str],
        *,
        method: str = "POST",
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> "_Answer":
        """Ask with the token in force; once more with another one if it was a dead one.

        Raises NotSent: nothing was sent. Raises Lost: sent perhaps, and no answer came.
        """
        try:
            token = self._token.get()
        except Unavailable as error:
            raise NotSent("no_token") from error
        answer = self._call(method, path, token=token, fields=fields, bytes_max=bytes_max)
        if answer.code not in INVALID_TOKEN_CODES:
            return answer
        try:
            token = self._token.replace(token)
        except Unavailable as error:
            raise NotSent("no_token") from error
        return self._call(method, path, token=token, fields=fields, bytes_max=bytes_max)

    def _fetch_token(self) -> Fetched:
        account = self._account
        try:
            answer = self._call(
                "GET", _TOKEN_PATH, basic=(account.consumer_key, account.consumer_secret)
            )
        except (NotSent, Lost) as error:
            raise Unavailable(f"no token: {error.code}") from error
        token = answer.body.get("access_token")
        if (
            answer.status != 200
            or not isinstance(token, str)
            or not re.fullmatch(r"[!-~]{1,4096}", token)
        ):
            log.error("daraja_gives_no_token", status=answer.status, code=answer.code)
            raise Unavailable(f"no token: HTTP {answer.status} {answer.code}")
        seconds = code_text(answer.body.get("expires_in"))  # a string here, a number there
        # Without a life of its own it is given a short one, and asked for again soon.
        return Fetched(token, int(seconds) if re.fullmatch(r"[0-9]{1,6}", seconds) else 60)

    def _call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        basic: tuple[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> "_Answer":
        """One HTTP request, in its turn, its answer read within bounds of size and time."""
        account = self._account
        try:
            self._bucket.take()
        except Unavailable as error:
            raise NotSent("rate") from error
        answer = wire.ask(
            self._sessions.mine(),
            method,
            account.base_url + path,
            seconds=(account.connect_seconds, account.read_seconds),
            bytes_max=bytes_max,
            json=fields,
            auth=basic or _Bearer(token or ""),
        )
        return _Answer(answer.status, load_object(answer.body))


def connect(settings: Settings, *, clock: Callable[[], datetime], processes: int) -> Daraja:
    """The adapter for the account that the settings name. processes: they share the rate."""
    account = Account(
        base_url=settings.daraja_base_url,
        consumer_key=settings.daraja_consumer_key.get_secret_value(),
        consumer_secret=settings.daraja_consumer_secret.get_secret_value(),
        shortcode=settings.daraja_shortcode,
        passkey=settings.daraja_passkey.get_secret_value(),
        public_base_url=settings.public_base_url,
        b2c_shortcode=settings.daraja_b2c_shortcode,
        initiator=settings.daraja_initiator,
        initiator_password=settings.daraja_initiator_password.get_secret_value(),
        pulls=settings.daraja_pull_msisdn is not None,
        statement_url=settings.daraja_statement_url,
        certificate=_certificate_of(settings.daraja_certificate),
        calls_per_second=settings.daraja_calls_per_second / processes,
    )
    return Daraja(account, redis_url=settings.redis_url, clock=clock)


def password(shortcode: str, passkey: str, stamp: str) -> str:
    """What a push and a query prove our identity with; stamp: YYYYMMDDHHmmss, EAT."""
    return base64.b64encode(f"{shortcode}{passkey}{stamp}".encode()).decode()


def security_credential(initiator_password: str, certificate: str) -> str:
    """What proves that a call is our operator's: the password, encrypted for M-Pesa alone.

    certificate: Safaricom's for that environment, PEM. Each one differs; padding PKCS#1 v1.5.
    """
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    assert isinstance(key, rsa.RSAPublicKey), "M-Pesa's certificate has no RSA key"
    return base64.b64encode(key.encrypt(initiator_password.encode(), padding.PKCS1v15())).decode()


def _certificate_of(setting: str | None) -> str | None:
    """The PEM itself, which the setting is or names."""
    if setting is None or "BEGIN CERTIFICATE" in setting:
        return setting
    return Path(setting).read_text(encoding="ascii")


@dataclass(frozen=True)
class _Answer:
    status: int
    body: Mapping[str, Any]  # empty when the body was no JSON object

    def text(self, key: str) -> str:
        return code_text(self.body.get(key))

    @property
    def code(self) -> str:
        """Of the gateway's error envelope; "" without one."""
        return self.text("errorCode")

    @property
    def said(self) -> str:
        """Its message, for people: clipped, numbers as long as a phone's taken out."""
        message = self.body.get("errorMessage") or self.body.get("ResponseDescription") or ""
        return re.sub(r"\d{7,}", "#", str(message))[:120]


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _push_answer(answer: _Answer) -> PushAnswer:
    code = answer.code or answer.text("ResponseCode") or f"http_{answer.status}"
    push_id, group_id = answer.text("CheckoutRequestID"), answer.text("MerchantRequestID")
    if answer.status == 200 and answer.text("ResponseCode") == "0":
        if push_id:
            return PushAnswer("accepted", push_id, group_id or None, "0", answer.said)
        return PushAnswer("unknown", None, group_id or None, code, "accepted without an id")
    outcome: Literal["refused", "unknown"] = "refused" if _refuses(answer) else "unknown"
    return PushAnswer(outcome, None, None, code, answer.said)


def _payout_answer(answer: _Answer) -> PayoutAnswer:
    """Of B2C, Transaction Status, Reversal, Account Balance and a top-up alike."""
    code = answer.code or answer.text("ResponseCode") or f"http_{answer.status}"
    originator_id = answer.text("OriginatorConversationID") or None
    conversation_id = answer.text("ConversationID") or None
    if answer.status == 200 and answer.text("ResponseCode") == "0":
        return PayoutAnswer("accepted", "0", originator_id, conversation_id, answer.said)
    if answer.code == _DUPLICATE and _DUPLICATE_WORD in answer.said.lower():
        return PayoutAnswer("accepted", code, detail=answer.said)  # the first request exists
    outcome: Literal["refused", "unknown"] = "refused" if _refuses(answer) else "unknown"
    return PayoutAnswer(outcome, code, detail=answer.said)


def _flat(rows: object) -> list[object]:
    """Pulled rows lie in a list, or in a list of lists."""
    if not isinstance(rows, list):
        return []
    return [one for row in rows for one in (row if isinstance(row, list) else [row])]


def _pulled(row: Mapping[str, Any]) -> Receipt | None:
    receipt, cents = receipt_of(row.get("transactionId")), cents_of(row.get("amount"))
    try:
        at = datetime.fromisoformat(str(row.get("trxDate")).replace("Z", "+00:00"))
    except ValueError:
        return None
    if receipt is None or not cents or at.tzinfo is None or at.year not in YEARS:
        return None
    return Receipt("pull", receipt, cents, reference_of(row.get("billreference")), at)


def _refuses(answer: _Answer) -> bool:
    """Whether this answer proves that nothing was done."""
    if answer.code == _MANY_MEANINGS:
        said = answer.said.lower()
        return any(words in said for words in _REFUSING_WORDS)
    if answer.code:
        return answer.code in _REFUSALS
    if answer.status == 200:
        return answer.text("ResponseCode") not in ("", "0")
    return answer.status in _REFUSING_STATUSES


def _query_result(answer: _Answer, push_id: str) -> ChargeResult:
    # ResponseCode says that the question was accepted; ResultCode is the outcome.
    code = answer.text("ResultCode")
    if answer.status == 200 and answer.text("ResponseCode") == "0" and code:
        verdict = verdict_of(code)
    elif answer.code == _MANY_MEANINGS and _PENDING_WORDS in answer.said.lower():
        code, verdict = answer.code, "pending"
    else:
        raise Unavailable(f"the query says nothing: HTTP {answer.status} {answer.code}")
    return ChargeResult(
        source="query",
        verdict=verdict,
        code=code,
        amount_cents=None,
        receipt=None,
        msisdn=None,
        push_id=answer.text("CheckoutRequestID") or push_id,
        push_group_id=answer.text("MerchantRequestID") or None,
        over_limit=code == LIMIT_CODE,
    )


def _connect(redis_url: str) -> "redis.Redis":
    return redis.Redis.from_url(
        redis_url,
        decode_responses=True,
        socket_connect_timeout=1,
        socket_timeout=1,
        retry=Retry(NoBackoff(), 1),
    )
