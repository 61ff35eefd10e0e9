"""The noun event: what happened in the cluster."""

from argparse import Namespace
from typing import Any

from vastsky_client import words as old_words
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument, Column, Command, Noun


def list_events(session: Session, given: Namespace) -> list[Any]:
    """List what happened, oldest first."""
    return list(
        session.ask(
            lambda: session.manager.call("vastsky.listEvents", after=given.after, limit=given.limit)
        )
    )


EVENT = Noun(
    "event",
    "what happened in the cluster",
    (
        Command(
            "event", "list", "List what happened.", "event list --limit 20", list_events,
            (
                Argument("--after", "only events after this number", old_words.whole_number,
                         default=0),
                Argument("--limit", "at most so many", old_words.whole_number, default=100),
            ),
            returns=list[dict[str, Any]],
            columns=(
                Column("EVENT", lambda row: row.get("id", ""), right=True),
                Column("AT", lambda row: row.get("at", "")),
                Column("WHAT", lambda row: row.get("text", row)),
            ),
            methods=("vastsky.listEvents",),
        ),
    ),
)  # fmt: skip
