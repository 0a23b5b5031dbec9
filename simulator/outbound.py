"""What leaves this world for the system under test: HTTP requests and what comes of them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import requests

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


class Unanswered(Exception):
    """No answer came: nobody there, cut off, or too slow. It may have been acted on."""


class Post(Protocol):
    """How a request leaves the world; the tests put their own in its place."""

    def __call__(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_seconds: float,
        /,
        *,
        method: str = "POST",
    ) -> Answer:
        """Raises Unanswered."""


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout_seconds: float,
    /,
    *,
    method: str = "POST",
) -> Answer:
    """Over the network, on a connection of its own, without the machine's proxies."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.request(
                method,
                url,
                data=body,
                headers=dict(headers),
                timeout=timeout_seconds,
                allow_redirects=False,
            )
            # USSD screens are UTF-8 also where the content type, as often, does not say so.
            text = answer.content.decode("utf-8", "replace")
        except requests.RequestException as error:
            raise Unanswered(type(error).__name__) from None
    lower = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(answer.status_code, lower, text)


def together(*acts: Callable[[], Answer]) -> list[Answer | Unanswered]:
    """Do these posts at the same instant; the answers in the order of the acts."""
    answers: list[Answer | Unanswered] = [Unanswered("not begun")] * len(acts)
    gate = threading.Barrier(len(acts))

    def one(number: int) -> None:
        gate.wait()
        try:
            answers[number] = acts[number]()
        except Unanswered as lost:
            answers[number] = lost

    if len(acts) == 1:
        one(0)
        return answers
    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
