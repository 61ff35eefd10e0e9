"""The parser and the help of each command, made of the table."""

import argparse
import textwrap

from vastsky_client.command.nouns import NOUNS
from vastsky_client.command.table import COMMON, Argument, Command
from vastsky_client.version import VERSION

EPILOG = """\
example: vastsky {example}

VASTSKY_MANAGERS, or `managers` in ~/.config/vastsky.toml, has the managers' addresses."""


def parser(command: Command) -> argparse.ArgumentParser:
    """Make the parser of a command."""
    made = argparse.ArgumentParser(
        prog=f"vastsky {command.name}",
        description=command.summary,
        epilog=EPILOG.format(example=command.example),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an option of the next release must not change what a script says
    )
    made.add_argument("--version", action="version", version=f"vastsky {VERSION}")
    for argument in (*command.options(), *COMMON):
        _add(made, argument)
    return made


def _add(made: argparse.ArgumentParser, argument: Argument) -> None:
    if argument.switch:
        made.add_argument(argument.name, action="store_true", help=argument.help)
    elif argument.is_option:
        made.add_argument(
            argument.name,
            metavar=None if argument.choices else argument.value,
            action="append" if argument.many else "store",
            type=argument.read,
            choices=argument.choices or None,
            default=argument.default,
            help=argparse.SUPPRESS if argument.hidden else argument.help,
        )
    else:
        made.add_argument(
            argument.name.lower(),
            metavar=argument.name,
            nargs=_count(argument),
            type=argument.read,
            choices=argument.choices or None,
            help=argument.help,
        )


def _count(argument: Argument) -> str | None:
    if argument.many:
        return "*" if argument.optional else "+"
    return "?" if argument.optional else None


def overview(only: str = "") -> str:
    """List the nouns with their verbs; of one noun the commands with what they do."""
    chosen = [noun for noun in NOUNS if noun.name == only]
    lines = ["usage: vastsky NOUN VERB ...   (vastsky NOUN VERB --help tells more)", ""]
    for noun in chosen:
        lines += [f"  vastsky {command.usage}" for command in noun.commands]
        lines += ["", *(f"  {command.verb:12} {command.summary}" for command in noun.commands)]
    if not chosen:
        for noun in NOUNS:
            verbs = ", ".join(command.verb for command in noun.commands)
            lines += textwrap.wrap(
                verbs, 96, initial_indent=f"  {noun.name:12} ", subsequent_indent=" " * 15
            )
    return "\n".join(lines)
