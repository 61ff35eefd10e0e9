"""The methods by which nodes register; a signature is the method's wire contract."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from inventory import registration
from inventory.errors import Invalid
from inventory.server_rpc import parse_addresses
from volumes.repair import restarts


def register_head_server(
    *,
    ip_data: list[str | int],
    node_uuid: Annotated[str, 64] = "",
    hsvrid: int = 0,
    boot_id: Annotated[str, 128] = "",
    started: Annotated[str, 128] = "",
    site: Annotated[str, 64] = "",
    rack: Annotated[str, 64] = "",
    host_name: Annotated[str, 64] = "",
    version: Annotated[str, 64] = "",
) -> int:
    """Register a head server and return its id; EEXIST when it is up already.

    An agent that sends the boot_id it registered with before is known again and gets its id.
    One that sends who it is (node_uuid) is known at any address, and after any start; hsvrid is
    the id that it had. EEXIST is then for a copy, or for addresses at which another server is.
    EAGAIN after shutdownAll, until the agent is started anew (started) or vastsky.resume is called.
    """
    return restarts.register(
        partial(
            registration.register_head,
            addresses=parse_addresses(ip_data),
            node_uuid=node_uuid,
            number=_number(hsvrid),
            boot_id=boot_id,
            started=started,
            site=site,
            rack=rack,
            host_name=host_name,
            version=version,
        )
    ).pk


def register_storage_server(
    *,
    ip_data: list[str | int],
    node_uuid: Annotated[str, 64] = "",
    ssvrid: int = 0,
    boot_id: Annotated[str, 128] = "",
    started: Annotated[str, 128] = "",
    site: Annotated[str, 64] = "",
    rack: Annotated[str, 64] = "",
    host_name: Annotated[str, 64] = "",
    version: Annotated[str, 64] = "",
    iscsi_port: int = 0,
    data_port: int = 0,
) -> int:
    """Register a storage server and return its id; EEXIST when it is up already.

    An agent that sends the boot_id it registered with before is known again and gets its id.
    One that sends who it is (node_uuid) is known at any address, and after any start; ssvrid is
    the id that it had. EEXIST is then for a copy, or for addresses at which another server is.
    EAGAIN after shutdownAll, until the agent is started anew (started) or vastsky.resume is called.
    iscsi_port is of a server whose kernel exports extents; 0: it serves them by NBD only, at
    data_port; heads measure how far that is.
    """
    return restarts.register(
        partial(
            registration.register_storage,
            addresses=parse_addresses(ip_data),
            node_uuid=node_uuid,
            number=_number(ssvrid),
            boot_id=boot_id,
            started=started,
            site=site,
            rack=rack,
            host_name=host_name,
            version=version,
            iscsi_port=iscsi_port,
            data_port=data_port,
        )
    ).pk


def _number(told: int) -> int:
    if told < 0:
        raise Invalid(f"an id is 1 or more, not {told}; 0: none")
    return told


PROCEDURES: dict[str, Callable[..., Any]] = {
    "registerHeadServer": register_head_server,
    "registerStorageServer": register_storage_server,
}
