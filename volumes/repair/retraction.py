"""Take back that something was declared failed, as far as nothing was given up for it yet."""

from collections.abc import Collection

from django.db.models import Count, Q, QuerySet

from agents.protocol import LOST, Reason
from inventory import audit, recovery, servers
from inventory.errors import Invalid
from inventory.models import ALIVE, Disk, Extent, Priority, StorageServer
from inventory.write_lock import write_lock
from volumes.models import Replica
from volumes.replicas.rows import GOOD

Place = StorageServer | Disk
BAD_BLOCKS = (Extent.Status.FAULTY, Extent.Status.EVACUATE)


def why_not(places: Collection[Place]) -> dict[int, str]:
    """Say, by primary key, of which places no declaration can be taken back, and why."""
    said = {}
    kept = count_kept(places)
    failing = _failing_disks(places)
    for place in places:
        if isinstance(place, Disk) and place.priority == Priority.FAULTY:
            if place.pk in failing:
                said[place.pk] = "its server reported that it fails"
        elif not kept.get(place.pk):
            said[place.pk] = "no replica on it was declared failed"
    return said


def count_kept(places: Collection[Place]) -> dict[int, int]:
    """Count by place the replicas that would be kept."""
    of_disks = any(isinstance(place, Disk) for place in places)
    where = "extent__disk" if of_disks else "server"
    rows = _declared().filter(**{f"{where}__in": [place.pk for place in places]})
    if not of_disks:
        rows = rows.exclude(extent__disk__priority=Priority.FAULTY)
    return dict(rows.values_list(where).annotate(Count("pk")).order_by())


@write_lock()
def take_back(place: Place) -> None:
    """Trust a place again that somebody declared failed by mistake.

    Its replicas that are still there are caught up like those of a server that was silent, instead
    of replaced; a replacement that is under way is finished. A server registers by itself.
    """
    recovery.refuse(f"trusting {place.label} again")
    if said := why_not([place]):
        raise Invalid(f"{place.label}: {said[place.pk]}")
    replicas = _declared().filter(_at(place))
    kept = replicas.filter(status__in=GOOD).update(reason=Reason.NONE)
    kept += replicas.update(reason=Reason.SILENT)
    if isinstance(place, Disk):
        servers.set_priority(place, _priority(place), was=[Priority.FAULTY])
    audit.record(audit.Action.TAKE_BACK_FAILURE, place, f"{kept} replicas are kept")


def _declared() -> QuerySet[Replica]:
    return Replica.objects.filter(reason=Reason.FAILED)


def _at(place: Place) -> Q:
    if isinstance(place, Disk):
        return Q(extent__disk=place)
    # A disk that failed on its own is another matter.
    return Q(server=place) & ~Q(extent__disk__priority=Priority.FAULTY)


def _failing_disks(places: Collection[Place]) -> set[int]:
    """Name the disks of which a node said that they fail: that is no person's to take back."""
    disks = [place.pk for place in places if isinstance(place, Disk)]
    failing = Replica.objects.filter(extent__disk__in=disks, reason__in=LOST - {Reason.FAILED})
    return set(failing.values_list("extent__disk", flat=True))


def _priority(disk: Disk) -> Priority:
    """A disk of a server that is out comes back with it."""
    if disk.server.priority not in ALIVE:
        return Priority.OFFLINE
    spoilt = Extent.objects.filter(disk=disk, status__in=BAD_BLOCKS).exists()
    return Priority.LOW if spoilt else Priority.HIGH
