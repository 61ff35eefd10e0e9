"""Find out which replicas of a detached volume are the newest, after an end that was not clean."""

from agents.protocol import Reason
from inventory.errors import HostDown
from inventory.write_lock import write_lock
from volumes.attach import assemble
from volumes.models import Attachment, LogicalVolume, Replica
from volumes.replicas import rows, states


def examine(eventid: int, volume_id: int) -> str:
    """Read the marks of all good replicas of a group; "" once it is known which are the newest.

    Then the end is as good as clean: event counts are recorded, and stale replicas are out.
    Replicas may still differ in unfinished writes; their marks tell the next head. Else the reason.
    """
    volume = LogicalVolume.objects.get(pk=volume_id)
    replicas = rows.of_group(volume.pk)
    try:
        found, _ = assemble.prepare(eventid, volume, replicas, clean=False)
    except HostDown as refusal:
        return str(refusal)
    with write_lock():
        unchanged = LogicalVolume.objects.filter(pk=volume.pk, epoch=volume.epoch)
        if Attachment.objects.filter(volume=volume).exists() or not unchanged.exists():
            return "the volume was attached meanwhile"
        states.mark_out_of_sync(found.out_of_sync(Reason.STALE), Reason.STALE)
        for events in {newest.events for newest in found.mirrors.values()}:
            taken = [
                replica.dextid
                for newest in found.mirrors.values()
                if newest.events == events
                for replica in newest.taken
            ]
            Replica.objects.filter(pk__in=taken).update(events=events)
        unchanged.update(closed_cleanly=True)
    return ""
