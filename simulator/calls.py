"""JSON calls: what a body must hold, and how a call is answered or refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, jsonify, request

from simulator import msisdn
from simulator.books import NoSuchAccount
from simulator.c2b import NoSuchShortcode, NotPaid
from simulator.handset import NoSuchSession, SessionClosed, TooLong
from simulator.mpesa import NoSuchPrompt, PromptGone
from simulator.operations import NotReversible
from simulator.rules import WrongRules
from simulator.telegram import NoSuchMessage, Unreachable

Act = Callable[..., Any]
Route = Callable[[str, str], Callable[[Act], Act]]

# What stops a call: the status, and the words where the error has none of its own.
_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    msisdn.NotANumber: (400, ""),
    WrongRules: (400, ""),
    TooLong: (400, "longer than the network's 80 characters"),
    NoSuchSession: (404, "no such session"),
    NoSuchPrompt: (404, "no such prompt"),
    NoSuchShortcode: (404, "no such paybill or till"),
    NoSuchAccount: (404, ""),
    NoSuchMessage: (404, "no such message, or no such button on it"),
    SessionClosed: (409, "the session has ended, or still waits for an answer"),
    PromptGone: (409, "the prompt has been answered or has run out"),
    NotPaid: (409, ""),
    NotReversible: (409, "no payment of a customer's, or it has been given back or spent"),
    Unreachable: (409, "this person has blocked the bot, or is no longer there"),
}


class Wrong(Exception):
    """The call cannot be done as asked: HTTP status and words for whoever called."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Given:
    """A body's fields, each read as what it must be. All raise Wrong; number NotANumber."""

    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def text(self, name: str) -> str:
        value = self.values[name]
        if not isinstance(value, str):
            raise Wrong(400, f"{name}: a string")
        return value

    def maybe_text(self, name: str) -> str | None:
        return None if self.values[name] is None else self.text(name)

    def number(self, name: str = "number") -> str:
        """A phone number, as "+2547…"."""
        return msisdn.read(self.values[name])

    def flag(self, name: str) -> bool:
        value = self.values[name]
        if not isinstance(value, bool):
            raise Wrong(400, f"{name}: true or false")
        return value

    def maybe_whole(self, name: str) -> int | None:
        value = self.values[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise Wrong(400, f"{name}: a whole number")
        return value

    def real(self, name: str, least: float, most: float) -> float:
        value = self.values[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(400, f"{name}: a number")
        if not least <= value <= most:
            raise Wrong(400, f"{name}: a number from {least:g} to {most:g}")
        return value


def door(name: str, prefix: str) -> tuple[Blueprint, Route]:
    """A blueprint, and what puts an act on a path and a method of it."""
    blueprint = Blueprint(name, __name__, url_prefix=prefix)

    def route(path: str, method: str) -> Callable[[Act], Act]:
        def register(act: Act) -> Act:
            def answer(**arguments: str) -> Response:
                return _answered(lambda: act(**arguments))

            blueprint.add_url_rule(
                path, endpoint=f"{method} {path}".replace(".", " "), view_func=answer,
                methods=[method],
            )  # fmt: skip
            return act

        return register

    return blueprint, route


def body() -> Any:
    """The request's JSON. Raises Wrong."""
    value = request.get_json(force=True, silent=True)
    if value is None:
        raise Wrong(400, "a JSON object is needed")
    return value


def given(*needed: str, **optional: Any) -> Given:
    """The request's object with just these names; optional ones take their default.

    Raises Wrong.
    """
    value = body()
    if not isinstance(value, dict):
        raise Wrong(400, "a JSON object is needed")
    missing = [name for name in needed if name not in value]
    unknown = [name for name in value if name not in needed and name not in optional]
    if missing or unknown:
        raise Wrong(
            400,
            "; ".join(
                [f"{name}: missing" for name in missing]
                + [f"{name}: no such field" for name in unknown]
            ),
        )
    return Given({**optional, **value})


def _answered(act: Callable[[], Any]) -> Response:
    """The act's value as JSON (or as the response it is), or what stopped it as {"error": …}."""
    try:
        value = act()
        return value if isinstance(value, Response) else jsonify(value)
    except Wrong as wrong:
        status, message = wrong.status, str(wrong)
    except tuple(_REFUSALS) as wrong:
        status, words = _REFUSALS[type(wrong)]
        message = words or str(wrong)
    answer = jsonify(error=message)
    answer.status_code = status
    return answer
