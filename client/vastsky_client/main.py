"""From a line of words to lines of text and an exit status: 0 done, 1 refused, 2 wrong usage."""

import argparse
import http
import os
import signal
import sys
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path

from vastsky_client.commands import COMMANDS, Ambiguous, OldArgument, OldCommand
from vastsky_client.manager_address import DEFAULT_URL
from vastsky_client.manager_calls import Unanswered, manager
from vastsky_client.version import VERSION

REFUSED, USAGE = 1, 2
EPILOG = f"""\
example: {{example}}

VAS_URL in the environment is the manager's address, {DEFAULT_URL} if not set.
It may hold a name and a token: https://name:token@manager.example:8881/RPC2"""


def main() -> int:
    """Run the command that this program is called, or else the one its first word names."""
    # Ctrl-C ends us as it ends other commands: at once, and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    called, *given = sys.argv
    if Path(called).name in COMMANDS:
        return run(Path(called).name, given)
    if given and given[0] in COMMANDS:
        return run(given[0], given[1:])
    if given in (["-h"], ["--help"]):
        _show(_overview())
        return 0
    if given == ["--version"]:
        _show([f"vas {VERSION}"])
        return 0
    _complain(*_overview())
    return USAGE


def run(name: str, given: Sequence[str]) -> int:
    """Run one command; the exit status."""
    command = COMMANDS[name]
    options = _parser(name, command).parse_args(given)
    try:
        lines = command.run(manager(), options)
    except xmlrpc.client.Fault as fault:
        _complain(_meaning(fault.faultCode))
        if options.verbose:
            _complain(fault.faultString)
        return REFUSED
    except Unanswered as failure:
        _complain(f"{name}: {failure}")
        return REFUSED
    except Ambiguous as several:
        _complain(f"{name}: {several}")
        return USAGE
    _show(lines)
    return 0


def _parser(name: str, command: OldCommand) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=name,
        description=command.summary,
        epilog=EPILOG.format(example=command.example),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="on failure, also tell the manager's reason"
    )
    parser.add_argument("--version", action="version", version=f"{name} {VERSION}")
    for argument in command.arguments:
        _add(parser, argument)
    return parser


def _add(parser: argparse.ArgumentParser, argument: OldArgument) -> None:
    if argument.name.startswith("--"):
        parser.add_argument(argument.name, metavar="N", type=argument.read, help=argument.help)
        return
    parser.add_argument(
        argument.name.lower(),
        metavar=argument.name,
        nargs="?" if argument.optional else None,
        type=argument.read,
        help=argument.help,
    )


def _overview() -> list[str]:
    lines = ["usage: vas COMMAND ...   (vas COMMAND --help tells more)", ""]
    return lines + [f"  {name:12} {command.summary}" for name, command in COMMANDS.items()]


def _meaning(code: int) -> str:
    """Name a fault as the C library does; 500 is the one that is no errno."""
    if code == http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return "Internal server error"
    return os.strerror(code)


def _show(lines: Sequence[str]) -> None:
    # All calls are made: whoever reads us may stop early (`lvol_list | head`) and kill us with it.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for line in lines:
        print(_plain(line))


def _complain(*lines: str) -> None:
    for line in lines:
        print(_plain(line), file=sys.stderr)


def _plain(line: str) -> str:
    """Keep what an agent calls its disk from steering the terminal that shows it."""
    return "".join(char if char.isprintable() else "?" for char in line).rstrip()
