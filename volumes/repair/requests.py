"""What makes a repair begin: mirrors that need one are queued, one job each."""

from collections.abc import Iterable

from django.db.models import Count, F, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Concat

from agents.protocol import LOST
from inventory.insert_select import Hex
from inventory.models import Extent, Priority
from inventory.write_lock import write_lock
from volumes.jobs import queue
from volumes.models import Job, Mirror, Replica
from volumes.replicas.rows import GOOD, out_of_sync

Status = Replica.Status


@write_lock()
def request(mirrors: Iterable[int]) -> int:
    """Queue the repair of mirrors that have none yet; fewest good replicas first."""
    wanted = Mirror.objects.filter(id__among=set(mirrors), volume__broken=False).exclude(
        jobs__kind=Job.Kind.REBUILD, jobs__state=Job.State.OPEN
    )
    wanting = wanted.annotate(good=Count("replicas", filter=Q(replicas__status__in=GOOD)))
    subject = Concat(
        *(
            Value("mirr-"),
            Hex("pk"),
            Value(" of "),
            "volume__name",
            Value(" (lvol-"),
            Hex("volume"),
            Value(")"),
        )
    )
    group = Coalesce("volume__origin", "volume")
    works = wanting.order_by("good", "pk").values_list(subject, group, "pk", "good")
    columns = ("subject", "volume_id", "mirror_id", "urgency")
    return queue.submit_from(Job.Kind.REBUILD, columns, works)


def request_missing(limit: int = 1000) -> int:
    """Queue the repair of whatever mirror needs one and has none: reconcile's safety net."""
    degraded = out_of_sync("replicas__")
    bad_blocks = Q(replicas__extent__status=Extent.Status.EVACUATE)
    evacuated = Q(replicas__extent__disk__priority=Priority.EVACUATE) | Q(
        replicas__server__priority=Priority.EVACUATE
    )
    found: set[int] = set()
    said_lost = Q(replicas__status__in=GOOD, replicas__reason__in=LOST)
    for need in (degraded, bad_blocks, evacuated, said_lost):
        mirrors = Mirror.objects.filter(need, volume__broken=False).exclude(
            jobs__kind=Job.Kind.REBUILD, jobs__state=Job.State.OPEN
        )
        found.update(mirrors.values_list("pk", flat=True)[:limit])
    found.update(_incomplete().values_list("pk", flat=True)[:limit])
    return request(found) if found else 0


def _incomplete() -> QuerySet[Mirror]:
    """Find the mirrors that have fewer replicas than was promised, as a recovery may leave them."""
    mirrors = Mirror.objects.filter(volume__broken=False).exclude(
        jobs__kind=Job.Kind.REBUILD, jobs__state=Job.State.OPEN
    )
    return mirrors.annotate(held=Count("replicas")).filter(held__lt=F("volume__redundancy"))
