"""Have nodes copy one good replica of a mirror into another: by its head, or between servers."""

from agents.client import HeadAgent, StorageAgent
from agents.protocol import PullOrder, RebuildOrder, ReplicaState, Report
from inventory import clock, servers
from inventory.errors import HostDown
from inventory.write_lock import write_lock
from volumes import nodes
from volumes.attach import exports, newest
from volumes.jobs import queue
from volumes.models import Attachment, Job, LogicalVolume, Replica
from volumes.repair import needs
from volumes.repair.situation import Situation
from volumes.replicas import rows
from volumes.replicas.rows import ReplicaRow


class CannotCopy(Exception):
    """This try ends here; the text says why."""


@write_lock()
def begin(situation: Situation, target: ReplicaRow) -> None:
    """Record the replica as being built and number the order that is about to be sent."""
    replicas = Replica.objects.filter(pk=target.dextid)
    if target.status == Replica.Status.FAULTY:
        replicas.move(Replica.Status.FAULTY, Replica.Status.SPARE)
        replicas.update(since=clock.now())
    copier, epoch = _copier(situation.attachment), _epoch(situation.job)
    what = f"rebuild by {copier.label} in epoch {epoch}"
    ordered = {"extent_id": target.dextid, "copier": copier, "copier_epoch": epoch}
    queue.start(situation.job, what, **ordered)


def is_as_ordered(job: Job, epoch: int, attachment: Attachment | None) -> bool:
    """Tell whether it is still right who copies, and the volume in the epoch of the order."""
    return (job.copier, job.copier_epoch) == (_copier(attachment), epoch)


def is_current(job: Job) -> bool:
    """Tell whether the volume still is as it was when this was ordered; under the write lock."""
    bound = Attachment.objects.filter(volume=job.volume_id, state=Attachment.State.BOUND).first()
    return is_as_ordered(job, _epoch(job), bound)


def _copier(attachment: Attachment | None) -> Job.CopyingNode:
    return Job.CopyingNode.HEAD if attachment else Job.CopyingNode.STORAGE


def _epoch(job: Job) -> int:
    return LogicalVolume.objects.values_list("epoch", flat=True).get(pk=job.volume_id or 0)


def agent(attachment: Attachment | None, target: ReplicaRow) -> HeadAgent | StorageAgent:
    """Reach the node that does the copying."""
    if attachment:
        return nodes.head(attachment.head_id)
    return nodes.storage(target.server)


def send(situation: Situation, target: ReplicaRow) -> Report:
    """Order the copying; the same order again changes nothing on the node."""
    if situation.attachment:
        return _send_to_head(situation, situation.attachment, target)
    return _send_pull(situation, target)


def _send_to_head(situation: Situation, attachment: Attachment, target: ReplicaRow) -> Report:
    job, volume = situation.job, attachment.volume
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
            mirrorid=situation.mirror.pk,
            replica=exported.replica(target, ReplicaState.SPARE),
            replaces=job.replaces,
        )
    )


def _send_pull(situation: Situation, target: ReplicaRow) -> Report:
    """Let the target's server copy from the newest replica of a mirror that no head uses."""
    job, volume = situation.job, situation.group
    others = [replica for replica in situation.replicas if replica.dextid != target.dextid]
    readable = [replica for replica in others if needs.can_be_source(replica)]
    exported = exports.export(job.pk, volume.pk, volume.epoch, readable)
    try:
        chosen = newest.choose(others, exported.marks, clean=volume.closed_cleanly, force=False)
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
            about=rows.about([target]),
        )
    )
