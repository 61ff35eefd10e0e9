"""The space of disks: tiled into extents that are cut, released, certified zero and retired.

Every change begins by taking the allocation lock (the "volume" id space), so that two of them never
see each other half done, and every status changes by compare and set.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import F

from inventory import ids
from inventory.errors import Invalid, NoSpace
from inventory.models import Disk, Extent

Status = Extent.Status

SUPER_GB = 1
"""The last GB of a disk: its label, generation table and mirror metadata."""

UNUSED = frozenset({Status.FREE, Status.OFFLINE, Status.FAULTY})
"""Statuses of extents in which no replica lives."""

INSERT = (
    "INSERT INTO inventory_extent"
    " (id, disk_id, offset_gb, size_gb, status, generation, zeroed_generation)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
SHRINK = "UPDATE inventory_extent SET offset_gb = %s, size_gb = %s WHERE id = %s"


class CutExtent(NamedTuple):
    """An extent that was just cut."""

    extent_id: int
    disk_id: int
    offset_gb: int
    size_gb: int
    generation: int


@dataclass(slots=True, order=True)
class _Free:
    """A free extent while pieces are cut from its front; the smallest that fits is used first."""

    size_gb: int
    offset_gb: int
    extent_id: int
    generation: int


@transaction.atomic
def tile(disk: Disk, generation: int = 0) -> None:
    """Cover a new disk: all of it is yet to be zeroed, but for the SUPER extent at its end.

    A disk that was here before and was deleted refuses what is older than its `generation`.
    """
    usable_gb = disk.capacity_gb - SUPER_GB
    spans = [(0, usable_gb, Status.OFFLINE), (usable_gb, SUPER_GB, Status.SUPER)]
    spans = [span for span in spans if span[0] >= 0 and span[1] > 0]
    numbers = ids.take("volume", len(spans))
    _insert(
        (number, disk.pk, offset_gb, size_gb, status, generation, -1)
        for number, (offset_gb, size_gb, status) in zip(numbers, spans, strict=True)
    )


def cut(wanted: Sequence[tuple[int, int]]) -> list[CutExtent]:
    """Allocate (disk, size) after (disk, size) from free space, in the order wanted, or nothing.

    Inside the caller's transaction; NoSpace comes before anything is written.
    """
    numbers = ids.take("volume", len(wanted))
    free = _free_by_disk({disk_id for disk_id, _ in wanted})
    touched: dict[int, _Free] = {}
    pieces = []
    for number, (disk_id, size_gb) in zip(numbers, wanted, strict=True):
        source = _take_smallest(free[disk_id], disk_id, size_gb)
        pieces.append(CutExtent(number, disk_id, source.offset_gb, size_gb, source.generation + 1))
        source.offset_gb += size_gb
        source.size_gb -= size_gb
        touched[source.extent_id] = source
        if source.size_gb:
            insort(free[disk_id], source)
    _shrink(touched.values())
    _insert(
        (
            p.extent_id,
            p.disk_id,
            p.offset_gb,
            p.size_gb,
            Status.BUSY,
            p.generation,
            p.generation - 1,
        )
        for p in pieces
    )
    return pieces


@transaction.atomic
def release(extent_ids: Collection[int], *, exposed: bool) -> None:
    """Give back what no replica uses any more.

    What a head may have written is OFFLINE until it is shredded; what was never exposed is still
    zero and FREE at once. EVACUATE space has bad blocks and becomes FAULTY.
    """
    ids.lock("volume")
    mine = Extent.objects.filter(pk__in=extent_ids)
    mine.filter(status=Status.EVACUATE).update(status=Status.FAULTY)
    if exposed:
        mine.filter(status=Status.BUSY).update(status=Status.OFFLINE)
        return
    mine.filter(status=Status.BUSY).update(status=Status.FREE, zeroed_generation=F("generation"))
    _merge(set(mine.filter(status=Status.FREE).values_list("disk_id", flat=True)))


@transaction.atomic
def certify(extent_id: int, generation: int) -> bool:
    """Record that an extent was zeroed; False if it is not the OFFLINE extent it was then."""
    ids.lock("volume")
    zeroed = Extent.objects.filter(pk=extent_id, status=Status.OFFLINE, generation=generation)
    disk_ids = set(zeroed.values_list("disk_id", flat=True))
    moved = zeroed.update(status=Status.FREE, zeroed_generation=generation)
    _merge(disk_ids)
    return bool(moved)


@transaction.atomic
def split_offline(extent_id: int, size_gb: int) -> int:
    """Leave at most `size_gb` in an OFFLINE extent, the rest in a new one; the id of the first."""
    ids.lock("volume")
    whole = Extent.objects.filter(pk=extent_id, status=Status.OFFLINE, size_gb__gt=size_gb).first()
    if whole is None:
        return extent_id
    _replace(
        whole,
        [
            (whole.offset_gb, size_gb, Status.OFFLINE),
            (whole.offset_gb + size_gb, whole.size_gb - size_gb, Status.OFFLINE),
        ],
    )
    return extent_id


@transaction.atomic
def retire(disk: Disk, blocks: Collection[int]) -> list[int]:
    """Take bad GB out of service; the ids of extents in use that are hit and must be replaced.

    Those become EVACUATE, and FAULTY once released. A block beyond the disk changes nothing.
    """
    beyond = [block for block in blocks if not 0 <= block < disk.capacity_gb]
    if beyond:
        raise Invalid(f"{disk.label} has blocks 0 to {disk.capacity_gb - 1}, not {beyond[0]}")
    ids.lock("volume")
    bad = sorted(set(blocks))
    in_use = []
    for extent in Extent.objects.filter(disk=disk).order_by("offset_gb"):
        end_gb = extent.offset_gb + extent.size_gb
        hit = bad[bisect_left(bad, extent.offset_gb) : bisect_left(bad, end_gb)]
        if hit and extent.status in {Status.BUSY, Status.EVACUATE}:
            in_use.append(extent.pk)
        elif hit and extent.status in {Status.FREE, Status.OFFLINE}:
            _replace(extent, _spans_around(extent, hit))
    Extent.objects.filter(pk__in=in_use, status=Status.BUSY).update(status=Status.EVACUATE)
    return in_use


@transaction.atomic
def adopt(piece: CutExtent, status: Status) -> bool:
    """Give a stretch of a disk to an extent that the disk tells of; False if it is in use.

    What is left beside it of the extents there stays what it was.
    """
    ids.lock("volume")
    end_gb = piece.offset_gb + piece.size_gb
    met = Extent.objects.annotate(end_gb=F("offset_gb") + F("size_gb")).filter(
        disk=piece.disk_id, offset_gb__lt=end_gb, end_gb__gt=piece.offset_gb
    )
    there = list(met)
    if not there or any(extent.status not in UNUSED for extent in there):
        return False
    Extent.objects.filter(pk__in=[extent.pk for extent in there]).delete()
    rest = [
        (start, stop - start, extent.status, extent.generation, extent.zeroed_generation)
        for extent in there
        for start, stop in _beside(extent, piece)
    ]
    numbers = ids.take("volume", len(rest))
    _insert((new, piece.disk_id, *span) for new, span in zip(numbers, rest, strict=True))
    place = (piece.extent_id, piece.disk_id, piece.offset_gb, piece.size_gb)
    _insert([(*place, status, piece.generation, piece.generation - 1)])
    return True


def _beside(extent: Extent, piece: CutExtent) -> list[tuple[int, int]]:
    """Tell what is left of an extent before and behind a piece of it."""
    end_gb, stop_gb = extent.offset_gb + extent.size_gb, piece.offset_gb + piece.size_gb
    spans = [(extent.offset_gb, piece.offset_gb), (stop_gb, end_gb)]
    return [(start, stop) for start, stop in spans if start < stop]


@transaction.atomic
def yield_numbers(numbers: Collection[int]) -> None:
    """Give extents in which no replica lives other numbers: nobody else knows them by these."""
    for extent in Extent.objects.filter(pk__in=numbers, status__in=[*UNUSED, Status.SUPER]):
        place = (extent.disk_id, extent.offset_gb, extent.size_gb, extent.status)
        extent.delete()
        number = ids.take("volume")[0]
        _insert([(number, *place, extent.generation, extent.zeroed_generation)])


@transaction.atomic
def doubt_free(disk_id: int, generation: int) -> int:
    """Have all free space of a disk zeroed anew, as of a generation; how many extents that hits."""
    ids.lock("volume")
    doubted = Extent.objects.filter(disk=disk_id, status=Status.FREE).update(status=Status.OFFLINE)
    waiting = Extent.objects.filter(disk=disk_id, status=Status.OFFLINE)
    waiting.filter(generation__lt=generation).update(generation=generation)
    return doubted


def _free_by_disk(disk_ids: Collection[int]) -> dict[int, list[_Free]]:
    free: dict[int, list[_Free]] = defaultdict(list)
    rows = Extent.objects.filter(disk__in=disk_ids, status=Status.FREE).values_list(
        "disk_id", "size_gb", "offset_gb", "id", "generation"
    )
    for disk_id, *row in rows:
        free[disk_id].append(_Free(*row))
    for extents in free.values():
        extents.sort()
    return free


def _take_smallest(extents: list[_Free], disk_id: int, size_gb: int) -> _Free:
    place = bisect_left(extents, size_gb, key=lambda free: free.size_gb)
    if place == len(extents):
        disk = Disk.objects.select_related("server").get(pk=disk_id)
        raise NoSpace(f"{disk.label} has no {size_gb} GiB in one piece")
    return extents.pop(place)


def _shrink(sources: Iterable[_Free]) -> None:
    """Write what is left of free extents, and remove those of which nothing is left."""
    left = [(free.offset_gb, free.size_gb, free.extent_id) for free in sources if free.size_gb]
    used_up = [free.extent_id for free in sources if not free.size_gb]
    if used_up:
        Extent.objects.filter(pk__in=used_up).delete()
    with connection.cursor() as cursor:
        cursor.executemany(SHRINK, left)


def _insert(rows: Iterable[tuple[int, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, list(rows))


def _merge(disk_ids: Collection[int]) -> None:
    """Make one of free neighbours, of the newest of their generations."""
    free = Extent.objects.filter(disk__in=disk_ids, status=Status.FREE).order_by(
        "disk_id", "offset_gb"
    )
    runs: list[list[tuple[int, int, int, int, int]]] = []
    for row in free.values_list("disk_id", "offset_gb", "size_gb", "generation", "id"):
        before = runs[-1][-1] if runs else (0, 0, 0, 0, 0)
        if (before[0], before[1] + before[2]) == row[:2]:
            runs[-1].append(row)
        else:
            runs.append([row])
    gone = [row[4] for run in runs for row in run[1:]]
    if not gone:
        return
    Extent.objects.filter(pk__in=gone).delete()
    grown = []
    for run in runs:
        newest = max(row[3] for row in run)
        grown.append((sum(row[2] for row in run), newest, newest, run[0][4]))
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE inventory_extent SET size_gb = %s, generation = %s, zeroed_generation = %s"
            " WHERE id = %s",
            grown,
        )


def _spans_around(extent: Extent, bad: Sequence[int]) -> list[tuple[int, int, int]]:
    """Cut an extent into (offset, size, status) so that runs of bad blocks stand alone."""
    spans: list[tuple[int, int, int]] = []
    at_gb = extent.offset_gb
    for block in bad:
        if block > at_gb:
            spans.append((at_gb, block - at_gb, extent.status))
        if spans and block == at_gb and spans[-1][2] == Status.FAULTY:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1, Status.FAULTY)
        else:
            spans.append((block, 1, Status.FAULTY))
        at_gb = block + 1
    end_gb = extent.offset_gb + extent.size_gb
    return [*spans, (at_gb, end_gb - at_gb, extent.status)] if at_gb < end_gb else spans


def _replace(extent: Extent, spans: Sequence[tuple[int, int, int]]) -> None:
    """Put `spans` in the place of an extent; the first of them keeps its id."""
    offset_gb, size_gb, status = spans[0]
    Extent.objects.filter(pk=extent.pk).update(offset_gb=offset_gb, size_gb=size_gb, status=status)
    numbers = ids.take("volume", len(spans) - 1)
    _insert(
        (number, extent.disk_id, *span, extent.generation, extent.zeroed_generation)
        for number, span in zip(numbers, spans[1:], strict=True)
    )
