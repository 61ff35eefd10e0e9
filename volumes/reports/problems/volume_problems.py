"""What is wrong with volumes: replicas, snapshots, attachments."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.db.models import Count, Exists, F, Model, Q, TextField, Window
from django.db.models.functions import Cast
from django.utils import timezone

from inventory import clock
from inventory.models import ALIVE, StorageServer
from volumes.models import Attachment, Job, LogicalVolume, Replica, UnequalBlock
from volumes.replicas.broken import ON_THE_WAY
from volumes.replicas.rows import out_of_sync
from volumes.reports import protection
from volumes.reports.problems.out import Out
from volumes.reports.problems.problem import SEEN, Problem, ProblemKind, Risk, key_of
from volumes.scrub import comparison

READ = 2000
"""Attachments that are told by what is behind them; the rest is counted."""
LISTED = 20
"""Of those that nothing else is behind; the rest is counted."""
MENDED_WITHIN = timedelta(minutes=1)
AGREEING = 2
"""What only one replica has is one failure away from loss, whoever else is about to get it."""
KINDS = {
    Risk.UNREACHABLE: ProblemKind("volume has no good replica", "volumes have no good replica"),
    Risk.LAST_REPLICA: ProblemKind(
        "volume is on its last good replica", "volumes are on their last good replica"
    ),
    Risk.REDUCED: ProblemKind(
        "volume has fewer replicas than promised, but more than one",
        "volumes have fewer replicas than promised, but more than one",
    ),
}
WAITS = ProblemKind("volume is waiting for storage", "volumes are waiting for storage")
DIFFER = ProblemKind("place at which replicas differ", "places at which replicas differ")
LOST = ProblemKind("snapshot is broken", "snapshots are broken")
IN_ERROR = ProblemKind(
    "volume could not be attached or detached", "volumes could not be attached or detached"
)


@dataclass(frozen=True, slots=True)
class Degraded:
    """The replicas that are not good: what is behind each, by volume and by mirror; since when."""

    of_volumes: Mapping[int, Mapping[str, datetime]]
    of_mirrors: Mapping[int, str]


def read_degraded(out: Out) -> Degraded:
    """Read all replicas that are not good; in one query."""
    degraded = Replica.objects.filter(out_of_sync())
    volumes: dict[int, dict[str, datetime]] = defaultdict(dict)
    mirrors: dict[int, str] = {}
    behind = lru_cache(None)(out.behind)
    # What a server took with it when it went has one time, which is read once.
    read = lru_cache(None)(_moment)
    for volume, mirror, server, disk, text in degraded.values_list(
        "mirror__volume", "mirror", "server", "extent__disk", Cast("since", TextField())
    ).order_by():
        key, since = behind(server, disk), read(text)
        places = volumes[volume]
        places[key] = min(since, places.get(key, since))
        mirrors[mirror] = mirrors.get(mirror) or key
    return Degraded(volumes, mirrors)


def _moment(text: str) -> datetime:
    """Read a time as a database casts it to text: SQLite leaves it to us that it is in UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def find_weak(weak: Mapping[int, protection.Weak], degraded: Degraded) -> Iterator[Problem]:
    """Tell of the volumes that lack replicas, by what is behind it and by how few they have."""
    groups: dict[tuple[str, Risk], list[int]] = defaultdict(list)
    begun: dict[tuple[str, Risk], datetime] = {}
    for volume in sorted(weak):
        risk = _risk(weak[volume].fewest)
        places = degraded.of_volumes.get(volume, {})
        for key in {key for key in places if key} or {""}:
            groups[key, risk].append(volume)
            if since := places.get(key):
                begun[key, risk] = min(since, begun.get((key, risk), since))
    shown = {volume for volumes in groups.values() for volume in volumes[:SEEN]}
    rows = LogicalVolume.objects.in_bulk(shown)
    for (key, risk), volumes in groups.items():
        # They may have been deleted since their replicas were counted.
        if named := tuple(rows[volume] for volume in volumes[:SEEN] if volume in rows):
            since = begun.get((key, risk))
            yield _weak(risk, key, named, len(volumes), since and clock.on_the_wall(since))


def _risk(fewest: int) -> Risk:
    if fewest > 1:
        return Risk.REDUCED
    return Risk.LAST_REPLICA if fewest else Risk.UNREACHABLE


def _weak(
    risk: Risk, key: str, named: tuple[LogicalVolume, ...], count: int, since: datetime | None
) -> Problem:
    kind, alone = KINDS[risk], count == 1
    title = kind.one.replace("volume", named[0].name, 1) if alone else f"{count} {kind.more}"
    return Problem(
        risk,
        named[0] if alone else None,
        title,
        "its replicas are being rebuilt, or wait for their turn"
        if alone
        else "replicas are being rebuilt, or wait for their turn",
        since,
        see=() if alone else named,
        key=key or f"weak-{risk.name.lower()}",
        kind=kind,
        count=count,
    )


