"""What `--json` prints: the API's structs, with the names of servers beside their ids."""

from collections.abc import Iterable
from typing import Any, TypedDict

from vastsky_client.api import structs
from vastsky_client.command.server_names import Names


class PrintedVolume(structs.Volume):
    """A volume."""

    hsvrname: str


class PrintedDisk(structs.Disk):
    """A disk."""

    ssvrname: str


class PrintedJob(structs.Job):
    """A job; `about` is its subject with names in place of ids."""

    ssvrname: str
    about: str


class PrintedEvent(structs.EventEntry):
    """Something that happened; `about` is its cause with names in place of ids."""

    about: str


class PrintedReplica(structs.PlannedReplica):
    """Where a replica would lie."""

    ssvrname: str


class PrintedMirror(TypedDict):
    """A mirror of a volume that might be created."""

    capacity: int
    replicas: list[PrintedReplica]


class PrintedPlan(TypedDict):
    """Where a volume would lie."""

    mirrors: list[PrintedMirror]


class PrintedContent(structs.Content):
    """What one replica has where replicas differ."""

    ssvrname: str


class PrintedBlock(TypedDict):
    """What differs between replicas."""

    blockid: int
    eventid: int
    lvolid: int
    lvolname: str
    mirrorid: int
    offset: str
    length: int
    source: int
    contents: list[PrintedContent]


class PrintedServer(TypedDict):
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


class SigningSecret(TypedDict):
    """A webhook that was added, and what its messages are signed with."""

    name: str
    secret: str


class Backup(TypedDict):
    """When the last backup of the database was written."""

    backed_up: str


class Resumed(TypedDict):
    """How many servers may register again."""

    servers: int


def structs_of(found: Iterable[Any]) -> list[dict[str, Any]]:
    """Take typed structs for what they are on the wire, where a key is computed."""
    return [dict(row) for row in found]


def named(names: Names, value: Any) -> Any:
    """Put the name of the server beside each id of one, and into what jobs and events say."""
    if isinstance(value, list):
        return [named(names, one) for one in value]
    if not isinstance(value, dict):
        return value
    row = {key: named(names, member) for key, member in value.items()}
    for kind in ("hsvrid", "ssvrid"):
        if kind in row:
            row[f"{kind[:4]}name"] = names.of(kind, row[kind])
    for text in ("subject", "cause"):
        if text in row:
            row["about"] = names.without_ids(row[text])
    return row
