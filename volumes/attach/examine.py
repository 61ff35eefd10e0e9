"""Find out which replicas of a detached volume are the newest, after an end that was not clean."""

from itertools import chain

from agents.protocol import Reason
from inventory.errors import HostDown
from inventory.write_lock import write_lock
from volumes.attach import assemble, exports
from volumes.models import Attachment, LogicalVolume, Replica
from volumes.replicas import rows, states


def examine(eventid: int, volume_id: int) -> str:
    """Read the marks of all good replicas of a group; "" once it is known which are the newest.

    Then the end is as good as clean: event counts are recorded, and stale replicas are out.
    Replicas may still differ in unfinished writes; their marks tell the next head. Else the reason.
    """
    volume = LogicalVolume.objects.get(pk=volume_id)
    found = rows.of_group(volume.pk)
    exported = exports.export(eventid, volume.pk, volume.epoch, [c for c in found if c.alive])
    try:
        chosen = assemble.choose(found, exported, clean=False, force=False)
    except HostDown as refusal:
        return str(refusal)
    with write_lock():
        unchanged = LogicalVolume.objects.filter(pk=volume.pk, epoch=volume.epoch)
        if Attachment.objects.filter(volume=volume).exists() or not unchanged.exists():
            return "the volume was attached meanwhile"
        states.mark_out_of_sync(
            list(chain.from_iterable(c.out_of_sync for c in chosen.values())), Reason.STALE
        )
        for events in {choice.events for choice in chosen.values()}:
            taken = [c.dextid for ch in chosen.values() if ch.events == events for c in ch.taken]
            Replica.objects.filter(pk__in=taken).update(events=events)
        unchanged.update(closed_cleanly=True)
    return ""
