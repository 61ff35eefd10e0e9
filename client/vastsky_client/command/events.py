"""The noun event: what happened in the cluster."""

from argparse import Namespace
from typing import Any

from vastsky_client import words as old_words
from vastsky_client.command import words
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument, Command, Noun


def list_events(session: Session, given: Namespace) -> list[Any]:
    """List what happened, as the manager's release tells it."""
    about = {"after": given.after, "limit": given.limit, **dict(given.filter or ())}
    return list(session.ask(lambda: session.manager.call("vastsky.listEvents", **about)))


def table(events: list[Any]) -> str:
    """Show whatever members events have, in columns."""
    titles = list(dict.fromkeys(key for event in events for key in event))
    rows = [[str(event.get(title, "")) for title in titles] for event in events]
    lines = [[title.upper() for title in titles], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


EVENT = Noun(
    "event",
    "what happened in the cluster",
    (
        Command(
            "event", "list", "List what happened; managers before 5.1 keep no events.",
            "event list --limit 20", list_events,
            (
                Argument("FILTER", "a member of vastsky.listEvents: NAME=TEXT or NAME:=NUMBER",
                         words.member, optional=True, many=True),
                Argument("--after", "only events after this one", old_words.whole_number,
                         default=0),
                Argument("--limit", "at most so many; 100 if not given", old_words.whole_number,
                         default=100),
            ),
            returns=list[dict[str, Any]], line=table, methods=("vastsky.listEvents",),
        ),
    ),
)  # fmt: skip
