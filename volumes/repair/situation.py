"""A mirror under repair as one step finds it: read once, handed on, compared before a change."""

from dataclasses import dataclass

from volumes.models import Attachment, Job, LogicalVolume, Mirror
from volumes.replicas import rows
from volumes.replicas.rows import ReplicaRow


@dataclass(frozen=True, slots=True)
class Situation:
    """The job, its mirror, the group that this belongs to, where that is attached, the replicas."""

    job: Job
    mirror: Mirror
    group: LogicalVolume
    attachment: Attachment | None
    replicas: tuple[ReplicaRow, ...]

    @property
    def target(self) -> ReplicaRow | None:
        """Find the replica that is being built."""
        return next((r for r in self.replicas if r.dextid == self.job.extent_id), None)

    @property
    def is_known(self) -> bool:
        """Tell whether it is known which replicas are the newest.

        The head that uses them knows; else they were closed cleanly, or have to be examined.
        """
        return self.attachment is not None or self.group.closed_cleanly

    @property
    def waits_for_storage(self) -> bool:
        """Tell whether its head reaches no good replica of some part of the volume."""
        return self.attachment is not None and self.mirror.volume.waiting_since is not None

    def is_unchanged(self) -> bool:
        """Tell whether all is as it was when this step looked; under the write lock.

        An attach that has begun since then may have chosen among these replicas already.
        """
        attachments = Attachment.objects.filter(volume=self.group)
        changing = attachments.exclude(state=Attachment.State.BOUND)
        return tuple(rows.of_mirror(self.mirror.pk)) == self.replicas and not changing.exists()


def read(job: Job) -> Situation | None:
    """Read what a rebuild is about; None once its volume is gone or broken."""
    mirror = Mirror.objects.select_related("volume").filter(pk=job.mirror_id or 0).first()
    group = LogicalVolume.objects.filter(pk=job.volume_id or 0).first()
    if mirror is None or group is None or mirror.volume.broken:
        return None
    attachment = Attachment.objects.filter(volume=group).select_related("volume").first()
    return Situation(job, mirror, group, attachment, tuple(rows.of_mirror(mirror.pk)))
