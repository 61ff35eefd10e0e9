"""What makes a repair begin: mirrors that need one are queued, one job each."""

from collections.abc import Iterable

from django.db.models import Count, Q

from inventory.models import Extent, Priority
from inventory.write_lock import turn
from volumes.jobs import queue
from volumes.models import Job, Leg, Mirror
from volumes.replicas import rows
from volumes.replicas.rows import GOOD

Status = Leg.Status


@turn()
def request(mirrors: Iterable[int]) -> int:
    """Queue the repair of mirrors that have none yet; fewest good copies first."""
    wanted = Mirror.objects.filter(pk__in=list(mirrors), volume__broken=False).exclude(
        jobs__kind=Job.Kind.REBUILD, jobs__state=Job.State.OPEN
    )
    wanting = wanted.annotate(good=Count("legs", filter=Q(legs__status__in=GOOD)))
    works = [
        {
            "subject": f"mirr-{mirror:08x} of lvol-{volume:08x} {name}",
            "volume_id": origin or volume,
            "mirror_id": mirror,
            "urgency": good,
        }
        for mirror, volume, name, origin, good in wanting.order_by("good", "pk").values_list(
            "pk", "volume", "volume__name", "volume__origin", "good"
        )
    ]
    return queue.submit_all(Job.Kind.REBUILD, works)


def request_missing(limit: int = 1000) -> int:
    """Queue the repair of whatever mirror needs one and has none: the sweep's safety net."""
    ill = Q(legs__status__in=[Status.SPARE, Status.FAULTY])
    bad_blocks = Q(legs__extent__status=Extent.Status.EVACUATE)
    emptied = Q(legs__extent__disk__priority=Priority.EVACUATE) | Q(
        legs__server__priority=Priority.EVACUATE
    )
    found: set[int] = set()
    said_lost = Q(legs__status__in=GOOD, legs__why__in=rows.EXPLICIT)
    for need in (ill, bad_blocks, emptied, said_lost):
        mirrors = Mirror.objects.filter(need, volume__broken=False).exclude(
            jobs__kind=Job.Kind.REBUILD, jobs__state=Job.State.OPEN
        )
        found.update(mirrors.values_list("pk", flat=True)[:limit])
    return request(found) if found else 0
