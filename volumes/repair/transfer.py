"""Have nodes copy one good copy of a mirror into another: by its head, or between servers."""

from django.utils import timezone

from agents.client import HeadAgent, StorageAgent
from agents.protocol import LegState, PullOrder, RebuildOrder, Report
from inventory import servers
from inventory.errors import HostDown
from inventory.write_lock import turn
from volumes import nodes
from volumes.attach import exports, newest
from volumes.jobs import queue
from volumes.models import Attachment, Job, Leg, LogicalVolume, Mirror
from volumes.repair import needs
from volumes.replicas import rows
from volumes.replicas.rows import Copy

HEAD, PULL = "head:", "pull:"
"""Job.step while a copy is being built: who copies, and the epoch that it belongs to."""


class CannotCopy(Exception):
    """This try ends here; the text says why."""


@turn()
def begin(job: Job, copy: Copy, attachment: Attachment | None) -> None:
    """Record the copy as being built and number the order that is about to be sent."""
    legs = Leg.objects.filter(pk=copy.dextid)
    if copy.status == Leg.Status.FAULTY:
        legs.move(Leg.Status.FAULTY, Leg.Status.SPARE)
        legs.update(since=timezone.now())
    queue.start(job, step(job, attachment))
    queue.record(job, extent_id=copy.dextid)


def step(job: Job, attachment: Attachment | None) -> str:
    """Name the way of copying that is right while the volume is as it is now, and its epoch."""
    epoch = LogicalVolume.objects.values_list("epoch", flat=True).get(pk=job.volume_id or 0)
    return f"{HEAD if attachment else PULL}{epoch}"


def is_current(job: Job) -> bool:
    """Tell whether the volume is still as it was when this copying was ordered; in a turn."""
    bound = Attachment.objects.filter(volume=job.volume_id, state=Attachment.State.BOUND).first()
    return step(job, bound) == job.step


def agent(attachment: Attachment | None, target: Copy) -> HeadAgent | StorageAgent:
    """Reach the node that does the copying."""
    if attachment:
        return nodes.head(attachment.head_id)
    return nodes.storage(target.server)


def send(job: Job, mirror: Mirror, attachment: Attachment | None, target: Copy) -> Report:
    """Order the copying; the same order again changes nothing on the node."""
    if attachment:
        return _send_to_head(job, mirror, attachment, target)
    return _send_pull(job, mirror, target)


def _send_to_head(job: Job, mirror: Mirror, attachment: Attachment, target: Copy) -> Report:
    volume = attachment.volume
    exported = exports.export(job.pk, volume.pk, volume.epoch, [target])
    if target.dextid in exported.failed:
        raise CannotCopy(exported.failed[target.dextid])
    return nodes.head(attachment.head_id).rebuild(
        RebuildOrder(
            eventid=job.pk,
            order=job.order,
            incarnation=servers.cluster().incarnation,
            lvolid=volume.pk,
            epoch=volume.epoch,
            mirrorid=mirror.pk,
            leg=exported.leg(target, LegState.SPARE),
            replaces=job.replaces,
        )
    )


def _send_pull(job: Job, mirror: Mirror, target: Copy) -> Report:
    """Let the target's server copy from the newest copy of a mirror that no head uses."""
    volume = LogicalVolume.objects.get(pk=job.volume_id or 0)
    legs = [copy for copy in rows.of_mirror(mirror.pk) if copy.dextid != target.dextid]
    readable = [copy for copy in legs if needs.can_be_source(copy)]
    exported = exports.export(job.pk, volume.pk, volume.epoch, readable)
    try:
        chosen = newest.choose(legs, exported.marks, clean=volume.closed_cleanly, force=False)
    except HostDown as refused:
        raise CannotCopy(str(refused)) from None
    # Each try reads from the next one: the first may be the one that cannot be read.
    source = chosen.taken[job.attempts % len(chosen.taken)]
    return nodes.storage(target.server).pull(
        PullOrder(
            eventid=job.pk,
            order=job.order,
            incarnation=servers.cluster().incarnation,
            lvolid=volume.pk,
            epoch=volume.epoch,
            source=exported.sources[source.dextid],
            target=target.ref,
        )
    )
