"""What a few typed words may mean: volumes, servers, disks and jobs by name, address or id."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from inventory.ids import LAST
from inventory.models import Address, Disk, Extent, HeadServer, StorageServer
from volumes.models import Job, LogicalVolume

MOST = 6
"""Rows of each kind that are named."""
LONGEST = 128
ID = re.compile(r"(?:(?P<kind>[a-z]{4})-)?(?P<digits>(?:0x)?[0-9a-f]{1,10})")
ADDRESS = re.compile(r"(?P<address>[0-9.]*\d\.[0-9.]*)(?::\d*)?")
PARTS = {"mirr": "mirrors", "dext": "mirrors__replicas"}
"""What volumes are made of: such an id leads to the volume."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed, and the numbers and the address that it may be.

    An id with its prefix is one thing; bare digits are read in both bases.
    """

    text: str
    prefix: str = ""
    numbers: tuple[int, ...] = ()
    address: str = ""

    def ids(self, prefix: str) -> tuple[int, ...]:
        """List the ids that it may be, of rows with this prefix."""
        return self.numbers if self.prefix in {"", prefix} else ()


@dataclass(frozen=True, slots=True)
class Found:
    """The first rows of a kind that match, best first; `more`: there are others."""

    model: type[Any]
    rows: list[Any]
    more: bool


def read(text: str) -> Asked:
    """Read what was typed."""
    text = " ".join(text.replace("\0", "").split())[:LONGEST]
    address = ADDRESS.fullmatch(text)
    an_id = ID.fullmatch(text.lower())
    if address or not an_id:
        return Asked(text, address=address["address"] if address else "")
    digits, prefix = an_id["digits"], an_id["kind"] or ""
    is_decimal = digits.isdecimal() and not prefix
    numbers = dict.fromkeys([*([int(digits)] if is_decimal else []), int(digits, 16)])
    return Asked(text, prefix, tuple(number for number in numbers if number <= LAST))


def find(asked: Asked) -> list[Found]:
    """Find what matches, kind by kind; as many questions for few rows as for many."""
    if not asked.text:
        return []
    answers = (
        (LogicalVolume, _volumes(asked)),
        (StorageServer, _servers(StorageServer, "ssvr", "storage", asked)),
        (HeadServer, _servers(HeadServer, "hsvr", "head", asked)),
        (Disk, _disks(asked)),
        (Job, _jobs(asked)),
    )
    found = [Found(model, rows[:MOST], len(rows) > MOST) for model, rows in answers]
    return [group for group in found if group.rows]


def _volumes(asked: Asked) -> list[LogicalVolume]:
    own = Q(pk__in=asked.ids("lvol"))
    if part := PARTS.get(asked.prefix):
        holders = LogicalVolume.objects.filter(**{f"{part}__in": asked.numbers})
        own = Q(pk__in=holders.values("pk"))
    rows = LogicalVolume.objects.filter(own | Q(name__icontains=asked.text))
    rows = rows.select_related("attachment__head", "origin__attachment__head")
    return _best(rows, own, ("name",), asked)


def _servers(model: type[Any], prefix: str, owner: str, asked: Asked) -> list[Any]:
    own = Q(pk__in=asked.ids(prefix))
    fields = ("name", "host_name", "site", "rack")
    there = Address.objects.filter(**{owner: OuterRef("pk")})
    at = Exists(there.filter(address__contains=asked.address or asked.text))
    rows = model._default_manager.filter(own | _holds(fields, asked.text) | Q(at))  # noqa: SLF001
    return _best(rows.prefetch_related("addresses"), own, ("name", "host_name"), asked)


def _disks(asked: Asked) -> list[Disk]:
    own = Q(pk__in=asked.ids("pdsk"))
    if asked.prefix == "dext":
        own = Q(pk__in=Extent.objects.filter(pk__in=asked.numbers).values("disk"))
    fields = ("local_path", "disk_uuid", "tags")
    rows = Disk.objects.filter(own | _holds(fields, asked.text)).select_related("server")
    return _best(rows, own, ("local_path",), asked)


def _jobs(asked: Asked) -> list[Job]:
    own = Q(pk__in=asked.numbers) if not asked.prefix else Q(pk__in=[])
    rows = Job.objects.filter(own | Q(subject__icontains=asked.text))
    return list(rows.order_by(_rank([(own, 0), (Q(state=Job.State.OPEN), 1)]), "-pk")[: MOST + 1])


def _holds(fields: Iterable[str], text: str) -> Q:
    said = Q(pk__in=[])
    for field in fields:
        said |= Q(**{f"{field}__icontains": text})
    return said


def _best(rows: QuerySet[Any], own: Q, names: tuple[str, ...], asked: Asked) -> list[Any]:
    """Put first what is named so, or has the id; then what begins so."""
    ranks = [(Q(**{f"{name}__iexact": asked.text}), 0) for name in names]
    ranks += [(own, 1)]
    ranks += [(Q(**{f"{name}__istartswith": asked.text}), 2) for name in names]
    return list(rows.order_by(_rank(ranks), names[0], "pk")[: MOST + 1])


def _rank(ranks: list[tuple[Q, int]]) -> Case:
    return Case(*(When(said, then=Value(rank)) for said, rank in ranks), default=Value(9))
