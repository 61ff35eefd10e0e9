"""The methods by which nodes and monitors tell the manager of themselves."""

# mypy: disable-error-code="no-any-return"
# As in volume_calls.

from vastsky_client.api.method_group import Calls
from vastsky_client.api.structs import ReplicaStatus


class NodeCalls(Calls):
    """Register servers and disks, report failures and ends of work."""

    def register_head_server(
        self,
        *,
        ip_data: list[str | int],
        node_uuid: str = "",
        hsvrid: int = 0,
        boot_id: str = "",
        started: str = "",
        site: str = "",
        rack: str = "",
        host_name: str = "",
        version: str = "",
    ) -> int:
        """Register a head server; its hsvrid."""
        return self._call(
            "registerHeadServer",
            ip_data=ip_data,
            node_uuid=node_uuid,
            hsvrid=hsvrid,
            boot_id=boot_id,
            started=started,
            site=site,
            rack=rack,
            host_name=host_name,
            version=version,
        )

    def register_storage_server(
        self,
        *,
        ip_data: list[str | int],
        node_uuid: str = "",
        ssvrid: int = 0,
        boot_id: str = "",
        started: str = "",
        site: str = "",
        rack: str = "",
        host_name: str = "",
        version: str = "",
        iscsi_port: int = 0,
        data_port: int = 0,
    ) -> int:
        """Register a storage server; its ssvrid."""
        return self._call(
            "registerStorageServer",
            ip_data=ip_data,
            node_uuid=node_uuid,
            ssvrid=ssvrid,
            boot_id=boot_id,
            started=started,
            site=site,
            rack=rack,
            host_name=host_name,
            version=version,
            iscsi_port=iscsi_port,
            data_port=data_port,
        )

    def register_physical_disk(
        self,
        *,
        ssvrid: int,
        local_path: str,
        capacity: str,
        disk_uuid: str = "",
        tags: str = "",
        generation: int = 0,
        copied: int = 0,
    ) -> int:
        """Register a disk of capacity sectors, a decimal text; its pdskid."""
        return self._call(
            "registerPhysicalDisk",
            ssvrid=ssvrid,
            local_path=local_path,
            capacity=capacity,
            disk_uuid=disk_uuid,
            tags=tags,
            generation=generation,
            copied=copied,
        )

    def notify_failure(self, *, target: int, targetid: int, reason: str = "") -> None:
        """Tell that a head (1), storage server (2), disk (3) or extent (4) failed."""
        self._call("notifyFailure", target=target, targetid=targetid, reason=reason)

    def notify_bad_blocks(self, *, pdskid: int, blocks: list[int]) -> None:
        """Tell that these 1 GB blocks of a disk are bad."""
        self._call("notifyBadBlocks", pdskid=pdskid, blocks=blocks)

    def notify_shred_finished(self, *, dextid: int, eventid: int = 0) -> None:
        """Tell that an extent was zeroed."""
        self._call("notifyShredFinished", dextid=dextid, eventid=eventid)

    def notify_rebuild_mirror_finished(
        self, *, mirrorid: int, dexts: list[ReplicaStatus], eventid: int = 0
    ) -> None:
        """Tell that replicas of a mirror are in sync."""
        self._call("notifyRebuildMirrorFinished", mirrorid=mirrorid, dexts=dexts, eventid=eventid)
