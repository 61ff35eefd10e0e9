"""The nouns volume and snapshot."""

from argparse import Namespace
from typing import Any

from vastsky_client import trees
from vastsky_client.api import structs
from vastsky_client.command import json_rows, text_cells, words
from vastsky_client.command.server_names import written
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument, Column, Command, Noun

SPAN = Argument("--span", "how far back", choices=("hour", "day", "month", "year"), default="hour")
COLUMNS = (
    Column("NAME", lambda row: row["lvolname"]),
    Column("ID", lambda row: written("lvolid", row["lvolid"])),
    Column("CAPACITY", lambda row: text_cells.gb(row["capacity"]), right=True),
    Column("REPLICAS", lambda row: row["redundancy"], right=True),
    Column("HEAD", text_cells.attachment),
    Column("DEGRADED", lambda row: text_cells.yes(row["fault"])),
    Column("CREATED", lambda row: row["ctime"]),
)


def list_volumes(session: Session, given: Namespace) -> list[Any]:
    """List one volume, or all."""
    which = session.names.volume(given.volume) if given.volume else {}
    return list(json_rows.named(session.names, session.manager.list_logical_volumes(**which)))


def list_samples(session: Session, given: Namespace) -> list[structs.Sample]:
    """Tell what was asked of one volume."""
    (volume,) = session.manager.list_logical_volumes(**session.names.volume(given.volume))
    return session.manager.samples(lvolid=volume["lvolid"], span=given.span)


def list_snapshots(session: Session, given: Namespace) -> list[Any]:
    """List the snapshots of one volume, or all."""
    found = [row for row in session.manager.list_logical_volumes() if row["associated_to"]]
    if given.volume:
        (origin,) = session.manager.list_logical_volumes(**session.names.volume(given.volume))
        found = [row for row in found if row["associated_to"][0]["lvolid"] == origin["lvolid"]]
    return list(json_rows.named(session.names, found))


def show_volume(session: Session, given: Namespace) -> Any:
    """Show the tree of a volume; the replicas' lvolspec has the names of their servers, too."""
    tree = session.manager.show_logical_volume(**session.names.volume(given.volume))
    return json_rows.named(session.names, tree)


def create_volume(session: Session, given: Namespace) -> json_rows.Id:
    """Create a volume."""
    lvolid = session.patiently(
        lambda again: session.manager.create_logical_volume(
            lvolname=given.name,
            capacity=given.gib,
            redundancy=given.redundancy,
            tags=given.tags,
            converge=int(given.converge or again),
        )
    )
    return {"lvolid": lvolid, "lvolname": given.name}


def create_snapshot(session: Session, given: Namespace) -> json_rows.Id:
    """Take a snapshot."""
    of = {f"origin_{key}": value for key, value in session.names.volume(given.volume).items()}
    lvolid = session.patiently(
        lambda again: session.manager.create_snapshot(
            snapshot_lvolname=given.name, converge=int(given.converge or again), **of
        )
    )
    return {"lvolid": lvolid, "lvolname": given.name}


def delete_volume(session: Session, given: Namespace) -> None:
    """Delete a volume or a snapshot."""
    which = session.names.volume(given.volume if "volume" in given else given.snapshot)
    session.patiently(
        lambda again: session.manager.delete_logical_volume(
            **which, converge=int(given.converge or again)
        )
    )


def attach_volume(session: Session, given: Namespace) -> None:
    """Attach a volume."""
    which = session.names.volume(given.volume) | session.names.server(given.head, ["hsvrid"])
    if given.force:
        session.manager.force_attach(**which)
        return
    session.patiently(
        lambda again: session.manager.attach_logical_volume(
            **which, converge=int(given.converge or again)
        )
    )


def detach_volume(session: Session, given: Namespace) -> None:
    """Detach a volume."""
    which = session.names.volume(given.volume)
    session.patiently(
        lambda again: session.manager.detach_logical_volume(
            **which, converge=int(given.converge or again)
        )
    )


def list_waiting(session: Session, _: Namespace) -> list[structs.Waiting]:
    """List the volumes that wait for storage."""
    return session.manager.list_waiting()


def tree(volume: Any) -> str:
    """Show the mirrors of a volume, each with its replicas, and the other volumes of its group."""
    spec, (node,) = volume["lvolspec"], volume["components"]
    stored = f"{text_cells.gb(volume['capacity'])} in {spec['redundancy']} replicas"
    lines = [f"{_name(volume)}, {stored}"]
    offset = 0
    for mirror in node["components"][0]["components"]:
        lines.append(f"  {offset} to {offset + mirror['capacity']} GiB")
        lines += [f"    {_replica(replica)}" for replica in mirror["components"]]
        offset += mirror["capacity"]
    relation = "snapshot of" if node["lvoltype"] == trees.SNAPSHOT else "has the snapshot"
    return "\n".join([*lines, *(f"  {relation} {_name(other)}" for other in spec["assoc"])])


