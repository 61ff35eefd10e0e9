"""The methods of the API about servers and disks; a signature is the method's wire contract."""

from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Annotated, Any

from django.conf import settings

from inventory import names, recovery, registration, servers
from inventory.disks import Copied
from inventory.errors import Invalid
from inventory.pages import parse_limit


def delete_physical_disk(*, pdskid: int) -> None:
    """Delete a disk; EBUSY unless it is OFFLINE or FAULTY and no volume has a replica on it."""
    servers.delete_disk(pdskid)


def delete_head_server(*, hsvrid: int) -> None:
    """Delete a head server; EBUSY unless it is OFFLINE or FAULTY."""
    servers.delete_head(hsvrid)


def delete_storage_server(*, ssvrid: int) -> None:
    """Delete a storage server and its disks; EBUSY unless it is OFFLINE or FAULTY."""
    servers.delete_storage(ssvrid)


def cluster_info() -> dict[str, Any]:
    """Return the cluster's uuid and incarnation, which agents write on disks and compare.

    `recovery` tells why the cluster is in recovery mode, "" while it is not; `reasons` all that was
    noticed. `version` is the manager's release, `agents` counts agents by theirs: "" is older.
    `tells_nodes_apart`: a node that says who it is never has to report its own restart.
    `backed_up` is when the last backup was written, in UTC.
    """
    cluster = servers.cluster()
    return {
        "cluster": str(cluster.uuid),
        "incarnation": cluster.incarnation,
        "recovery": cluster.recovery,
        "tells_nodes_apart": True,
        "reasons": recovery.reasons(),
        "version": settings.VASTSKY_RELEASE,
        "backed_up": f"{cluster.backed_up:%Y-%m-%dT%H:%M:%SZ}",
        "agents": [
            {"version": version, "count": count}
            for version, count in sorted(names.count_versions().items())
        ],
    }


def list_nodes(*, after: Annotated[str, 64] = "", limit: int = 0) -> list[dict[str, Any]]:
    """Return the names of all servers, of their hosts, and the releases of their agents.

    limit of them, beyond the one whose `id` is after.
    """
    return [
        {
            "id": str(row),
            f"{kind[0]}svrid": row.pk,
            "name": row.name,
            "host_name": row.host_name,
            "version": row.version,
        }
        for kind, row in names.everyone(after, parse_limit(limit))
    ]


NOWHERE = IPv4Network("0.0.0.0/8")
"""No server is there: whoever registers such an address has sent a small number, an id."""


def parse_addresses(ip_data: list[str | int]) -> list[str]:
    """Read one or two IPv4 addresses, dotted or as signed 32-bit integers."""
    if not 1 <= len(ip_data) <= registration.NETWORKS:
        raise Invalid(f"ip_data has one or two addresses, not {len(ip_data)}")
    return list(dict.fromkeys(_parse_address(address) for address in ip_data))


def _parse_address(address: str | int) -> str:
    try:
        # XML-RPC's int is signed: the upper half of the addresses arrives as negative numbers.
        parsed = IPv4Address(address & 0xFFFFFFFF if isinstance(address, int) else address)
    except AddressValueError:
        raise Invalid("ip_data holds something that is no IPv4 address") from None
    if parsed in NOWHERE or parsed.is_multicast or parsed.is_reserved:
        raise Invalid(f"{parsed} is no address of a server")
    return str(parsed)


def parse_sectors(capacity: str) -> int:
    """Read a decimal number of sectors."""
    if not (capacity.isascii() and capacity.isdigit()) or len(capacity) > len(str(1 << 63)):
        raise Invalid("capacity is a decimal string of 512-byte sectors, at most 2**63")
    return int(capacity)


def parse_path(local_path: str) -> str:
    """Refuse a path that could not be shown on a line of its own."""
    if not local_path or not local_path.isprintable():
        raise Invalid("local_path is the printable name of a device")
    return local_path


def parse_copied(copied: int) -> Copied:
    """Refuse what is no answer to whether a disk is a copy."""
    if not 0 <= copied <= max(Copied):
        raise Invalid(f"copied is 0 to 2, not {copied}")
    return Copied(copied)


PROCEDURES: dict[str, Callable[..., Any]] = {
    "deletePhysicalDisk": delete_physical_disk,
    "deleteHeadServer": delete_head_server,
    "deleteStorageServer": delete_storage_server,
    "vastsky.clusterInfo": cluster_info,
    "vastsky.listNodes": list_nodes,
}
