"""The nouns server and disk."""

from argparse import Namespace
from typing import Any

from vastsky_client import operands
from vastsky_client.command import json_rows, text_cells, words
from vastsky_client.command.server_names import KINDS_OF, written
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument, Column, Command, Noun

HEAD, STORAGE, DISK = 1, 2, 3
"""The wire's targets of a failure."""
TOLD = ("name", "host_name", "version")
TARGETS = {"hsvrid": HEAD, "ssvrid": STORAGE, "pdskid": DISK}


def list_servers(session: Session, given: Namespace) -> list[Any]:
    """List servers of one kind, or of both."""
    manager, kinds = session.manager, KINDS_OF[given.kind]
    found: list[Any] = []
    if "hsvrid" in kinds:
        found += _servers(session, "hsvrid", manager.list_head_servers())
    if "ssvrid" in kinds:
        found += _servers(session, "ssvrid", manager.list_storage_servers())
    return found


def _servers(session: Session, kind: str, found: Any) -> list[Any]:
    nodes = json_rows.structs_of(session.names.nodes(kind))
    about = {node[kind]: node for node in nodes}
    return [
        {
            "hsvrid": 0,
            "ssvrid": 0,
            kind: row[kind],
            **{key: about.get(row[kind], {}).get(key, "") for key in TOLD},
            **{key: row[key] for key in ("priority", "resync", "ip_data")},
        }
        for row in found
    ]


def list_disks(session: Session, given: Namespace) -> list[Any]:
    """List the disks of one server, or all."""
    where = session.names.server(given.server, ["ssvrid"]) if given.server else {}
    return list(json_rows.named(session.names, session.manager.list_physical_disks(**where)))


def _which(session: Session, given: Namespace) -> dict[str, int]:
    return session.names.server(given.server, KINDS_OF[given.kind])


def rename(session: Session, given: Namespace) -> None:
    """Call a server otherwise."""
    session.manager.rename_server(name=given.name, **_which(session, given))


def move(session: Session, given: Namespace) -> None:
    """Look for a server at other addresses."""
    session.manager.move_server(ip_data=given.address, **_which(session, given))


def forget_node(session: Session, given: Namespace) -> None:
    """Let another node be this server."""
    session.manager.forget_node(**_which(session, given))


def delete_server(session: Session, given: Namespace) -> None:
    """Forget a server."""
    which = _which(session, given)
    if "hsvrid" in which:
        session.manager.delete_head_server(**which)
    else:
        session.manager.delete_storage_server(**which)


def fail_server(session: Session, given: Namespace) -> None:
    """Declare a server failed."""
    _fail(session, _which(session, given), given.reason)


def fail_disk(session: Session, given: Namespace) -> None:
    """Declare a disk failed."""
    _fail(session, session.names.disk(given.disk), given.reason)


def _fail(session: Session, which: dict[str, int], reason: str) -> None:
    ((kind, number),) = which.items()
    session.manager.notify_failure(target=TARGETS[kind], targetid=number, reason=reason)


def delete_disk(session: Session, given: Namespace) -> None:
    """Forget a disk."""
    session.manager.delete_physical_disk(**session.names.disk(given.disk))


def bad_blocks(session: Session, given: Namespace) -> None:
    """Take blocks of a disk out of use."""
    session.manager.notify_bad_blocks(blocks=given.block, **session.names.disk(given.disk))


NEW_NAME = Argument("NAME", 'up to 64 of -._a-zA-Z0-9; "": as its host is called')
ADDRESS = Argument("ADDRESS", "one or two IPv4 addresses", operands.name, many=True)
BLOCK = Argument("BLOCK", "the number of a bad block of 1 GiB", operands.whole_number, many=True)
REASON = Argument("--reason", "why, for the audit log", default="")

SERVER = Noun(
    "server",
    "head servers and storage servers",
    (
        Command(
            "server", "list", "List servers.", "server list --kind storage", list_servers,
            (words.KIND,), returns=list[json_rows.PrintedServer],
            columns=(
                Column("NAME", lambda row: row["name"] or "-"),
                Column("ID", lambda row: written(
                    *(("hsvrid", row["hsvrid"]) if row["hsvrid"] else ("ssvrid", row["ssvrid"]))
                )),
                Column("STATE", text_cells.priority),
                Column("REBUILDS", lambda row: row["resync"], right=True),
                Column("RELEASE", lambda row: row["version"] or "-"),
                Column("ADDRESSES", lambda row: " ".join(dict.fromkeys(row["ip_data"]))),
            ),
            methods=("listHeadServers", "listStorageServers", "vastsky.listNodes"),
        ),
        Command(
            "server", "rename", "Call a server otherwise.", "server rename ssvr-00000002 rack-2-b",
            rename, (words.SERVER, NEW_NAME, words.KIND), methods=("vastsky.renameServer",),
        ),
        Command(
            "server", "move", "Look for a server at other addresses from now on.",
            "server move node-1 10.1.0.7 10.2.0.7", move, (words.SERVER, ADDRESS, words.KIND),
            methods=("vastsky.moveServer",),
        ),
        Command(
            "server", "forget-node",
            "Let whichever node registers next at a server's addresses be this server.",
            "server forget-node node-1", forget_node, (words.SERVER, words.KIND),
            methods=("vastsky.forgetNode",),
        ),
        Command(
            "server", "fail", "Declare a server failed: what it held is replaced at once.",
            "server fail node-1 --reason burnt", fail_server,
            (words.SERVER, REASON, words.KIND), methods=("notifyFailure",),
        ),
        Command(
            "server", "delete", "Forget a server that is OFFLINE or FAULTY, with its disks.",
            "server delete node-1", delete_server, (words.SERVER, words.KIND),
            methods=("deleteHeadServer", "deleteStorageServer"),
        ),
    ),
)  # fmt: skip

DISK_NOUN = Noun(
    "disk",
    "disks of storage servers",
    (
        Command(
            "disk", "list", "List disks, of all storage servers or of one.", "disk list node-1",
            list_disks, (words.maybe(words.STORAGE),), returns=list[json_rows.PrintedDisk],
            columns=(
                Column("SERVER", text_cells.server),
                Column("PATH", lambda row: row["local_path"]),
                Column("ID", lambda row: written("pdskid", row["pdskid"])),
                Column("STATE", text_cells.priority),
                Column("REBUILDS", lambda row: row["resync"], right=True),
                Column("CAPACITY", lambda row: text_cells.gb(row["capacity"]), right=True),
                Column("AVAILABLE", lambda row: text_cells.gb(row["available"]), right=True),
                Column("USED", text_cells.used, right=True),
            ),
            methods=("listPhysicalDisks",),
        ),
        Command(
            "disk", "fail", "Declare a disk failed: what it held is replaced at once.",
            "disk fail pdsk-0000000a", fail_disk, (words.DISK, REASON),
            methods=("notifyFailure",),
        ),
        Command(
            "disk", "bad-blocks", "Take blocks of 1 GiB of a disk out of use.",
            "disk bad-blocks pdsk-0000000a 17 18", bad_blocks, (words.DISK, BLOCK),
            methods=("notifyBadBlocks",),
        ),
        Command(
            "disk", "delete", "Forget a disk that is OFFLINE or FAULTY.",
            "disk delete pdsk-0000000a", delete_disk, (words.DISK,),
            methods=("deletePhysicalDisk",),
        ),
    ),
)  # fmt: skip
