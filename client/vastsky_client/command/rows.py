"""What `--json` prints: the API's structs, with the names of servers beside their ids."""

from collections.abc import Iterable
from typing import Any, TypedDict

from vastsky_client.api import structs
from vastsky_client.command.names import Names


class VolumeRow(structs.Volume):
    """A volume."""

    hsvrname: str


class HeadRow(structs.Head):
    """A head server."""

    hsvrname: str


class StorageRow(structs.Storage):
    """A storage server."""

    ssvrname: str


class DiskRow(structs.Disk):
    """A disk."""

    ssvrname: str


class JobRow(structs.Job):
    """A job."""

    ssvrname: str


class ServerRow(TypedDict):
    """A server of either kind: the id of the other is 0."""

    hsvrid: int
    ssvrid: int
    name: str
    host_name: str
    version: str
    priority: int
    resync: int
    ip_data: list[str]


class Id(TypedDict):
    """What was made."""

    lvolid: int
    lvolname: str


class Secret(TypedDict):
    """A token that was made."""

    name: str
    token: str


class Backup(TypedDict):
    """When the last backup of the database was written."""

    backed_up: str


class Resumed(TypedDict):
    """How many servers may register again."""

    servers: int


def structs_of(found: Iterable[Any]) -> list[dict[str, Any]]:
    """Take typed structs for what they are on the wire, where a key is computed."""
    return [dict(row) for row in found]


def named(names: Names, found: Iterable[Any]) -> list[Any]:
    """Put the name of the server beside each id of one."""
    return [_named(names, dict(row)) for row in found]


def _named(names: Names, row: dict[str, Any]) -> dict[str, Any]:
    for kind in ("hsvrid", "ssvrid"):
        if kind in row:
            row[f"{kind[:4]}name"] = names.of(kind, row[kind])
    return row
