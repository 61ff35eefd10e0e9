"""Have nodes copy one good replica of a mirror into another: by its head, or between servers."""

from django.utils import timezone

from agents.client import HeadAgent, StorageAgent
from agents.protocol import PullOrder, RebuildOrder, ReplicaState, Report
from inventory import servers
from inventory.errors import HostDown
from inventory.write_lock import write_lock
from volumes import nodes
from volumes.attach import exports, newest
from volumes.jobs import queue
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica
from volumes.repair import needs
from volumes.replicas import rows
from volumes.replicas.rows import ReplicaRow


class CannotCopy(Exception):
    """This try ends here; the text says why."""


@write_lock()
def begin(job: Job, replica: ReplicaRow, attachment: Attachment | None) -> None:
    """Record the replica as being built and number the order that is about to be sent."""
    replicas = Replica.objects.filter(pk=replica.dextid)
    if replica.status == Replica.Status.FAULTY:
        replicas.move(Replica.Status.FAULTY, Replica.Status.SPARE)
        replicas.update(since=timezone.now())
    copier, epoch = _now(job, attachment)
    what = f"rebuild by {copier.label} in epoch {epoch}"
    queue.start(job, what, extent_id=replica.dextid, copier=copier, copier_epoch=epoch)


def _now(job: Job, attachment: Attachment | None) -> tuple[Job.Copier, int]:
    """Tell who has to copy while the volume is as it is now, and its epoch."""
    epoch = LogicalVolume.objects.values_list("epoch", flat=True).get(pk=job.volume_id or 0)
    return Job.Copier.HEAD if attachment else Job.Copier.STORAGE, epoch


def is_as_ordered(job: Job, attachment: Attachment | None) -> bool:
    """Tell whether who copies, and in which epoch, is still right."""
    return (job.copier, job.copier_epoch) == _now(job, attachment)


def is_current(job: Job) -> bool:
    """Tell whether the volume is still as it was when this copying was ordered; under the write
    lock."""
    bound = Attachment.objects.filter(volume=job.volume_id, state=Attachment.State.BOUND).first()
    return is_as_ordered(job, bound)


def agent(attachment: Attachment | None, target: ReplicaRow) -> HeadAgent | StorageAgent:
    """Reach the node that does the copying."""
    if attachment:
        return nodes.head(attachment.head_id)
    return nodes.storage(target.server)


def send(job: Job, mirror: Mirror, attachment: Attachment | None, target: ReplicaRow) -> Report:
    """Order the copying; the same order again changes nothing on the node."""
    if attachment:
        return _send_to_head(job, mirror, attachment, target)
    return _send_pull(job, mirror, target)


def _send_to_head(job: Job, mirror: Mirror, attachment: Attachment, target: ReplicaRow) -> Report:
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
            replica=exported.replica(target, ReplicaState.SPARE),
            replaces=job.replaces,
        )
    )


def _send_pull(job: Job, mirror: Mirror, target: ReplicaRow) -> Report:
    """Let the target's server copy from the newest replica of a mirror that no head uses."""
    volume = LogicalVolume.objects.get(pk=job.volume_id or 0)
    replicas = [replica for replica in rows.of_mirror(mirror.pk) if replica.dextid != target.dextid]
    readable = [replica for replica in replicas if needs.can_be_source(replica)]
    exported = exports.export(job.pk, volume.pk, volume.epoch, readable)
    try:
        chosen = newest.choose(replicas, exported.marks, clean=volume.closed_cleanly, force=False)
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
