"""A phone in the terminal: `python -m simulator.phone [--number +254712345678] [--url …]`.

It speaks to the pretend world's JSON calls only. A person at a terminal gets frames and a hidden
PIN; piped lines are taken one by one, so a script can shop: after a session has ended the next
line waits for the M-Pesa prompt when it can be its PIN.
"""

import argparse
import getpass
import re
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO
from urllib.parse import quote

import requests
from rich.console import Console
from rich.panel import Panel

HELP = """\
*384*7042#            dial a code
sms                   read the messages
sms TEXT              write one to Sokoni
prompts               answer the M-Pesa prompt, if one is open
balance               the M-Pesa balance
pay ACCOUNT AMOUNT    pay the paybill by hand
number +2547…         be another phone
wait [SECONDS]        watch for prompts and messages
help, quit
In a session what you type is the reply; an empty line sends an empty one; hangup hangs up."""

PROMPT_SECONDS = 10.0  # a push is sent some seconds after the screen has closed
AFTER_PAYING_SECONDS = 6.0  # the messages that follow a payment
POLL_SECONDS = 0.25
CALL_TIMEOUT_SECONDS = 30.0  # longer than a hop may take


class Failed(Exception):
    """The world refused a call or is not there; the message is for the person."""


class Gone(Exception):
    """No more input: hang up and go."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """An M-Pesa prompt. amount: whole shillings."""

    id: str
    amount: int
    account: str
    business: str


class Lines(Protocol):
    """Where the person's words come from."""

    def read(self, before: str, *, hidden: bool = False) -> str:
        """The next line, without its end. Raises Gone."""

    def peek(self) -> str | None:
        """The next line if it is already known without asking anybody; Gone raises at `read`."""

    def is_typing(self) -> bool:
        """Whether the person wants to go on instead of watching."""


class Piped:
    """Lines of a script: known in advance, never hurried."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._next: str | None = None

    def read(self, before: str, *, hidden: bool = False) -> str:
        del before, hidden
        line = self._next if self._next is not None else self._source.readline()
        self._next = None
        if not line:
            raise Gone
        return line.rstrip("\r\n")

    def peek(self) -> str | None:
        if self._next is None:
            self._next = self._source.readline()
        return self._next.rstrip("\r\n") if self._next else "quit"

    def is_typing(self) -> bool:
        return False


class Typed:
    """A person at a terminal."""

    def read(self, before: str, *, hidden: bool = False) -> str:
        try:
            return getpass.getpass(before) if hidden else input(before)
        except (EOFError, KeyboardInterrupt):
            raise Gone from None

    def peek(self) -> str | None:
        return None

    def is_typing(self) -> bool:
        return bool(select.select([sys.stdin], [], [], 0)[0])


class World:
    """The JSON calls."""

    def __init__(self, url: str) -> None:
        self._base = url.rstrip("/") + "/simulator/api/"
        self._session = requests.Session()
        self._session.trust_env = False

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Raises Failed."""
        return self._ask(method, path, body, lambda answer: answer.json())

    def text(self, path: str) -> str:
        """What is no JSON. Raises Failed."""
        return str(self._ask("GET", path, None, lambda answer: answer.text))

    def _ask(
        self, method: str, path: str, body: Any, read: Callable[[requests.Response], Any]
    ) -> Any:
        try:
            answer = self._session.request(
                method, self._base + path, json=body, timeout=CALL_TIMEOUT_SECONDS
            )
            value = read(answer) if answer.ok else answer.json()
        except requests.RequestException:
            raise Failed("The pretend world does not answer. Is it running?") from None
        if not answer.ok:
            raise Failed(str(value.get("error", "refused")))
        return value

    def close(self) -> None:
        self._session.close()