def find_unequal() -> Iterator[Problem]:
    """Places at which replicas differ; most are mended before anybody looks."""
    now = timezone.now()
    blocks = UnequalBlock.objects.filter(state=UnequalBlock.State.OPEN).order_by("pk")
    rows = blocks.select_related("mirror__volume", "job").prefetch_related("contents")
    listed = list(rows.annotate(total=Window(Count("pk")))[:LISTED])
    for row in listed:
        volume, mending = row.mirror.volume, _mends_itself(row, now)
        store = "the copy-on-write store of " if volume.origin_id else ""
        soon = "; the others are about to get what most of them have" if mending else ""
        yield Problem(
            Risk.MENDING if mending else Risk.UNEQUAL,
            row,
            f"replicas of {store}{volume.name} differ in {row.length} bytes at {row.volume_offset}",
            "a disk changed what it keeps: " + ", ".join(map(str, row.contents.all())) + soon,
            row.found,
            key=f"unequal-{row.mirror_id}",
            kind=DIFFER,
        )
    if listed and (left := listed[0].total - len(listed)):
        yield Problem(
            Risk.UNEQUAL,
            None,
            f"replicas differ in {left} more place{'s' if left > 1 else ''}",
            "where one disk is behind most of them, evacuate it",
            key="unequal",
            count=left,
        )


def _mends_itself(block: UnequalBlock, now: datetime) -> bool:
    """Tell whether at least two replicas agree on what is right, and the others soon get it.

    What takes longer than MENDED_WITHIN, or fails, does not: then a person should look.
    """
    job, contents = block.job, {one.dextid: one.digest for one in block.contents.all()}
    right = comparison.choose(contents)
    if right is None or list(contents.values()).count(contents[right]) < AGREEING:
        return False
    failed = job is None or job.state != Job.State.OPEN or job.attempts > 0
    return not failed and now - block.found < MENDED_WITHIN


def find_broken() -> Iterator[Problem]:
    """Snapshots that are lost, but for those whose deletion is under way."""
    rows = LogicalVolume.objects.filter(~Exists(ON_THE_WAY), broken=True).select_related("origin")
    listed = list(rows.order_by("pk").annotate(total=Window(Count("pk")))[:LISTED])
    for row in listed:
        yield Problem(
            Risk.BROKEN,
            row,
            f"{row.name}, a snapshot of {row.origin.name if row.origin else '?'}, is broken",
            f"{row.broken_because or 'its store lost data'}; it can only be deleted",
            None,
            "delete-volume",
            key=key_of(row),
            kind=LOST,
        )
    if listed and (left := listed[0].total - len(listed)):
        yield Problem(
            Risk.BROKEN,
            None,
            f"{left} more snapshot{'s are' if left > 1 else ' is'} broken",
            "they can only be deleted",
            key="broken",
            count=left,
        )


def find_attachments(out: Out) -> Iterator[Problem]:
    """What could not be attached or detached, then what waits for storage: in one question."""
    in_error = Q(attachment__state=Attachment.State.ERROR)
    rows = LogicalVolume.objects.filter(in_error | Q(waiting_since__isnull=False))
    by_risk = F("waiting_since").asc(nulls_first=True)
    rows = rows.select_related("attachment__head").annotate(total=Window(Count("pk")))
    found = list(rows.order_by(by_risk, "pk")[:READ])
    awaited = _silent_servers([row.pk for row in found if row.waiting_since])
    for row in found:
        attached: Attachment | None = getattr(row, "attachment", None)
        if attached and attached.state == Attachment.State.ERROR:
            yield _in_error(row, attached, out)
        elif row.waiting_since:
            head = [attached.head] if attached else []
            servers = awaited.get(row.pk, [])
            yield _waiting(row, row.waiting_since, servers, (*servers, *head)[:SEEN], out)
    if found and (left := found[0].total - len(found)):
        title = f"{left} more volumes wait for storage"
        yield Problem(Risk.UNREACHABLE, None, title, "as those that are told", count=left)


def _silent_servers(volumes: list[int]) -> dict[int, list[StorageServer]]:
    """Find the storage servers of volumes that do not answer us either."""
    places = Replica.objects.filter(mirror__volume__in=volumes)
    away = places.filter(~Q(server__priority__in=ALIVE) | Q(server__silent_since__isnull=False))
    pairs = list(away.values_list("mirror__volume", "server").distinct().order_by("server"))
    rows = StorageServer.objects.in_bulk({server for _, server in pairs})
    found: dict[int, list[StorageServer]] = {}
    for volume, server in pairs:
        found.setdefault(volume, []).append(rows[server])
    return found


def _in_error(row: LogicalVolume, attached: Attachment, out: Out) -> Problem:
    head = out.heads.get(attached.head_id)
    return Problem(
        Risk.STOPPED,
        row,
        f"{row.name} could not be attached to, or detached from, {attached.head.label}",
        attached.error,
        clock.on_the_wall(attached.since),
        "detach",
        key=out.key(head) if head else key_of(row),
        kind=IN_ERROR,
    )


def _waiting(
    row: LogicalVolume,
    since: datetime,
    servers: list[StorageServer],
    see: tuple[Model, ...],
    out: Out,
) -> Problem:
    behind = next((out.key(server) for server in servers if server.pk in out.storages), "")
    return Problem(
        Risk.UNREACHABLE,
        row,
        f"{row.name} is waiting for storage",
        "its head reaches no good replica of some part of it, and reads and writes wait: look at "
        "the switches and storage servers between them",
        clock.on_the_wall(since),
        see=see,
        key=behind or "waiting",
        kind=WAITS,
    )
