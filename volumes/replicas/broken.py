"""Snapshots that are broken: their stores lack what their origins have overwritten."""

from collections.abc import Collection, Mapping
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from inventory import audit
from inventory.audit import Action
from volumes.models import Attachment, Job, LogicalVolume, Replica

ON_THE_WAY = Job.objects.filter(
    kind__in=[Job.Kind.SNAPSHOT, Job.Kind.UNSNAPSHOT],
    state=Job.State.OPEN,
    snapshot=OuterRef("pk"),
)
"""Matches snapshots that are just being shown on a head, or taken away from it."""


def break_snapshots(which: Q, cause: str) -> list[int]:
    """Record that snapshots are broken, and the first cause; in a transaction. Those that were not.

    It is for ever: they read as an error, are never assembled again, and can only be deleted.
    """
    whole = LogicalVolume.objects.filter(which, origin__isnull=False, broken=False)
    found = list(whole.order_by("pk"))
    for snapshot in found:
        audit.record(Action.BREAK_SNAPSHOT, snapshot, f"{snapshot.name}: {cause}")
    lost = [snapshot.pk for snapshot in found]
    LogicalVolume.objects.filter(pk__in=lost).update(broken=True, broken_because=cause[:200])
    return lost


def forgotten(shown: Mapping[int, Collection[int]], before: datetime) -> dict[int, int]:
    """Name the snapshots that heads run their origins without, each with its origin.

    `shown` tells which devices heads have of bound origins. Attachment and snapshot are older than
    `before`: else the head may have been asked too early to know of it.
    """
    settled = Replica.objects.filter(mirror__volume=OuterRef("pk"), since__lt=before)
    expected = LogicalVolume.objects.filter(
        ~Exists(ON_THE_WAY),
        Exists(settled),
        broken=False,
        origin__in=shown,
        origin__attachment__state=Attachment.State.BOUND,
        origin__attachment__since__lt=before,
    )
    found = expected.values_list("pk", "origin")
    return {pk: origin for pk, origin in found if origin and pk not in shown[origin]}
