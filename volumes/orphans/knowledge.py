"""What the database knows of volumes that nodes speak of."""

from collections.abc import Iterable

from inventory import ids, recovery
from volumes.models import LogicalVolume
from volumes.orphans.standing import Known


def of(lvolids: Iterable[int]) -> Known:
    """Read what is known of these volumes; after the nodes were asked, never before."""
    epochs = LogicalVolume.objects.filter(pk__in=set(lvolids)).values_list("pk", "epoch")
    return Known(dict(epochs), ids.next_of("volume"), recovery.gaps("volume"))
