"""The methods about volumes and snapshots."""

# mypy: disable-error-code="no-any-return"
# What a manager answers is what docs/api.md says; nothing is gained by saying so at every line.

from vastsky_client.api.method_group import Calls
from vastsky_client.api.structs import (
    Capacity,
    FailurePlan,
    Node,
    Sample,
    UnequalBlock,
    Volume,
    VolumePlan,
    Waiting,
)


class VolumeCalls(Calls):
    """Create, delete, attach, list, compare. lvolid or lvolname names a volume."""

    def create_logical_volume(
        self,
        *,
        lvolname: str,
        capacity: int,
        redundancy: int = 3,
        tags: str = "",
        converge: int = 0,
    ) -> int:
        """Create a volume of capacity GB; its lvolid."""
        return self._call(
            "createLogicalVolume",
            lvolname=lvolname,
            capacity=capacity,
            redundancy=redundancy,
            tags=tags,
            converge=converge,
        )

    def create_snapshot(
        self,
        *,
        snapshot_lvolname: str,
        origin_lvolid: int = 0,
        origin_lvolname: str = "",
        converge: int = 0,
    ) -> int:
        """Take a snapshot of a volume; its lvolid."""
        return self._call(
            "createSnapshot",
            snapshot_lvolname=snapshot_lvolname,
            origin_lvolid=origin_lvolid,
            origin_lvolname=origin_lvolname,
            converge=converge,
        )

    def delete_logical_volume(
        self, *, lvolid: int = 0, lvolname: str = "", converge: int = 0
    ) -> None:
        """Delete a volume that is not attached and has no snapshots, or a snapshot."""
        self._call("deleteLogicalVolume", lvolid=lvolid, lvolname=lvolname, converge=converge)

    def attach_logical_volume(
        self,
        *,
        hsvrid: int = 0,
        hsvrname: str = "",
        lvolid: int = 0,
        lvolname: str = "",
        converge: int = 0,
    ) -> None:
        """Attach a volume with its snapshots to a head; it can be used when this returns."""
        self._call(
            "attachLogicalVolume",
            hsvrid=hsvrid,
            hsvrname=hsvrname,
            lvolid=lvolid,
            lvolname=lvolname,
            converge=converge,
        )

    def detach_logical_volume(
        self, *, lvolid: int = 0, lvolname: str = "", converge: int = 0
    ) -> None:
        """Detach a volume with its snapshots; nobody can write to it when this returns."""
        self._call("detachLogicalVolume", lvolid=lvolid, lvolname=lvolname, converge=converge)

    def force_attach(self, *, hsvrid: int, lvolid: int = 0, lvolname: str = "") -> None:
        """Attach although a replica that cannot be read might be the newest."""
        self._call("vastsky.forceAttach", hsvrid=hsvrid, lvolid=lvolid, lvolname=lvolname)

    def samples(
        self,
        *,
        lvolid: int = 0,
        hsvrid: int = 0,
        ssvrid: int = 0,
        pdskid: int = 0,
        span: str = "hour",
    ) -> list[Sample]:
        """Tell what was asked of a volume, server, disk or the cluster: vastsky.samples."""
        return self._call(
            "vastsky.samples",
            lvolid=lvolid,
            hsvrid=hsvrid,
            ssvrid=ssvrid,
            pdskid=pdskid,
            span=span,
        )

    def list_logical_volumes(
        self, *, lvolid: int = 0, lvolname: str = "", after: int = 0, limit: int = 0
    ) -> list[Volume]:
        """List one volume, or all."""
        return self._call(
            "listLogicalVolumes", lvolid=lvolid, lvolname=lvolname, after=after, limit=limit
        )

    def show_logical_volume(self, *, lvolid: int = 0, lvolname: str = "") -> Node:
        """Show the tree of nodes of which a volume consists."""
        return self._call("showLogicalVolume", lvolid=lvolid, lvolname=lvolname)

    def list_waiting(self, *, after: int = 0, limit: int = 0) -> list[Waiting]:
        """List the volumes that wait for storage, longest first; pages by their lvolids."""
        return self._call("vastsky.listWaiting", after=after, limit=limit)

    def plan_volume(self, *, capacity: int, redundancy: int = 3, tags: str = "") -> VolumePlan:
        """Tell where a volume would lie if it were created now."""
        return self._call("vastsky.planVolume", capacity=capacity, redundancy=redundancy, tags=tags)

    def plan_failure(
        self, *, hsvrid: int = 0, ssvrid: int = 0, pdskid: int = 0, site: str = "", rack: str = ""
    ) -> FailurePlan:
        """Tell what would be lost, cut off, or built anew if a server, disk, rack or site died."""
        if site or rack:
            return self._call("vastsky.planFailure", site=site, rack=rack)
        return self._call("vastsky.planFailure", hsvrid=hsvrid, ssvrid=ssvrid, pdskid=pdskid)

    def capacity(self, *, redundancy: int = 3, tags: str = "") -> Capacity:
        """Tell the room of each failure domain, and the largest volume that has a place now."""
        return self._call("vastsky.capacity", redundancy=redundancy, tags=tags)

    def scrub_volume(self, *, lvolid: int = 0, lvolname: str = "") -> int:
        """Compare all replicas of a volume soon; the eventid of (the last of) its scrubs."""
        return self._call("vastsky.scrubVolume", lvolid=lvolid, lvolname=lvolname)

    def pause_scrubs(self) -> None:
        """Compare nothing in the whole cluster until scrubs are resumed."""
        self._call("vastsky.pauseScrubs")

    def resume_scrubs(self) -> None:
        """Let scrubs go on in the whole cluster."""
        self._call("vastsky.resumeScrubs")

    def list_unequal_blocks(self, *, after: int = 0, limit: int = 0) -> list[UnequalBlock]:
        """List what differs between replicas now."""
        return self._call("vastsky.listUnequalBlocks", after=after, limit=limit)

    def mend_block(self, *, blockid: int, dextid: int) -> int:
        """Give the other replicas what this one has; the eventid."""
        return self._call("vastsky.mendBlock", blockid=blockid, dextid=dextid)
