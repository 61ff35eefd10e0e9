"""The parts of docs/vastsky.md that the table of commands tells: `python -m` this prints them."""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from vastsky_client.command.nouns import NOUNS
from vastsky_client.command.statuses import MEANINGS
from vastsky_client.command.table import COMMON, WAITING, Argument, Command, Noun

BEGIN, END = "<!-- made of the table of commands, from here -->", "<!-- to here -->"
KINDS = {
    int: "int",
    float: "double",
    str: "text",
    bool: "bool",
    dict: "struct",
    object: "what the method answers",
    None: "`null`",
}


def fill(page: str) -> str:
    """Put what the table says into a page."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n\n".join([f"{before}{BEGIN}", "\n\n".join(_parts()), f"{END}{after}"])


def _parts() -> Iterator[str]:
    yield "## Exit statuses"
    yield _rows("status", "when", [(str(int(s)), text) for s, text in MEANINGS.items()])
    yield "## Options of every command"
    yield _rows("option", "meaning", _options(COMMON))
    yield "Commands whose work takes its time have two more:"
    yield _rows("option", "meaning", _options(WAITING))
    for noun in NOUNS:
        yield from _noun(noun)
    yield "## What --json prints"
    yield "\n".join(_structs())


def _noun(noun: Noun) -> Iterator[str]:
    yield f"## {noun.name}"
    yield f"{noun.summary[0].upper()}{noun.summary[1:]}."
    for command in noun.commands:
        yield f"### {command.name}"
        yield "\n".join(_command(command))


def _command(command: Command) -> Iterator[str]:
    told = [argument for argument in command.arguments if not argument.hidden]
    words = "".join(f" {argument.usage}" for argument in told)
    yield from (f"    vastsky {command.name}{words}", "")
    yield from (f"{command.summary}{' Takes `--wait`.' if command.waits else ''}", "")
    for argument in told:
        yield _item(f"`{argument.name}`: {argument.help}{_choices(argument)}")
    yield f"- example: `vastsky {command.example}`"
    if command.methods:
        yield _item(f"calls: {', '.join(command.methods)}")
    yield f"- `--json`: {_kind(command.returns)}"


def _structs() -> Iterator[str]:
    """Describe every struct that is printed, or lies within one that is."""
    found: dict[str, str] = {}
    waiting = [command.returns for noun in NOUNS for command in noun.commands]
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if is_typeddict(kind) and _kind(kind) not in found:
            members = get_type_hints(kind)
            told = ", ".join(f"`{name}` {_kind(member)}" for name, member in members.items())
            found[_kind(kind)] = _item(f"{_kind(kind)}: {told}")
            waiting += members.values()
    return (found[name] for name in sorted(found))


def _item(text: str) -> str:
    return textwrap.fill(
        f"- {text}", 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _choices(argument: Argument) -> str:
    return f": {', '.join(argument.choices)}" if argument.choices else ""


def _options(arguments: tuple[Argument, ...]) -> list[tuple[str, str]]:
    return [(f"`{argument.usage.strip('[]')}`", argument.help) for argument in arguments]


def _rows(left: str, right: str, rows: list[tuple[str, str]]) -> str:
    return "\n".join(
        [f"| {left} | {right} |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]
    )


def _kind(kind: Any) -> str:
    """Name a type; a struct by the words of its class."""
    if get_origin(kind) is list:
        return f"list of {_kind(get_args(kind)[0])}"
    if is_typeddict(kind):
        words = re.sub("(?<!^)([A-Z])", r" \1", kind.__name__.removeprefix("Printed")).lower()
        return f"*{words}*"
    return KINDS[get_origin(kind) or kind]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(fill(path.read_text()))
