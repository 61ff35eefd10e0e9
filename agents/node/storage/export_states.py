"""What a storage agent tells of the exports that it serves."""

from collections.abc import Iterable

from agents.engines.base import Lease, LeaseUse
from agents.node.storage.disks import Disks
from agents.node.storage.labelled_disk import OpenDisk
from agents.ondisk import GB
from agents.protocol import ExportState


class ExportStates:
    """Reads a descriptor until it is there, and then does not look again."""

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self._described: set[str] = set()

    def tell(self, uses: Iterable[LeaseUse]) -> tuple[ExportState, ...]:
        """Tell what is exported to whom, and whether its disk describes it."""
        by_path = {disk.config.path: disk for disk in self._disks}
        states = {use.lease.name: self._state(use, by_path.get(use.lease.path)) for use in uses}
        self._described = {name for name, state in states.items() if state.described}
        return tuple(states.values())

    def _state(self, use: LeaseUse, disk: OpenDisk | None) -> ExportState:
        lease = use.lease
        return ExportState(
            lease.dextid,
            lease.lvolid,
            lease.epoch,
            use.clients,
            disk.uuid if disk else "",
            described=lease.name in self._described or _is_described(lease, disk),
        )


def _is_described(lease: Lease, disk: OpenDisk | None) -> bool:
    """Look at the disk; where that is not possible, nobody could write there either.

    The disk that is at the lease's path by now may be another one, which was put there: only where
    this epoch's head has its mark, and no descriptor is beside it, did an older agent export it.
    """
    if disk is None or disk.error or disk.refusal:
        return True
    place, offset_gb = disk.super_extent, lease.offset // GB
    try:
        marked = place.read_mark(lease.dextid, offset_gb).epoch == lease.epoch
        return not marked or place.read_descriptor(offset_gb) is not None
    except OSError:
        return True