class Phone:
    """One phone and what is on its screen."""

    def __init__(self, world: World, number: str, lines: Lines, output: TextIO) -> None:
        self._world = world
        self._number = number
        self._lines = lines
        self._is_plain = not output.isatty()
        self._console = Console(file=output, highlight=False, markup=False, soft_wrap=True)
        self._seen = 0

    def run(self) -> None:
        """Until `quit` or the end of the input."""
        self._seen = len(self._messages())
        self._say(f"Phone {self._number}. Dial a code such as *384*7042#, or type help.")
        while True:
            try:
                if not self._command(self._lines.read(f"{self._number} > ").strip()):
                    return
            except Gone:
                return
            except Failed as why:
                self._say(str(why))

    def _command(self, line: str) -> bool:
        """Do one line at the idle prompt; False to quit."""
        word, _, rest = line.partition(" ")
        plain: dict[str, Callable[[], None]] = {
            "": lambda: None,
            "help": lambda: self._say(HELP),
            "sms": self._read_messages,
            "prompts": self._answer_open_prompt,
            "balance": self._show_balance,
        }
        if word in ("quit", "exit"):
            return False
        if line in plain:
            plain[line]()
        elif word == "number" and rest:
            self._become(rest.strip())
        elif word == "sms":
            self._write(rest)
        elif word == "pay":
            self._pay(rest.split())
        elif word == "wait":
            self._watch(float(rest) if re.fullmatch(r"[0-9]{1,4}", rest) else PROMPT_SECONDS)
        elif line.startswith("*") or line.endswith("#"):
            self._dial(line)
        else:
            self._say("Dial a code such as *384*7042#, or type help.")
        return True

    def _dial(self, code: str) -> None:
        view = self._world.call("POST", "dial", {"number": self._number, "code": code})
        self._screen(view)
        while view["open"]:
            try:
                line = self._lines.read("reply > ")
                if line.strip() == "hangup":
                    self._world.call("POST", "hangup", {"session": view["session"]})
                    self._say("(hung up)")
                    return
                view = self._world.call("POST", "reply", {"session": view["session"], "text": line})
            except Gone:
                self._world.call("POST", "hangup", {"session": view["session"]})
                raise
            except Failed as why:
                self._say(str(why))
                if "ended" in str(why):
                    return
                continue
            self._screen(view)
        if view["session"] is not None:
            self._await_prompt()

    def _await_prompt(self) -> None:
        """After a session: a payment may be asked for. A script that goes on is not held up."""
        following = self._lines.peek()
        if following is not None and (following == "quit" or following.startswith("*")):
            return
        self._watch(PROMPT_SECONDS)

    def _watch(self, seconds: float) -> None:
        """Show what arrives; a prompt is answered, and what follows it is waited for."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._lines.is_typing():
            self._show_new_messages()
            prompt = self._prompt()
            if prompt is not None:
                self._answer(prompt)
                return
            try:
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                return

    def _answer_open_prompt(self) -> None:
        prompt = self._prompt()
        if prompt is None:
            self._say("No prompt is open.")
        else:
            self._answer(prompt)

    def _answer(self, prompt: Prompt) -> None:
        self._frame(
            f"Pay KSh {prompt.amount:,} to {prompt.business}\nAccount {prompt.account}\n"
            "Enter M-PESA PIN, or c to cancel",
            "M-PESA",
        )
        pin = self._lines.read("M-PESA PIN (c cancels) > ", hidden=True).strip()
        answer = {"cancel": True} if pin in ("c", "") else {"pin": pin}
        outcome = self._world.call("POST", f"prompts/{prompt.id}", answer)
        if outcome["result"] != "0":
            self._say(f"Not paid. {outcome['message']}")
            return
        self._say(f"Confirmed. KSh {prompt.amount:,} sent to {prompt.business} "
                  f"for account {prompt.account}. Receipt {outcome['receipt']}.")  # fmt: skip
        self._await_messages()

    def _await_messages(self) -> None:
        """Show what the business writes after a payment; M-Pesa's own message does not end it."""
        until = time.monotonic() + AFTER_PAYING_SECONDS
        while time.monotonic() < until and not self._lines.is_typing():
            if any(message["from"] != "MPESA" for message in self._show_new_messages()):
                return
            time.sleep(POLL_SECONDS)

    def _prompt(self) -> Prompt | None:
        found = self._world.call("GET", f"prompts/{quote(self._number)}")
        names = Prompt.__slots__
        return Prompt(**{name: found[0][name] for name in names}) if found else None

    def _messages(self) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = self._world.call("GET", f"sms/{quote(self._number)}")
        return messages

    def _show_new_messages(self) -> list[dict[str, str]]:
        messages = self._messages()
        new, self._seen = messages[self._seen :], len(messages)
        for message in new:
            self._show_message(message)
        return new

    def _read_messages(self) -> None:
        messages = self._messages()
        self._seen = len(messages)
        if not messages:
            self._say("No messages.")
        for message in messages:
            self._show_message(message)

    def _write(self, text: str) -> None:
        self._world.call("POST", "sms", {"from": self._number, "text": text})
        self._say("Sent.")
        self._await_messages()

    def _show_message(self, message: dict[str, str]) -> None:
        self._frame(message["text"], f"SMS from {message['from']}")

    def _show_balance(self) -> None:
        found = self._world.call("GET", f"subscribers/{quote(self._number)}")
        self._say(f"KSh {found['balance']:,}")

    def _become(self, number: str) -> None:
        found = self._world.call("GET", f"subscribers/{quote(number)}")
        self._number = found["number"]
        self._seen = len(self._messages())
        self._say(f"Phone {self._number}.")

    def _pay(self, words: list[str]) -> None:
        amount = words[1].replace(",", "") if len(words) == 2 else ""
        if not amount.isdecimal():
            self._say("pay ACCOUNT AMOUNT, as: pay ABC123 2250")
            return
        paid = self._world.call(
            "POST",
            "payments",
            {"from": self._number, "account": words[0], "amount": int(amount)},
        )
        self._say(f"{paid['message']} Receipt {paid['receipt']}.")
        self._await_messages()

    def _screen(self, view: dict[str, Any]) -> None:
        if self._is_plain:
            self._say(view["screen"])
            self._say("" if view["open"] else "(ended)")
        else:
            self._frame(view["screen"], "USSD" if view["open"] else "USSD, ended")

    def _frame(self, text: str, title: str) -> None:
        if self._is_plain:
            self._say(f"[{title}]\n{text}")
        else:
            frame = Panel(text, title=title, width=44, title_align="left")
            self._console.print(frame, soft_wrap=False)

    def _say(self, text: str) -> None:
        self._console.print(text)


def main(arguments: list[str]) -> int:
    """Be a phone until the person has had enough."""
    parser = argparse.ArgumentParser(prog="python -m simulator.phone", description="A phone.")
    parser.add_argument("--number", default="+254712345678", help="whose phone it is")
    parser.add_argument("--url", default="http://127.0.0.1:8001", help="the pretend world")
    given = parser.parse_args(arguments)
    world = World(given.url)
    lines: Lines = Typed() if sys.stdin.isatty() else Piped(sys.stdin)
    try:
        Phone(world, given.number, lines, sys.stdout).run()
    except Failed as why:
        print(why, file=sys.stderr)
        return 1
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
