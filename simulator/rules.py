"""The rules of misbehaviour: how the pretend world treats those who depend on it.

`PUT /simulator/api/rules` takes any of the names below and changes just those; `{"reset": true}`
(alone, or with others) first brings back the defaults, which is a kind world where people answer
their own prompts. The names lie flat; what is marked *push* may also stand in an item of `next`,
what is marked *hop* in an item of `next_hop`, what is marked *update* in one of `next_update`, and
what is marked *operation* in `b2c`, `status`, `reversal`, `balance` or `topup`, for all of that
kind, or in an item of `next_b2c` and so on, for one:

    {"auto": "observed", "callback_repeats": 2}             from now on, every push
    {"next": [{"auto": "0", "contradiction": ["1037", "0"]}]}   the next push only; then as before
    {"next_hop": [{}, {"hop_lost": 1}]}                     the hop after next loses its answer
    {"next_update": [{"update_lost": 1}]}                   Telegram misses one acknowledgement
    {"result_repeats": 2, "b2c": {"result": "never"}}       Results come twice, of payouts never
    {"next_b2c": [{}, {"queue": "echo"}]}                   the payout after next waits too long
    {"faults": [{"fault": "reset", "when": "after", "on": "b2c", "times": 1}]}    a lost ack

Each item of `next` is used up by one accepted push (`next_b2c`: by one accepted payout, `next_hop`:
by one hop, `next_update`: by one update of Telegram's), first in, first out.
Probabilities are 0 to 1, amounts whole shillings, times seconds of the world's clock.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any, Literal, cast, get_args

Json = Any
Rule = Callable[[Json], Json]
On = Literal[
    "any", "oauth", "push", "query", "register", "simulate", "pull", "b2c", "status", "reversal",
    "balance", "topup", "sms", "sim", "telegram", "file",
]  # fmt: skip

# Shares of results as a live merchant saw them in a year of pushes.
OBSERVED: dict[str, float] = {"1032": 44, "1037": 23, "1": 16, "0": 11, "2001": 5, "1019": 1}

# What the gateway itself can do to a request, by name.
FAULTS = (
    "spike",  # 500.003.02 Spike Arrest Violation
    "quota",  # 500.003.03 Quota Violation
    "html_503",  # a proxy's page instead of JSON
    "empty_400",  # HTTP 400 without a body
    "server_error",  # HTTP 500 without a body
    "too_many",  # HTTP 429 without a body
    "bad_request",  # 400.002.02 Bad Request
    "internal_error",  # 500.003.1001 Internal Server Error: it may have acted, or not
    "maintenance",  # 500.002.1001, which is also the code of a repeated payout
    "rejected",  # HTTP 200 with another ResponseCode than "0"
    "slow",  # the answer comes `seconds` later
    "reset",  # the connection is reset; after acting, this is an accepted request without answer
    "token_replaced",  # another process minted a token just before: M-Pesa refuses ours
    "unauthorized",  # SMS: HTTP 401 in plain text
    "no_recipients",  # SMS: 201, "InvalidSenderId", nobody sent to
    "charset",  # SMS: acts, but the content type carries a charset
    "flood",  # Telegram: HTTP 429, retry after `seconds`, rounded up
)
ON: tuple[On, ...] = get_args(On)
# What a transaction may be said to be: the first four for good, the others not yet.
STATUSES = (
    "Completed", "Cancelled", "Declined", "Expired", "Initiated", "Authorized",
    "Pending Authorized",
)  # fmt: skip
# What M-Pesa charges a business for a payout: up to so many shillings, so many.
CHARGES = ((100, 0), (1_500, 5), (5_000, 9), (250_000, 11))


class WrongRules(ValueError):
    """The rules cannot be taken; the message names every wrong one and what it should be."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, tried on every request it is meant `on` until its `times` are used up.

    when: "before" the request is acted upon, or "after", when its answer is spoilt.
    chance: with what probability it strikes; times: how often at most (None: always).
    """

    fault: str
    on: On = "any"
    when: Literal["before", "after"] = "before"
    chance: float = 1.0
    times: int | None = None
    seconds: float = 0.0


DIFFERENCES = ("missing", "doubled", "amount", "foreign")


@dataclass(frozen=True, slots=True)
class Difference:
    """A lie of the statement, or of the pulled transactions; the books keep to the truth.

    kind: a line left out, put in twice, of another amount, or of a payment that never was.
    receipt: of which line (None: the newest there is), or of the foreign one (None: invented).
    amount: shillings said instead, or of the foreign line; None: one more than is true, or 100.
    """

    kind: str
    receipt: str | None = None
    amount: int | None = None
    where: Literal["statement", "pull"] = "statement"


def _one_of(*names: str) -> Rule:
    def read(value: Json) -> Json:
        if value not in names or not isinstance(value, str):
            raise ValueError("one of " + ", ".join(names))
        return value

    return read


def _number(least: float, most: float = 1e9) -> Rule:
    def read(value: Json) -> Json:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"a number from {least:g} to {most:g}")
        if not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return value

    return read


def _whole(least: int, most: int = 1_000_000) -> Rule:
    def read(value: Json) -> Json:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return read


def _flag(value: Json) -> Json:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _text(value: Json) -> Json:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def _or_none(rule: Rule) -> Rule:
    return lambda value: None if value is None else rule(value)


def _span(value: Json) -> Json:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("two numbers, least and most")
    least, most = (_number(0)(each) for each in value)
    if least > most:
        raise ValueError("two numbers, least and most")
    return (least, most)


def _code(value: Json) -> Json:
    if not isinstance(value, int | str) or isinstance(value, bool) or not str(value):
        raise ValueError("a result code")
    return str(value)


def _codes(value: Json) -> Json:
    if not isinstance(value, list | tuple):
        raise ValueError("a list of result codes")
    try:
        return tuple(_code(code) for code in value)
    except ValueError:
        raise ValueError("a list of result codes") from None


def _outcome(value: Json) -> Json:
    """A code, "observed", or weights by code; kept as weights."""
    if value == "observed":
        return dict(OBSERVED)
    if isinstance(value, int | str) and not isinstance(value, bool) and str(value):
        return {str(value): 1}
    if not isinstance(value, Mapping) or not value:
        raise ValueError('null, a result code, "observed", or weights by code')
    weights = {str(code): _number(0)(weight) for code, weight in value.items()}
    if sum(weights.values()) <= 0:
        raise ValueError("weights of which one is above 0")
    return weights


def _statuses(value: Json) -> Json:
    if not isinstance(value, list | tuple) or not all(isinstance(it, str) and it for it in value):
        raise ValueError("a list of statuses")
    return tuple(value)


def _sms_codes(value: Json) -> Json:
    if not isinstance(value, Mapping):
        raise ValueError("status codes by number")
    return {str(number): _whole(100, 599)(code) for number, code in value.items()}


def _days(value: Json) -> Json:
    if not isinstance(value, Mapping):
        raise ValueError("days by number")
    return {str(number): _day(day) for number, day in value.items()}


def _day(value: Json) -> Json:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("days as 2026-08-17") from None


def _faults(value: Json) -> Json:
    if not isinstance(value, list | tuple):
        raise ValueError("a list of faults")
    return tuple(_fault(each) for each in value)


def _fault(value: Json) -> Fault:
    if isinstance(value, Fault):
        return value
    readers: dict[str, Rule] = {
        "fault": _one_of(*FAULTS),
        "on": _one_of(*ON),
        "when": _one_of("before", "after"),
        "chance": _number(0, 1),
        "times": _or_none(_whole(1)),
        "seconds": _number(0, 600),
    }
    if not isinstance(value, Mapping) or "fault" not in value or not value.keys() <= readers.keys():
        raise ValueError("each fault an object of " + ", ".join(readers) + '; "fault" is needed')
    try:
        return Fault(**{name: readers[name](each) for name, each in value.items()})
    except ValueError as error:
        raise ValueError(f"each fault: {error}") from None


def _object(scope: str) -> Rule:
    return lambda value: _read(value, scope, "an object")


def _charges(value: Json) -> Json:
    if not isinstance(value, list | tuple) or not all(
        isinstance(each, list | tuple) and len(each) == 2 for each in value
    ):
        raise ValueError("a list of pairs: up to so many shillings, so many")
    charges = tuple((_whole(1)(upto), _whole(0)(cost)) for upto, cost in value)
    if list(charges) != sorted(charges):
        raise ValueError("pairs in the order of their amounts")
    return charges


def _differences(value: Json) -> Json:
    if not isinstance(value, list | tuple):
        raise ValueError("a list of differences")
    return tuple(_difference(each) for each in value)


def _difference(value: Json) -> Difference:
    if isinstance(value, Difference):
        return value
    readers: dict[str, Rule] = {
        "kind": _one_of(*DIFFERENCES),
        "receipt": _or_none(_text),
        "amount": _or_none(_whole(1)),
        "where": _one_of("statement", "pull"),
    }
    if not isinstance(value, Mapping) or "kind" not in value or not value.keys() <= readers.keys():
        raise ValueError("each an object of " + ", ".join(readers) + '; "kind" is needed')
    try:
        return Difference(**{name: readers[name](each) for name, each in value.items()})
    except ValueError as error:
        raise ValueError(f"each difference: {error}") from None


def _items(scope: str) -> Rule:
    def read(value: Json) -> Json:
        if not isinstance(value, list | tuple):
            raise ValueError("a list of objects")
        return tuple(_read(item, scope) for item in value)

    return read


def _rule(default: Json, read: Rule, scope: str = "world") -> Json:
    return field(default_factory=lambda: default, metadata={"read": read, "scope": scope})


def _push(default: Json, read: Rule) -> Json:
    return _rule(default, read, "push")


def _operation(default: Json, read: Rule) -> Json:
    return _rule(default, read, "operation")


def _hop(default: Json, read: Rule) -> Json:
    return _rule(default, read, "hop")


def _update(default: Json, read: Rule) -> Json:
    return _rule(default, read, "update")


@dataclass(frozen=True, slots=True)
class Rules:
    """Every rule with its default. See the head of this file for how they are given."""

    # --- a push (STK): each may stand in `next` ---------------------------------------------
    # Who answers the prompt: null, a person (or nobody); else the result code, as "1032", as
    # weights {"0": 3, "1032": 1}, or as "observed". "0" still needs the money; "1037" is silence.
    auto: Mapping[str, float] | None = _push(None, _or_none(_outcome))
    auto_seconds: tuple[float, float] = _push((4.0, 28.0), _span)  # how long that takes
    prompt_seconds: float = _push(1.0, _number(0))  # from the ack to the prompt on the phone
    prompt_lifetime_seconds: float = _push(60.0, _number(0))  # then it ends as 1037
    # "before_ack": answered and called back before the ack, when `auto` is set.
    callback: str = _push("after", _one_of("after", "before_ack", "never"))
    callback_seconds: float = _push(1.0, _number(0))  # from the answer to the callback
    callback_repeats: int = _push(1, _whole(1, 100))  # how often each callback is sent
    callback_together: bool = _push(False, _flag)  # the repeats at the same instant
    callback_gap_seconds: float = _push(1.0, _number(0))  # between repeats and contradictions
    callback_retries: int = _push(0, _whole(0, 10))  # more tries where the answer was not 200
    # Codes to call back with, one after another, whatever is true; the books and the query keep
    # to the truth. A "0" that is not true carries an invented receipt: a forgery.
    contradiction: tuple[str, ...] = _push((), _codes)
    claimed_amount: int | None = _push(None, _or_none(_whole(0)))  # a wrong amount, called back
    claimed_phone: str | None = _push(None, _or_none(_text))  # a wrong phone, called back
    phone_form: str = _push("number", _one_of("number", "string", "masked", "hashed", "absent"))
    amount_form: str = _push("decimal", _one_of("decimal", "integer"))  # 5.00 or 5
    code_form: str = _push("number", _one_of("number", "string"))
    balance_form: str = _push("no_value", _one_of("no_value", "absent", "value"))
    body_form: str = _push("json", _one_of("json", "html", "empty", "not_json"))
    # Of a successful push, how probably the C2B confirmation comes too (when URLs are registered).
    # With callback "never": C2B alone.
    c2b_confirmation: float = _push(1.0, _number(0, 1))
    c2b_seconds: float = _push(2.0, _number(0))  # from the payment to the confirmation
    c2b_repeats: int = _push(1, _whole(1, 100))
    next: tuple[Mapping[str, Json], ...] = _rule((), _items("push"))

    # --- what an operator asks (payout, status, reversal, balance, top-up): each may stand in
    # --- `b2c`, `status`, `reversal`, `balance`, `topup`, and in their `next_…` ---------------
    # False: accepted and forgotten. Nothing is done, nothing is told, and nobody knows of it.
    acts: bool = _operation(True, _flag)
    act_seconds: float = _operation(2.0, _number(0))  # from the ack until it is done
    # What becomes of it; "0" still needs the money and all else. null: what the books say.
    result_code: str | None = _operation(None, _or_none(_code))
    # It waits too long: QueueTimeOutURL gets the request as it came ("echo") or a "result", so
    # many seconds after the ack. All the same it is done, act_seconds later.
    queue: str = _operation("none", _one_of("none", "echo", "result"))
    queue_seconds: float = _operation(60.0, _number(0))
    # "before_ack": done and told before the ack.
    result: str = _operation("after", _one_of("after", "before_ack", "never"))
    result_seconds: float = _operation(1.0, _number(0))  # from when it is done to the Result
    result_repeats: int = _operation(1, _whole(1, 100))  # how often each Result is sent
    result_together: bool = _operation(False, _flag)  # the repeats at the same instant
    result_gap_seconds: float = _operation(1.0, _number(0))  # between repeats and contradictions
    result_retries: int = _operation(0, _whole(0, 10))  # more tries where the answer was not 200
    result_interim: bool = _operation(False, _flag)  # first one of ResultType 1: more is to come
    # Codes to tell, one after another, whatever is true. A "0" that is not true is a forgery.
    result_contradiction: tuple[str, ...] = _operation((), _codes)
    result_amount: int | None = _operation(None, _or_none(_whole(0)))  # a wrong amount, told
    result_party: str | None = _operation(None, _or_none(_text))  # a wrong customer, told
    result_receipt: str | None = _operation(None, _or_none(_text))  # a wrong receipt, told
    result_originator: str | None = _operation(None, _or_none(_text))  # of a status: a wrong id
    # The TransactionID of a failure: like any other, or ending in zeros.
    failure_id: str = _operation("ordinary", _one_of("ordinary", "zeros"))
    result_code_form: str = _operation("number", _one_of("number", "string"))
    result_body: str = _operation("json", _one_of("json", "html", "empty", "not_json"))
    reference_form: str = _operation("object", _one_of("object", "array", "absent"))
    # Of a status: what it says, whatever is true; how the credited side is named: as a second
    # DebitPartyName or as CreditPartyName. Of a balance: shillings more in Utility than there are.
    status_says: str | None = _operation(None, _or_none(_one_of(*STATUSES)))
    status_party: str = _operation("debit_again", _one_of("debit_again", "credit"))
    balance_off: int = _operation(0, _whole(-1_000_000))
    # Any of these for all of that kind, and for the next ones alone.
    b2c: Mapping[str, Json] = _rule({}, _object("operation"))
    status: Mapping[str, Json] = _rule({}, _object("operation"))
    reversal: Mapping[str, Json] = _rule({}, _object("operation"))
    balance: Mapping[str, Json] = _rule({}, _object("operation"))
    topup: Mapping[str, Json] = _rule({}, _object("operation"))
    next_b2c: tuple[Mapping[str, Json], ...] = _rule((), _items("operation"))
    next_status: tuple[Mapping[str, Json], ...] = _rule((), _items("operation"))
    next_reversal: tuple[Mapping[str, Json], ...] = _rule((), _items("operation"))
    next_balance: tuple[Mapping[str, Json], ...] = _rule((), _items("operation"))
    next_topup: tuple[Mapping[str, Json], ...] = _rule((), _items("operation"))

    # --- M-Pesa as a whole ------------------------------------------------------------------
    pending_form: str = _rule("error", _one_of("error", "4999"))  # an STK query without an answer
    same_amount_seconds: float = _rule(120.0, _number(0))  # same payer and amount: result 17
    pin_tries: int = _rule(0, _whole(0, 100))  # wrong PINs until the line is locked (8006); 0 never
    token_seconds: float = _rule(3600.0, _number(1))
    register_once: bool = _rule(False, _flag)  # as in production: the second time is refused
    validation: bool = _rule(True, _flag)  # whether C2B asks the ValidationURL
    b2c_charges: tuple[tuple[int, int], ...] = _rule(CHARGES, _charges)
    b2c_least: int = _rule(10, _whole(0))  # less is result 2
    b2c_most: int = _rule(250_000, _whole(1))  # more is result 3
    daily_limit: int = _rule(500_000, _whole(0, 10**12))  # a customer receives in a day: result 4
    balance_limit: int = _rule(500_000, _whole(0, 10**12))  # a customer may hold: result 8
    # Wrong credentials in a row until the operator is locked (8006; 0: never), and what each is.
    initiator_tries: int = _rule(3, _whole(0, 100))
    initiator_code: str = _rule("2001", _one_of("2001", "18"))
    # Lies of the portal's statement (CSV) and of pulled transactions, in this order.
    statement_differences: tuple[Difference, ...] = _rule((), _differences)
    faults: tuple[Fault, ...] = _rule((), _faults)  # tried in order; the first to strike counts

    # --- a USSD hop: each may stand in `next_hop` -------------------------------------------
    hop_repeats: int = _hop(1, _whole(1, 100))  # how often each hop is delivered
    hop_together: bool = _hop(False, _flag)  # the repeats at the same instant
    hop_lost: float = _hop(0.0, _number(0, 1))  # delivered, but the answer is lost: network error
    hop_late: bool = _hop(False, _flag)  # after this hop, the one before it is delivered again
    next_hop: tuple[Mapping[str, Json], ...] = _rule((), _items("hop"))

    # --- USSD sessions ----------------------------------------------------------------------
    # The end notice: "before" anything else happens, "after" that many seconds, or "never".
    events: str = _rule("after", _one_of("before", "after", "never"))
    events_seconds: float = _rule(1.0, _number(0))
    session_seconds: float = _rule(180.0, _number(1))
    idle_seconds: float = _rule(180.0, _number(1))  # Safaricom's is 30; people read slowly here
    # Where Advanta leaves the # of later hops: *415*33*1# or *415*33#*1.
    advanta_hash: str = _rule("end", _one_of("end", "dialled"))

    # --- SMS --------------------------------------------------------------------------------
    sms_code: int = _rule(101, _whole(100, 599))  # Africa's Talking's statusCode for everybody
    sms_codes: Mapping[str, int] = _rule({}, _sms_codes)  # … and for single numbers
    sms_report: str | None = _rule(
        "Success", _or_none(_one_of("Success", "Failed", "Rejected", "AbsentSubscriber", "Expired"))
    )  # the final delivery report; null: none comes
    # What is reported instead, in this order: ["Submitted", "Buffered", "Success"], or out of order
    # ["Success", "Buffered"]; any other word too.
    sms_reports: tuple[str, ...] = _rule((), _statuses)
    # The first report comes before the answer to the sending does.
    sms_report_first: bool = _rule(False, _flag)
    sms_report_seconds: float = _rule(3.0, _number(0))  # from the sending to the first report, …
    sms_report_gap_seconds: float = _rule(1.0, _number(0))  # … and between two of them
    sms_report_repeats: int = _rule(1, _whole(1, 100))  # how often each is sent
    sms_report_strays: int = _rule(0, _whole(0, 100))  # before each, so many for unknown ids
    sms_in_repeats: int = _rule(1, _whole(1, 100))  # how often a person's message is delivered
    sms_in_together: bool = _rule(False, _flag)  # the repeats at the same instant
    sms_from: str = _rule("plus", _one_of("plus", "local"))  # a person's number: +2547… or 07…
    sms_again_seconds: float = _rule(60.0, _number(1))  # until the receiver answers 200, …
    sms_again_hours: float = _rule(12.0, _number(0))  # … for so long
    sms_date: str = _rule("iso", _one_of("iso", "space"))  # 2017-05-03T06:04:45Z or with a space

    # --- SIM cards --------------------------------------------------------------------------
    # The day a line last got another SIM, by number; others never did.
    sim_swapped: Mapping[str, date] = _rule({}, _days)
    # How the network's answer comes: in a callback, in one that is sooner than the acceptance of
    # the question, in the reply to the question itself, or never.
    sim_answer: str = _rule("callback", _one_of("callback", "callback_first", "reply", "never"))
    sim_seconds: float = _rule(2.0, _number(0))  # from the question to the callback
    sim_repeats: int = _rule(1, _whole(1, 100))  # how often it is sent
    sim_says: str | None = _rule(None, _or_none(_text))  # a status instead: "Failed", "Pending"

    # --- Telegram: each update of it may stand in `next_update` ------------------------------
    update_repeats: int = _update(1, _whole(1, 100))  # how often each update is posted
    update_together: bool = _update(False, _flag)  # the repeats at the same instant
    update_lost: float = _update(0.0, _number(0, 1))  # taken, but the acknowledgement is lost
    update_jump: float = _update(0.0, _number(0, 1))  # it has a random number, not the next
    next_update: tuple[Mapping[str, Json], ...] = _rule((), _items("update"))
    # Updates of different queues wait for one another until so many are ready (or 5 s have
    # passed), then leave at the same instant: with 2, a person's message and tap.
    update_gather: int = _rule(1, _whole(1, 40))
    update_pace: float = _rule(1.0, _number(0))  # times the 2, 4, 8 … s between repetitions
    # Messages and edits a second, above which HTTP 429 comes; 0: no limit.
    telegram_rate: float = _rule(30.0, _number(0))  # over all
    telegram_chat_rate: float = _rule(1.0, _number(0))  # to one chat, …
    telegram_chat_burst: int = _rule(20, _whole(1))  # … of which so many may come at once
    query_seconds: float = _rule(60.0, _number(0))  # an older tap cannot be answered
    # How a contact's number is written: 2547…, +2547… or 07….
    contact_form: str = _rule("plain", _one_of("plain", "plus", "local"))

    # Start the dice anew, so that a run can be had again.
    seed: int | None = _rule(None, _or_none(_whole(0, 2**63)))


DEFAULTS = Rules()
_FIELDS = {each.name: each for each in fields(Rules)}


def changed(rules: Rules, given: Json) -> Rules:
    """The rules after `given`, an object of names and values as they stand in JSON.

    Raises WrongRules naming every unknown or wrong one; then nothing is changed.
    """
    if not isinstance(given, Mapping):
        raise WrongRules("rules are a JSON object")
    given = dict(given)
    reset = given.pop("reset", False)
    if not isinstance(reset, bool):
        raise WrongRules("reset: true or false")
    try:
        values = _read(given)
    except ValueError as error:
        raise WrongRules(str(error)) from None
    return replace(DEFAULTS if reset else rules, **values)


def for_one(rules: Rules, item: Mapping[str, Json]) -> Rules:
    """The rules with an item of `next`, `next_b2c` or their like laid over them."""
    return replace(rules, **item)


def shown(rules: Rules) -> dict[str, Json]:
    """The rules as JSON."""
    return cast(dict[str, Json], _plain(rules))


def _read(
    given: Json, scope: str | None = None, needed: str = "a list of objects"
) -> dict[str, Json]:
    """Names with values as kept. scope: only rules of this kind are allowed; None allows all.

    needed: what is said where it is no object.
    """
    if not isinstance(given, Mapping):
        raise ValueError(needed)
    allowed = {
        name for name, each in _FIELDS.items() if scope is None or each.metadata["scope"] == scope
    }
    wrong = [f"{name}: no such rule" for name in sorted(map(str, given.keys() - allowed))]
    values = {}
    for name in given.keys() & allowed:
        try:
            values[name] = _FIELDS[name].metadata["read"](given[name])
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        raise ValueError("; ".join(sorted(wrong)))
    return values


def _plain(value: Json) -> Json:
    if isinstance(value, Rules | Fault | Difference):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
