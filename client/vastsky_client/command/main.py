"""From a line of words to an answer and an exit status."""

import argparse
import errno
import itertools
import json
import signal
import sys
from collections.abc import Sequence

from vastsky_client.api import (
    Access,
    AnswerLost,
    BadAccess,
    Manager,
    NoManager,
    Refused,
    load,
)
from vastsky_client.command import shells
from vastsky_client.command.nouns import COMMANDS, NOUNS
from vastsky_client.command.output import ProgressBar, plain, show
from vastsky_client.command.parser import overview, parser
from vastsky_client.command.server_names import Unknown
from vastsky_client.command.session import JobFailed, Late, Session, Unsupported
from vastsky_client.command.statuses import Status, of_fault
from vastsky_client.command.table import Command
from vastsky_client.commands import Ambiguous
from vastsky_client.version import VERSION

COMPLETION_SECONDS = 2.0
HELP = {"-h", "--help"}
ENDS: dict[type[Exception], Status] = {
    NoManager: Status.NO_MANAGER,
    AnswerLost: Status.ANSWER_LOST,
    BadAccess: Status.USAGE,
    Ambiguous: Status.USAGE,
    argparse.ArgumentTypeError: Status.USAGE,
    Unknown: Status.NOT_THERE,
    Unsupported: Status.REFUSED,
    JobFailed: Status.JOB_FAILED,
    Late: Status.AGAIN_LATER,
}
FAILURES = tuple(ENDS)
SILENT: tuple[type[Exception], ...] = (Refused, *ENDS)
"""What is passed over in silence where names would merely be nicer."""


def main() -> int:
    """Run what the words of the line say; the exit status."""
    # Ctrl-C ends us as it ends other commands: at once, and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    given = sys.argv[1:]
    if given[:1] == ["--complete"]:
        return _complete(given[1:])
    if given == ["--version"]:
        print(f"vastsky {VERSION}")
        return Status.DONE
    command, words = _command(given)
    if command is None:
        return _overview(given)
    return run(command, words)


def _overview(given: Sequence[str]) -> int:
    """Show what there is: to who asks for it, or who meant something else."""
    asked = bool(HELP & {*given})
    _end_with_the_reader()
    print(overview(given[0] if given else ""), file=sys.stdout if asked else sys.stderr)
    return Status.DONE if asked else Status.USAGE


def _end_with_the_reader() -> None:
    """Nothing is asked any more: whoever reads us may stop early (`| head`) and kill us with it."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _command(given: Sequence[str]) -> tuple[Command | None, list[str]]:
    """Find noun and verb; options that every command has may come before them."""
    for place, pair in enumerate(itertools.pairwise(given)):
        if pair in COMMANDS:
            return COMMANDS[pair], [*given[:place], *given[place + 2 :]]
        if not given[place].startswith("-") and not given[max(place - 1, 0)].startswith("-"):
            break
    return None, []


def run(command: Command, words: Sequence[str]) -> int:
    """Run one command; the exit status."""
    given = parser(command).parse_args(words)
    session: Session | None = None
    try:
        with ProgressBar() as bar:
            session = Session(
                Manager(_access(given)),
                wait=getattr(given, "wait", False),
                timeout=getattr(given, "timeout", None) or 0.0,
                tell=bar.tell,
            )
            answer = command.run(session, given)
    except Refused as refusal:
        text = _in_names(session, str(refusal))
        return _complain(of_fault(refusal.faultCode), text, refusal.faultCode, given)
    except FAILURES as failure:
        status = next(status for kind, status in ENDS.items() if isinstance(failure, kind))
        return _complain(status, str(failure), 0, given)
    _end_with_the_reader()
    show(command, answer, as_json=given.json)
    return Status.DONE


def _in_names(session: Session | None, text: str) -> str:
    """Say what a manager says with names in place of ids, if it tells them now."""
    try:
        return session.names.instead_of_ids(text) if session else text
    except SILENT:
        return text


def _access(given: argparse.Namespace) -> Access:
    access = load(file=given.config or "")
    if not given.manager:
        return access
    return Access(tuple(given.manager), access.authority_file, access.token_name, access.token_file)


def _complain(status: Status, text: str, code: int, given: argparse.Namespace) -> int:
    """Say on stderr what went wrong, in one line or as JSON."""
    name = errno.errorcode.get(code, "")
    if given.json:
        about = {"status": int(status), "code": code, "name": name, "text": text}
        print(json.dumps({"error": about}), file=sys.stderr)
    else:
        print(f"vastsky: {plain(text)}{f' ({name})' if name else ''}", file=sys.stderr)
    return status


def _complete(words: Sequence[str]) -> int:
    """Print what the last word may become; nothing where the manager is away or refuses."""

    def session() -> Session:
        return Session(Manager(load(), call_seconds=COMPLETION_SECONDS))

    try:
        found = shells.complete(NOUNS, words, session)
    except SILENT:
        return Status.DONE
    for word in found:
        print(plain(word))
    return Status.DONE
