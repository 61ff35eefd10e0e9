"""Names for log lines, causes and refusals, where only the id of something is at hand."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable

from django.db.models import QuerySet

from inventory.models import Disk, HeadServer, StorageServer
from volumes.models import LogicalVolume

Labelled = HeadServer | StorageServer | Disk | LogicalVolume

ID = re.compile(r"(?<![(\w-])(hsvr|ssvr|pdsk|lvol)-([0-9a-f]{8})\b")
"""An id that stands alone; one in brackets has its name before it."""


def heads(pks: Iterable[int]) -> dict[int, str]:
    """Name head servers as people do, with their ids; in one query."""
    return _labels(HeadServer.objects.all(), pks)


def storages(pks: Iterable[int]) -> dict[int, str]:
    """Name storage servers as people do, with their ids; in one query."""
    return _labels(StorageServer.objects.all(), pks)


def disks(pks: Iterable[int]) -> dict[int, str]:
    """Name disks by their servers and paths, with their ids; in one query."""
    return _labels(Disk.objects.select_related("server"), pks)


def volumes(pks: Iterable[int]) -> dict[int, str]:
    """Name volumes, with their ids; in one query."""
    return _labels(LogicalVolume.objects.all(), pks)


def head(pk: int) -> str:
    """Name a head server as people do, with its id."""
    return heads([pk])[pk]


def storage(pk: int) -> str:
    """Name a storage server as people do, with its id."""
    return storages([pk])[pk]


def disk(pk: int) -> str:
    """Name a disk by its server and path, with its id."""
    return disks([pk])[pk]


def volume(pk: int) -> str:
    """Name a volume, with its id."""
    return volumes([pk])[pk]


READERS: dict[str, Callable[[Iterable[int]], dict[int, str]]] = {
    "hsvr": heads,
    "ssvr": storages,
    "pdsk": disks,
    "lvol": volumes,
}


def in_texts(texts: Iterable[str]) -> list[str]:
    """Put names before the ids that stand alone in texts; in a query for each kind of them."""
    told = list(texts)
    found: dict[str, set[int]] = defaultdict(set)
    for text in told:
        for kind, digits in ID.findall(text):
            found[kind].add(int(digits, 16))
    names = {kind: READERS[kind](pks) for kind, pks in found.items()}
    return [ID.sub(lambda m: names[m[1]][int(m[2], 16)], text) for text in told]


def in_text(text: str) -> str:
    """Put names before the ids that stand alone in a text."""
    return in_texts([text])[0]


def _labels(rows: QuerySet[Labelled], pks: Iterable[int]) -> dict[int, str]:
    """Name what there is; what there is not, or no more, is its id."""
    wanted = list(dict.fromkeys(pks))
    found = rows.in_bulk(wanted)
    return {pk: _label(found.get(pk) or rows.model(pk=pk)) for pk in wanted}


def _label(row: Labelled) -> str:
    return row.name_and_id if isinstance(row, LogicalVolume) else row.label
