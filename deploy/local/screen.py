"""What a person sees: steps, remarks and live bars; plain lines where there is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


class Bar(Protocol):
    """A thing under way that can be counted."""

    def show(self, done: float, total: float, remark: str = "") -> None:
        """Say how far it is."""


class Screen:
    """The terminal, or a plain stream."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._steps = 0
        self._began = time.monotonic()

    def step(self, title: str) -> None:
        self._steps += 1
        seconds = time.monotonic() - self._began
        self.console.print(f"\n[bold cyan]{self._steps:2}. {title}[/] [dim]({seconds:.0f} s)[/]")

    def say(self, text: str) -> None:
        self.console.print(f"    {text}")

    def good(self, text: str) -> None:
        self.console.print(f"    [green]ok[/]  {text}")

    def bad(self, text: str) -> None:
        self.console.print(f"    [bold red]BAD[/] {text}")

    def table(self, columns: list[str], rows: list[list[str]]) -> None:
        table = Table(*columns, box=None, padding=(0, 2, 0, 0), header_style="dim")
        for row in rows:
            table.add_row(*row)
        self.console.print(Padding(table, (0, 0, 0, 4)))

    @contextmanager
    def bar(self, label: str) -> Iterator[Bar]:
        """Show one bar until the block ends."""
        if not self.console.is_terminal:
            yield _Lines(self.console, label)
            return
        with _Live(self.console, label) as live:
            yield live


class _Live:
    def __init__(self, console: Console, label: str) -> None:
        self._progress = Progress(
            TextColumn("    {task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:3.0f} % {task.fields[remark]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task(f"{label:<22}", total=1, remark="")

    def show(self, done: float, total: float, remark: str = "") -> None:
        self._progress.update(self._task, completed=done, total=total, remark=remark)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


class _Lines:
    """A line at each quarter."""

    def __init__(self, console: Console, label: str) -> None:
        self._console, self._label, self._next = console, label, 0.0

    def show(self, done: float, total: float, remark: str = "") -> None:
        share = done / total if total else 0.0
        if share >= self._next:
            self._console.print(f"    {self._label}: {share:4.0%} {remark}".rstrip())
            self._next = 0.25 * (int(share * 4) + 1)
