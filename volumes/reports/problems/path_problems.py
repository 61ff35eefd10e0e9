"""What is wrong with the ways from heads to storage servers, a problem for each cause."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import combinations

from django.db.models import QuerySet

from inventory import clock
from inventory.models import PathTrouble
from volumes.paths import explanations
from volumes.paths.descriptions import NAMES
from volumes.paths.explanations import Level, Scope
from volumes.reports.networks import Down
from volumes.reports.problems.problem import Problem, ProblemKind, Risk, key_of

DOWN = ProblemKind("path from a head is down", "paths from heads are down")
SLOW = ProblemKind("path from a head is slow", "paths from heads are slow")
KINDS = {Level.DOWN: DOWN, Level.SLOW: SLOW}
TITLES = {
    Scope.NETWORK: ("no head reaches a storage server over {}", "all paths over {} are slow"),
    Scope.HEAD: (
        "head server {head} reaches no storage server over {}",
        "head server {head} reaches storage servers slowly over {}",
    ),
    Scope.STORAGE: (
        "storage server {storage} is reached by no head over {}",
        "storage server {storage} is reached slowly over {}",
    ),
    Scope.SEVERAL: ("several paths over {} are down", "several paths over {} are slow"),
    Scope.PATH: (
        "head server {head} does not reach {storage} over {}",
        "head server {head} reaches {storage} slowly over {}",
    ),
}
STEPS = {
    Scope.NETWORK: "look at its switches: power, links, what was changed there",
    Scope.HEAD: "look at that head's port and cable, and at the switch's port",
    Scope.STORAGE: "look at that server's port and cable, the switch's port, a firewall",
    Scope.SEVERAL: "look at what they have in common: a link of switches, a rule of a firewall",
    Scope.PATH: "other paths of both are well: look at routes and firewalls between them",
}
RELAPSES = 2
"""From so many on it is said that it comes and goes."""

Rows = Sequence[PathTrouble]


def told() -> QuerySet[PathTrouble]:
    """Select what was told, is so still, and is measured."""
    return PathTrouble.objects.filter(level__gt=Level.OK, known=True)


def read() -> Rows:
    """Read the causes of which none is a part of another one; in one query."""
    rows = list(told().select_related("head", "storage").order_by("position", "key"))
    known = [(row, explanations.cause_of(row)) for row in rows]
    return [
        row
        for row, cause in known
        if not any(other.explains(cause) and one.level >= row.level for one, other in known)
    ]


def count(rows: Rows) -> Counter[tuple[int, PathTrouble.Level]]:
    """Count the causes by network and level."""
    return Counter((row.position, Level(row.level)) for row in rows)


def lost_networks(rows: Rows) -> set[int]:
    """Name the networks by which nothing is reached well, by position."""
    return {row.position for row in rows if row.scope == Scope.NETWORK}


def find(rows: Rows, downs: Sequence[Down]) -> Iterator[Problem]:
    """Tell of each; what the manager itself finds of the same server's network is its cause."""
    silent = {(down.position, key_of(one)): down.key for down in downs for one in down.servers}
    pairs = dict(_pairs(rows))
    seconds = {second.pk for second in pairs.values()}
    for row in rows:
        server = row.storage or row.head if row.scope in {Scope.HEAD, Scope.STORAGE} else None
        if server and (key := silent.get((row.position, key_of(server)))):
            yield _paths([row], key)
        elif row.pk not in seconds:
            both = [row, pairs[row.pk]] if row.pk in pairs else [row]
            key = explanations.cause_of(row).key if len(both) == 1 else _key_of_both(row)
            yield _cause(both, key)
            yield _paths(both, key)


def _pairs(rows: Rows) -> Iterator[tuple[str, PathTrouble]]:
    """Find what is down by both networks, for one reason therefore; the second one by the first."""
    for one, other in combinations(rows, 2):
        ends = (one.scope, one.head_id, one.storage_id)
        is_same = ends == (other.scope, other.head_id, other.storage_id)
        if is_same and one.level == other.level == Level.DOWN:
            yield one.pk, other


def _key_of_both(row: PathTrouble) -> str:
    return explanations.cause_of(row).key.replace(f"-{row.position}", "-both", 1)


def _cause(rows: Rows, key: str) -> Problem:
    row = rows[0]
    scope, level = Scope(row.scope), Level(row.level)
    ends = [one for one in (row.storage, row.head) if one is not None]
    title = TITLES[scope][level == Level.SLOW].format(
        f"network {NAMES[row.position]}" if len(rows) == 1 else "either network",
        head=row.head.label if row.head else "",
        storage=row.storage.label if row.storage else "",
    )
    return Problem(
        _risk(rows),
        ends[0] if len(ends) == 1 else None,
        title[0].upper() + title[1:] if scope in {Scope.NETWORK, Scope.SEVERAL} else title,
        f"{_meaning(rows)}: {STEPS[scope]}{_relapses(rows)}",
        _since(rows),
        see=tuple(ends) if len(ends) > 1 else (),
        key=key,
        kind=KINDS[level],
        root=True,
        count=0,
    )


def _paths(rows: Rows, key: str) -> Problem:
    """Count the paths of a cause as what suffers from it."""
    kind = KINDS[Level(rows[0].level)]
    number = sum(row.paths for row in rows)
    return Problem(
        _risk(rows), None, kind.more, _meaning(rows), _since(rows), key=key, kind=kind, count=number
    )


def _risk(rows: Rows) -> Risk:
    """Where no network is left, it is as if the server had failed, for these heads."""
    return Risk.FAILED if _is_cut_off(rows) else Risk.NETWORK


def _is_cut_off(rows: Rows) -> bool:
    return any(row.cut_off and row.level == Level.DOWN for row in rows)


def _meaning(rows: Rows) -> str:
    if _is_cut_off(rows):
        return "no other network is left to some of these: their replicas cannot be used"
    if rows[0].level == Level.SLOW:
        return "a handshake takes longer than 20 ms; what goes over it waits for it"
    return "all goes over the other network, nothing stands by"


def _relapses(rows: Rows) -> str:
    most = max(row.relapses for row in rows)
    return f"; it comes and goes, {most + 1} times by now" if most >= RELAPSES else ""


def _since(rows: Rows) -> datetime:
    return clock.on_the_wall(min(row.since for row in rows if row.since))
