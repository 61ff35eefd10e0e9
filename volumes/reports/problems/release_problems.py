"""Nodes that run another release than the manager: they go on, and are not meant to for long."""

import re
from collections.abc import Iterator

from django.conf import settings
from django.db.models import QuerySet, Value

from inventory.models import ALIVE, HeadServer, StorageServer
from volumes.reports.problems.problem import SEEN, Problem, Risk

Row = HeadServer | StorageServer


def others(kind: type[HeadServer] | type[StorageServer]) -> QuerySet[HeadServer | StorageServer]:
    """Select the servers in service whose agents are of another release."""
    return kind.objects.filter(priority__in=ALIVE).exclude(version=settings.VASTSKY_RELEASE)


def find() -> Iterator[Problem]:
    """Tell of them as one, by their names."""
    rows = _read()
    if not rows:
        return
    parts = [
        f"{word} {release or '5.0'}: {_names(some)}"
        for (word, release), some in sorted(_by_release(rows).items())
    ]
    yield Problem(
        Risk.WEAR,
        None,
        f"{len(rows)} servers run another release than the manager, {settings.VASTSKY_RELEASE}",
        f"{'; '.join(parts)}. They go on; upgrade the managers first, then the nodes",
        see=tuple(rows[:SEEN]),
        key="releases",
        count=len(rows),
    )


def _read() -> list[Row]:
    """Read those of both kinds at once."""
    columns = ("pk", "name", "version")
    storages = others(StorageServer).values_list(Value(0), *columns)
    heads = others(HeadServer).values_list(Value(1), *columns)
    return [
        (HeadServer if is_head else StorageServer)(pk=pk, name=name, version=version)
        for is_head, pk, name, version in storages.union(heads, all=True).order_by("pk")
    ]


def _by_release(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    ours = _numbers(settings.VASTSKY_RELEASE)
    for row in rows:
        theirs = _numbers(row.version)
        word = "newer" if theirs > ours else "older" if theirs < ours else "another"
        groups.setdefault((word, row.version), []).append(row)
    return groups


def _numbers(release: str) -> tuple[int, ...]:
    """Read 5.1.0 of 5.1.0.dev0, to compare; agents before 5.1 tell nothing."""
    found = re.match(r"\d{1,6}(\.\d{1,6})*", release)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def _names(rows: list[Row]) -> str:
    told = ", ".join(row.name or str(row) for row in rows[:SEEN])
    more = len(rows) - SEEN
    return f"{told} and {more} more" if more > 0 else told
