"""The storyboard: screens, messages and money, drawn in the terminal as the story goes on."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from simulator.person import HIDDEN, Person, Sms, Turn
from simulator.phone import Prompt

WIDTH_MAX = 100
FRAME_WIDTH = 32  # a handset's screen, about; three stand side by side
MONEY = "green"  # the frames of M-Pesa, too


class Storyboard:
    """Where the story is drawn: on a terminal in colour, and slowly enough to be followed.

    beat_seconds: the rest after each thing drawn there.
    """

    def __init__(self, output: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(file=output, highlight=False, emoji=False)
        self._is_read = self._console.is_terminal
        if not self._is_read or self._console.width > WIDTH_MAX:
            self._console.width = WIDTH_MAX
        self._clock, self._began = clock, clock()
        self.beat_seconds = 0.1

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return self._clock() - self._began

    def act(self, title: str) -> None:
        self._console.print()
        self._console.print(Rule(Text(title.upper(), "bold"), style=MONEY, characters="━"))

    def scene(self, title: str) -> None:
        head = Text.assemble((title, "bold"), (f" · {self.seconds:.0f} s", "dim"))
        self._console.print()
        self._console.print(Rule(head, align="left", style="dim"))

    def say(self, text: str) -> None:
        self._line(text)
        self._beat()

    def talk(self, person: Person, turns: Sequence[Turn], *shown: int) -> None:
        """What was typed, in a few lines; then the screens of these positions in frames."""
        self._line((person.name, f"bold {person.colour}"), (f"  {person.number}", "dim"))
        typed: list[str | tuple[str, str]] = []
        for turn in turns:
            if turn.key:
                typed += [
                    (" › " if typed else "› ", "dim"),
                    (turn.key, "bold"),
                    (f" {turn.meaning}" if turn.meaning else "", "dim"),
                ]
        self._line(*typed)
        self._frames(_screen(person, turns[position]) for position in shown)

    def messages(self, *received: tuple[Person, Sms]) -> None:
        self._frames(_message(person, message) for person, message in received)

    @contextmanager
    def waiting(self, for_what: str) -> Iterator[None]:
        if self._is_read:
            with self._console.status(for_what):
                yield
        else:
            self._line(for_what)
            yield

    def prompt(self, person: Person, prompt: Prompt) -> None:
        """M-Pesa's question, answered."""
        self._frames(
            [
                Panel(
                    Text.assemble(
                        f"Pay KSh {prompt.amount:,} to {prompt.business},\n"
                        f"account {prompt.account}?\nM-PESA PIN: ",
                        (HIDDEN, "bold"),
                    ),
                    title=Text(f"M-PESA › {person.first_name}", f"bold {MONEY}"),
                    title_align="left",
                    border_style=MONEY,
                    box=ROUNDED,
                )
            ]
        )

    def terminal(self, typed: str, said: str) -> None:
        """What staff typed, and what they read; lines too long are cut."""
        lines = Text("\n", overflow="ellipsis", no_wrap=True).join(
            [Text.assemble(("$ ", "dim"), (typed, "bold")), *map(Text, said.splitlines())]
        )
        lines.no_wrap, lines.overflow = True, "ellipsis"
        self._console.print(Padding(lines, (0, 1), expand=False))
        self._beat()

    def money(self, *columns: tuple[str, dict[str, int]]) -> None:
        """A row for each account, a column for each moment; cents, shown in shillings."""
        table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold")
        table.add_column("KSh")
        for title, _ in columns:
            table.add_column(title, justify="right")
        for name in columns[0][1]:
            values = [accounts[name] for _, accounts in columns]
            changed = len(set(values)) > 1
            cells = [Text(f"{cents / 100:,.2f}".removesuffix(".00")) for cents in values]
            if changed:
                cells[-1].stylize(f"bold {MONEY}")
            table.add_row(name, *cells)
        self._console.print(Padding(table, (1, 0), expand=False))
        self._beat()

    def verdict(self, text: str, holds: bool) -> None:
        mark = ("✓ ", f"bold {MONEY}") if holds else ("✗ ", "bold red")
        grid = Table.grid()
        grid.add_row(Text(*mark), text)  # in two columns, so that long words stay indented
        self._console.print(Padding(grid, (0, 1), expand=False))
        self._beat()

    def end(self, text: str, went_well: bool) -> None:
        self._console.print()
        self._line((text, f"bold {MONEY}" if went_well else "bold red"))

    def _frames(self, panels: Iterable[Panel]) -> None:
        """Side by side, as many as fit, those of a row equally high."""
        width = min(FRAME_WIDTH, self._console.width)
        options = self._console.options.update_width(width)
        left = list(panels)
        many = max(1, (self._console.width + 1) // (width + 1))
        while left:
            row, left = left[:many], left[many:]
            high = max(len(self._console.render_lines(panel, options)) for panel in row)
            grid = Table.grid(padding=(0, 1, 0, 0))
            for panel in row:
                grid.add_column(width=width)
                panel.height = high
            grid.add_row(*row)
            self._console.print(grid)
            self._beat()

    def _line(self, *parts: str | tuple[str, str]) -> None:
        self._console.print(Padding(Text.assemble(*parts), (0, 1), expand=False))

    def _beat(self) -> None:
        if self._is_read:
            time.sleep(self.beat_seconds)


def _screen(person: Person, turn: Turn) -> Panel:
    """A screen of a handset, and below it what was typed on it."""
    return Panel(
        Text(turn.screen),
        title=Text(person.first_name, f"bold {person.colour}"),
        title_align="left",
        subtitle=Text.assemble(("› ", "dim"), (turn.key, "bold")) if turn.key else None,
        subtitle_align="right",
        border_style=person.colour,
        box=ROUNDED,
    )


def _message(person: Person, sms: Sms) -> Panel:
    return Panel(
        Text(sms.text),
        title=Text.assemble(("SMS › ", "white"), (person.first_name, f"bold {person.colour}")),
        title_align="left",
        subtitle=Text(f"from {sms.sender}", "white"),
        subtitle_align="right",
        border_style="bright_black",
        box=ROUNDED,
    )
