"""Places of new replicas that turn out not to be clean: others are taken, these are shredded."""

from collections.abc import Sequence

from inventory import space
from inventory.errors import HostDown, NoSpace
from inventory.models import Extent
from inventory.write_lock import write_lock
from volumes.attach.exports import Exported
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.models import Job, Mirror, Replica
from volumes.orphans import occupants
from volumes.placement import allocation
from volumes.replicas.rows import ReplicaRow

ALLOCATED = Replica.Status.ALLOCATED


class Unclean(HostDown):
    """New replicas are in space in which something lies already."""

    def __init__(self, replicas: Sequence[ReplicaRow]) -> None:
        names = ", ".join(f"dext-{r.dextid:08x} on {r.server_label}" for r in replicas)
        super().__init__(f"the space of {names} is not clean")
        self.replicas = replicas


def unclean(replicas: Sequence[ReplicaRow], exported: Exported) -> list[ReplicaRow]:
    """Pick the replicas that no head has seen yet and whose space says otherwise."""
    marked = {dextid for dextid, mark in exported.marks.items() if mark.epoch}
    bad = marked.union(exported.occupied)
    return [r for r in replicas if r.status == ALLOCATED and r.dextid in bad]


def take_others(job: Job, replicas: Sequence[ReplicaRow]) -> Again | None:
    """Put new replicas elsewhere, unless what lies in their space may be somebody's."""
    for replica in replicas:
        if not occupants.are_over(Extent.objects.get(pk=replica.dextid)):
            why = f"{Unclean([replica])}, and what lies there may be somebody's"
            return queue.retry(job, why, slowest=3)
    try:
        _move(replicas)
    except NoSpace as refusal:
        return queue.retry(job, f"{Unclean(replicas)}, and there is no other: {refusal}", slowest=3)
    return Again()


@write_lock()
def _move(replicas: Sequence[ReplicaRow]) -> None:
    """Set the places aside for shredding and take others, all or none."""
    for replica in replicas:
        if not Replica.objects.filter(pk=replica.dextid, status=ALLOCATED).delete()[0]:
            continue
        space.release([replica.dextid], exposed=True)
        mirror = Mirror.objects.select_related("volume").get(pk=replica.mirror)
        others = mirror.replicas.values_list("server", flat=True)
        fresh = allocation.reserve_replica(mirror, avoid_servers=list(others))
        Replica.objects.filter(pk=fresh.pk).update(status=ALLOCATED)
