"""What a disk tells of an extent's space: whether all that lies there is over."""

from collections.abc import Iterator
from itertools import takewhile

from django.db.models import Q

from agents.client import StorageAgent
from agents.protocol import DiskQuestion, FoundReplica
from inventory import recovery
from inventory.models import Disk, Extent
from volumes import nodes
from volumes.models import LogicalVolume, Replica
from volumes.orphans import knowledge
from volumes.orphans.standing import Known, Standing


def read(agent: StorageAgent, disk: str, first_gb: int = 0) -> Iterator[FoundReplica]:
    """Ask for all that lies on a disk, a page at a time."""
    while True:
        page = agent.content(DiskQuestion(disk, first_gb))
        yield from page.replicas
        if page.next_gb <= first_gb:
            return
        first_gb = page.next_gb


def are_over(extent: Extent) -> bool:
    """Tell whether what lies in an extent's space was ended here; else nobody may zero it.

    What proves that this database is the older one begins recovery mode.
    """
    disk = Disk.objects.get(pk=extent.disk_id)
    there = _live(disk, extent)
    known = knowledge.of(n for found in there for n in (found.mark.dextid, found.volume.lvolid))
    standings = [(found, _standing(found, known)) for found in there]
    for found, standing in standings:
        number = found.mark.dextid
        proven = known.is_beyond(number) or not found.size_gb or _is_taken(found)
        if standing == Standing.STRANGE and proven:
            what = f"dext-{number:08x} of {found.volume.name}" if number else "somebody's replica"
            where = f"{disk} holds {what} at GB {found.at_gb}"
            recovery.enter(f"{where}, which is newer than this database")
            break
    return all(standing == Standing.OVER for _, standing in standings)


def _live(disk: Disk, extent: Extent) -> list[FoundReplica]:
    """Read what reaches into the extent's space; what begins before it may."""
    agent = nodes.storage(disk.server_id)
    end_gb = extent.offset_gb + extent.size_gb
    told = read(agent, disk.disk_uuid or disk.local_path)
    return [
        found
        for found in takewhile(lambda found: found.at_gb < end_gb, told)
        if found.live and extent.offset_gb < found.at_gb + max(found.size_gb, 1)
    ]


def _standing(found: FoundReplica, known: Known) -> Standing:
    """Judge a replica by the rows: it is over if its number, or its volume's, was, and is gone.

    Of one that an older agent left nothing is known.
    """
    if not found.size_gb or _is_taken(found):
        return Standing.STRANGE
    if Replica.objects.filter(pk=found.mark.dextid).exists():
        return Standing.OURS
    if known.is_beyond(found.mark.dextid):
        return Standing.STRANGE
    if known.of_volume(found.volume.lvolid) == Standing.OVER:
        return Standing.OVER  # a recovery took it up, and this replica was away then
    return known.of_volume(found.mark.dextid)


def _is_taken(found: FoundReplica) -> bool:
    """Tell whether its number, or its volume's, names something else here: both were given twice.

    Two volumes of one number are told apart by when they were made.
    """
    holders = LogicalVolume.objects.filter(
        Q(pk=found.volume.lvolid) | Q(mirrors__replicas=found.mark.dextid)
    )
    born = {int(created.timestamp()) for created in holders.values_list("created", flat=True)}
    return bool(born - {found.volume.created})
