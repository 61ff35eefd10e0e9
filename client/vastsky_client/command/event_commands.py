"""The noun event: what happened in the cluster."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from vastsky_client import operands
from vastsky_client.api import structs
from vastsky_client.command import json_rows, words
from vastsky_client.command.server_names import KINDS_OF
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument, Column, Command, Noun

PAGE = 1000


def list_events(session: Session, given: Namespace) -> list[Any]:
    """List what happened, newest first."""
    kind, server_kind = _kinds(given)
    about = {
        **_object(session, given, server_kind),
        "eventid": given.job or 0,
        "severity": given.severity,
        "kind": kind,
        "since": given.since,
        "until": given.until,
    }
    events = islice(_pages(session, about, min(given.limit, PAGE)), given.limit)
    return list(json_rows.named(session.names, list(events)))


def _pages(session: Session, about: dict[str, Any], limit: int) -> Iterator[structs.EventEntry]:
    cursor = ""
    while True:
        asked = {**about, "limit": limit, "cursor": cursor}
        page = session.ask(lambda asked=asked: session.manager.events(**asked))  # type: ignore[misc]
        yield from page["events"]
        cursor = page["cursor"]
        if not cursor:
            return


def _kinds(given: Namespace) -> tuple[str, str]:
    """Tell of which kind the events are, and of which the server that they are about.

    --kind was once what --server-kind is now: no event is of the kind of a server.
    """
    if given.kind in KINDS_OF:
        return given.event_kind or "", given.server_kind or given.kind
    return given.event_kind or given.kind, given.server_kind


def _object(session: Session, given: Namespace, server_kind: str) -> dict[str, int]:
    """Tell what the events are to be about."""
    if given.volume:
        which = session.names.volume(given.volume)
        if "lvolid" not in which:
            (volume,) = session.manager.list_logical_volumes(**which)
            which = {"lvolid": volume["lvolid"]}
        return which
    if given.place:
        return session.names.place(given.place, KINDS_OF[server_kind])
    return {}


EVENT = Noun(
    "event",
    "what happened in the cluster",
    (
        Command(
            "event", "list", "List what happened, newest first.",
            "event list --volume db --severity warning --since 2026-11-28T06:00:00Z", list_events,
            (
                Argument("--volume", "only what happened to this volume", words.VOLUME.read,
                         words.volumes),
                Argument("--place", "only what happened to this server or disk",
                         words.MORTAL.read, words.everything),
                replace(words.KIND, name="--server-kind"),
                Argument("--job", "only events of this job", operands.whole_number, words.jobs),
                Argument("--severity", "the least", choices=("info", "warning", "error"),
                         default="info"),
                Argument("--kind", "only events of this kind, such as degraded, healed, offline",
                         default=""),
                words.EVENT_KIND,
                Argument("--since", "from this moment on, such as 2026-11-28T06:00:00Z",
                         default=""),
                Argument("--until", "before this moment", default=""),
                Argument("--limit", "at most so many; 100 if not given", words.some, default=100),
            ),
            returns=list[json_rows.PrintedEvent],
            columns=(
                Column("TIME", lambda event: event["time"][:19]),
                Column("SEVERITY", lambda event: event["severity"]),
                Column("KIND", lambda event: event["kind"]),
                Column("WHAT", lambda event: event["name"] or event["object"]),
                Column("CAUSE", lambda event: event["about"] or "-"),
                Column("JOB", lambda event: event["eventid"] or "-", right=True),
                Column("BY", lambda event: event["actor"]),
            ),
            methods=("vastsky.listEvents",),
        ),
    ),
)  # fmt: skip
