"""How answers are shown: JSON for programs, tables and progress for people."""

import json
import sys
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from vastsky_client.api.structs import Job
from vastsky_client.command.table import Column, Command

WIDE = 100_000
"""Where nobody looks nothing is wrapped: scripts cut at two spaces."""


def plain(value: object) -> str:
    """Keep what an agent calls its disk from steering the terminal that shows it."""
    return "".join(char if char.isprintable() else "?" for char in str(value))


def show(command: Command, answer: Any, *, as_json: bool) -> None:
    """Print what a command found."""
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    elif command.line:
        for line in command.line(answer).splitlines():
            print(plain(line).rstrip())
    elif isinstance(answer, list):
        _print(sys.stdout, _table(command.columns, answer))
    elif command.columns:
        _print(sys.stdout, _card(command.columns, answer))
    elif answer not in (None, 0):
        print(json.dumps(answer, indent=2, ensure_ascii=False))


def _table(columns: tuple[Column, ...], rows: list[Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left")
    for row in rows:
        table.add_row(*(Text(plain(column.cell(row))) for column in columns))
    return table


def _card(columns: tuple[Column, ...], row: Any) -> Table:
    """Show one thing: a line for each of its columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for column in columns:
        table.add_row(column.title, Text(plain(column.cell(row))))
    return table


def _print(file: TextIO, table: Table) -> None:
    console = Console(file=file)
    if not console.is_terminal:
        console = Console(file=file, width=WIDE, no_color=True)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip(), file=file)


class ProgressBar:
    """Shows on stderr how far a job is, if somebody looks."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[waiting]}"),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, job: Job) -> None:
        """Show a job as it is now."""
        total = job["total_mib"] or None
        if job["eventid"] not in self._tasks:
            title = plain(f"{job['kind']} of {job['subject']}")
            self._tasks[job["eventid"]] = self._progress.add_task(title, total=total, waiting="")
        self._progress.update(
            self._tasks[job["eventid"]],
            total=total,
            completed=job["done_mib"],
            waiting=plain(job["waiting"]),
        )
