"""What a command is: of this its parser, help, completion and its part of the docs are made."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from vastsky_client.command.session import Session


@dataclass(frozen=True, slots=True)
class Argument:
    """A word on the line, or an option: `--name` with a value, or a switch without one.

    What is hidden is obeyed, for those who learned it once, and told nowhere.
    """

    name: str
    help: str
    read: Callable[[str], Any] = str
    suggest: Callable[[Session], Iterable[str]] | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    optional: bool = False
    many: bool = False
    switch: bool = False
    hidden: bool = False

    @property
    def is_option(self) -> bool:
        """Tell an option from a word."""
        return self.name.startswith("--")

    @property
    def usage(self) -> str:
        """Write it as the usage does."""
        if self.switch:
            return f"[{self.name}]"
        if self.is_option:
            return f"[{self.name} {self.value}]"
        word = f"{self.name}..." if self.many else self.name
        return f"[{word}]" if self.optional else word

    @property
    def value(self) -> str:
        """Name the value of an option."""
        return "|".join(self.choices) or self.name.lstrip("-").replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, and what a row has in it."""

    title: str
    cell: Callable[[Any], object]
    right: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A noun and a verb: what they take, do and show.

    `run` gives what `--json` prints, which is of the type `returns`. Else a list is shown as a
    table of `columns`, one thing as their titles and cells, and `line` makes one line of it.
    """

    noun: str
    verb: str
    summary: str
    example: str
    run: Callable[[Session, Namespace], Any]
    arguments: tuple[Argument, ...] = ()
    returns: Any = None
    columns: tuple[Column, ...] = ()
    line: Callable[[Any], str] | None = None
    methods: tuple[str, ...] = ()
    waits: bool = False

    @property
    def name(self) -> str:
        """Write noun and verb."""
        return f"{self.noun} {self.verb}"

    @property
    def usage(self) -> str:
        """Write the whole line."""
        words = [argument.usage for argument in self.options() if not argument.hidden]
        return " ".join([self.name, *words])

    def options(self) -> Iterable[Argument]:
        """Give all arguments but those that every command has."""
        return (*self.arguments, *WAITING) if self.waits else self.arguments


def seconds(word: str) -> float:
    """Read how long to wait."""
    number = float(word)
    if not 0 < number < float("inf"):
        raise ValueError(word)
    return number


WAITING = (
    Argument("--wait", "wait until the work is over, and show how far it is", switch=True),
    Argument("--timeout", "seconds to wait at most; without end if not given", read=seconds),
)
COMMON = (
    Argument("--json", "print the answer as JSON", switch=True),
    Argument("--manager", "a manager's address; may be given several times", many=True),
    Argument("--config", "the configuration file; ~/.config/vastsky.toml if not given"),
)
"""What every command takes."""


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun with its verbs."""

    name: str
    summary: str
    commands: tuple[Command, ...] = field(default=())