def _replica(replica: Any) -> str:
    spec = replica["lvolspec"]
    state = text_cells.sync(replica["mirror_status"])
    disk = written("pdskid", spec["pdskid"])
    return f"{text_cells.server(spec):24} {disk} at {spec['offset']} GiB  {state}"


def _name(volume: Any) -> str:
    return f"{volume['lvolspec']['lvolname']} ({written('lvolid', volume['lvolid'])})"


def made(row: json_rows.Id) -> str:
    """Show what was made."""
    return written("lvolid", row["lvolid"])


FORCE = Argument(
    "--force", "a replica that cannot be read is not the newest: your word", switch=True
)

VOLUME = Noun(
    "volume",
    "volumes: create, attach, detach, delete",
    (
        Command(
            "volume", "list", "List volumes.", "volume list", list_volumes,
            (words.maybe(words.VOLUME),),
            returns=list[json_rows.PrintedVolume], columns=COLUMNS, methods=("listLogicalVolumes",),
        ),
        Command(
            "volume", "show", "Show the mirrors of a volume and where their replicas are.",
            "volume show db", show_volume, (words.VOLUME,),
            returns=structs.Node, line=tree, methods=("showLogicalVolume",),
        ),
        Command(
            "volume", "create", "Create a volume and print its id.",
            "volume create db 100 --redundancy 2", create_volume,
            (words.NAME, words.GIB, words.REDUNDANCY, words.TAGS, words.CONVERGE),
            returns=json_rows.Id, line=made, methods=("createLogicalVolume",), waits=True,
        ),
        Command(
            "volume", "delete", "Delete a volume that is not attached and has no snapshots.",
            "volume delete db", delete_volume, (words.VOLUME, words.CONVERGE),
            methods=("deleteLogicalVolume",), waits=True,
        ),
        Command(
            "volume", "attach",
            "Attach a volume, with its snapshots, to a head; it can be used there then.",
            "volume attach db node-1", attach_volume,
            (words.ORIGIN, words.HEAD, words.CONVERGE, FORCE),
            methods=("attachLogicalVolume", "vastsky.forceAttach"), waits=True,
        ),
        Command(
            "volume", "detach",
            "Detach a volume, with its snapshots; no head can write to it any more then.",
            "volume detach db", detach_volume, (words.ORIGIN, words.CONVERGE),
            methods=("detachLogicalVolume",), waits=True,
        ),
        Command(
            "volume", "stats",
            "Tell what was asked of a volume while it was attached, oldest first.",
            "volume stats db --span day", list_samples, (words.VOLUME, SPAN),
            returns=list[structs.Sample],
            columns=(
                Column("TIME", lambda row: row["time"]),
                Column("READS/s", lambda row: text_cells.figure(row["reads"]), right=True),
                Column("WRITES/s", lambda row: text_cells.figure(row["writes"]), right=True),
                Column("READ/s", lambda row: text_cells.much(row["read_bytes"]), right=True),
                Column("WRITTEN/s", lambda row: text_cells.much(row["write_bytes"]), right=True),
                Column("READ ms", lambda row: text_cells.figure(row["read_ms"]), right=True),
                Column("WRITE ms", lambda row: text_cells.figure(row["write_ms"]), right=True),
                Column("QUEUE", lambda row: text_cells.figure(row["queue"]), right=True),
            ),
            methods=("vastsky.samples",),
        ),
        Command(
            "volume", "waiting", "List the volumes that wait for storage, longest first.",
            "volume waiting", list_waiting,
            returns=list[structs.Waiting],
            columns=(
                Column("NAME", lambda row: row["lvolname"]),
                Column("ID", lambda row: written("lvolid", row["lvolid"])),
                Column("SECONDS", lambda row: row["seconds"], right=True),
            ),
            methods=("vastsky.listWaiting",),
        ),
    ),
)  # fmt: skip

SNAPSHOT = Noun(
    "snapshot",
    "snapshots: create, delete",
    (
        Command(
            "snapshot", "list", "List snapshots.", "snapshot list db", list_snapshots,
            (words.maybe(words.ORIGIN),),
            returns=list[json_rows.PrintedVolume], columns=COLUMNS, methods=("listLogicalVolumes",),
        ),
        Command(
            "snapshot", "create", "Take a snapshot of a volume and print its id.",
            "snapshot create db db-monday", create_snapshot,
            (words.ORIGIN, words.NAME, words.CONVERGE),
            returns=json_rows.Id, line=made, methods=("createSnapshot",), waits=True,
        ),
        Command(
            "snapshot", "delete", "Delete a snapshot, be its origin attached or not.",
            "snapshot delete db-monday", delete_volume, (words.SNAPSHOT, words.CONVERGE),
            methods=("deleteLogicalVolume",), waits=True,
        ),
    ),
)  # fmt: skip
