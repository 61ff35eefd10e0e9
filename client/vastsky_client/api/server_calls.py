"""The methods about servers and disks, and about the cluster as a whole."""

# mypy: disable-error-code="no-any-return"
# As in volume_calls.

from vastsky_client.api.method_group import Calls
from vastsky_client.api.structs import ClusterInfo, Disk, Head, NodeName, Orphan, Storage, Token


class ServerCalls(Calls):
    """List, name, move, delete. hsvrid, ssvrid or pdskid names a place."""

    def list_head_servers(self, *, hsvrid: int = 0, after: int = 0, limit: int = 0) -> list[Head]:
        """List one head server, or all."""
        return self._call("listHeadServers", hsvrid=hsvrid, after=after, limit=limit)

    def list_storage_servers(
        self, *, ssvrid: int = 0, after: int = 0, limit: int = 0
    ) -> list[Storage]:
        """List one storage server, or all."""
        return self._call("listStorageServers", ssvrid=ssvrid, after=after, limit=limit)

    def list_physical_disks(self, *, ssvrid: int = 0, after: int = 0, limit: int = 0) -> list[Disk]:
        """List the disks of one storage server, or all."""
        return self._call("listPhysicalDisks", ssvrid=ssvrid, after=after, limit=limit)

    def list_nodes(self, *, after: str = "", limit: int = 0) -> list[NodeName]:
        """List the names of all servers, and the releases of their agents."""
        return self._call("vastsky.listNodes", after=after, limit=limit)

    def list_orphans(self, *, after: int = 0, limit: int = 0) -> list[Orphan]:
        """List what nodes hold that the database does not understand, 500 at a time."""
        return self._call("vastsky.listOrphans", after=after, limit=limit)

    def delete_head_server(self, *, hsvrid: int) -> None:
        """Forget a head server that is OFFLINE or FAULTY."""
        self._call("deleteHeadServer", hsvrid=hsvrid)

    def delete_storage_server(self, *, ssvrid: int) -> None:
        """Forget a storage server that is OFFLINE or FAULTY, with its disks."""
        self._call("deleteStorageServer", ssvrid=ssvrid)

    def delete_physical_disk(self, *, pdskid: int) -> None:
        """Forget a disk that is OFFLINE or FAULTY."""
        self._call("deletePhysicalDisk", pdskid=pdskid)

    def rename_server(self, *, name: str, hsvrid: int = 0, ssvrid: int = 0) -> None:
        """Call a server otherwise; "" for what its host is called."""
        self._call("vastsky.renameServer", name=name, hsvrid=hsvrid, ssvrid=ssvrid)

    def move_server(self, *, ip_data: list[str | int], hsvrid: int = 0, ssvrid: int = 0) -> None:
        """Look for a server at other addresses from now on."""
        self._call("vastsky.moveServer", ip_data=ip_data, hsvrid=hsvrid, ssvrid=ssvrid)

    def forget_node(self, *, hsvrid: int = 0, ssvrid: int = 0) -> None:
        """Let whichever node registers next at a server's addresses be this server."""
        self._call("vastsky.forgetNode", hsvrid=hsvrid, ssvrid=ssvrid)

    def shutdown_all(self) -> None:
        """Take every server out of service; nothing may be attached."""
        self._call("shutdownAll")

    def resume(self) -> int:
        """Let servers register again that were shut down; how many."""
        return self._call("vastsky.resume")

    def cluster_info(self) -> ClusterInfo:
        """Tell who the cluster is, whether it is in recovery mode, and which releases run."""
        return self._call("vastsky.clusterInfo")

    def list_tokens(self, *, after: str = "", limit: int = 0) -> list[Token]:
        """List all tokens that were ever made."""
        return self._call("vastsky.listTokens", after=after, limit=limit)

    def create_token(self, *, name: str, role: str, hsvrid: int = 0, ssvrid: int = 0) -> str:
        """Make a token and give it, which nobody can see again."""
        return self._call("vastsky.createToken", name=name, role=role, hsvrid=hsvrid, ssvrid=ssvrid)

    def revoke_token(self, *, name: str) -> None:
        """Refuse a token from its next call on."""
        self._call("vastsky.revokeToken", name=name)
