"""The commands: what each takes, what it asks of the manager, and the lines it answers."""

import errno
import xmlrpc.client
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vastsky_client import lists, operands, trees, written_ids
from vastsky_client.manager_calls import Call


class Ambiguous(Exception):
    """A word that means two volumes; the text tells how to write either."""


@dataclass(frozen=True, slots=True)
class OldArgument:
    """A word on the line, or an option and its number: its name, how it is read, what it is."""

    name: str
    read: Callable[[str], Any]
    help: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class OldCommand:
    """What a command tells about itself, takes and does."""

    summary: str
    example: str
    run: Callable[[Call, Namespace], list[str]]
    arguments: tuple[OldArgument, ...] = ()


def find_volume(call: Call, word: str) -> dict[str, int | str]:
    """Tell which volume is meant, by lvolid or lvolname; never guess."""
    if written_ids.is_volume(word):
        return {"lvolid": written_ids.volume(word)}
    by_name: dict[str, int | str] = {"lvolname": word}
    if not written_ids.is_bare(word) or not 0 < int(word, 16) <= written_ids.LARGEST:
        return by_name
    by_id: dict[str, int | str] = {"lvolid": int(word, 16)}
    named, numbered = _look_up(call, **by_name), _look_up(call, **by_id)
    if named and numbered and named != numbered:
        raise Ambiguous(
            f"{word} is the name of lvol-{named:08x} and the id of lvol-{numbered:08x}: say which"
        )
    return by_name if named else by_id


def _look_up(call: Call, **which: int | str) -> int:
    """Return the volume's id, or 0."""
    try:
        return int(call("listLogicalVolumes", **which)[0]["lvolid"])
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != errno.ENOENT:
            raise
        return 0


# -- volumes --------------------------------------------------------------------------------------


def create_volume(call: Call, given: Namespace) -> list[str]:
    """Create a volume; its id."""
    more = {} if given.redundancy is None else {"redundancy": given.redundancy}
    lvolid = call("createLogicalVolume", lvolname=given.name, capacity=given.gb, **more)
    return [f"lvol-{lvolid:08x}"]


def create_snapshot(call: Call, given: Namespace) -> list[str]:
    """Create a snapshot; its id."""
    origin = {f"origin_{member}": of for member, of in find_volume(call, given.lvol).items()}
    lvolid = call("createSnapshot", snapshot_lvolname=given.name, **origin)
    return [f"lvol-{lvolid:08x}"]


def delete_volume(call: Call, given: Namespace) -> list[str]:
    """Delete a volume."""
    call("deleteLogicalVolume", **find_volume(call, given.lvol))
    return []


def attach_volume(call: Call, given: Namespace) -> list[str]:
    """Attach a volume; it can be opened when this returns."""
    call("attachLogicalVolume", hsvrid=given.hsvr, **find_volume(call, given.lvol))
    return []


def detach_volume(call: Call, given: Namespace) -> list[str]:
    """Detach a volume."""
    call("detachLogicalVolume", **find_volume(call, given.lvol))
    return []


def list_volumes(call: Call, given: Namespace) -> list[str]:
    """List volumes."""
    which = {} if given.lvol is None else find_volume(call, given.lvol)
    return lists.volumes(call("listLogicalVolumes", **which))


def show_volume(call: Call, given: Namespace) -> list[str]:
    """Show a volume's tree."""
    return trees.volume(call("showLogicalVolume", **find_volume(call, given.lvol)))


# -- servers and disks ----------------------------------------------------------------------------


def lister(
    method: str, member: str, show: Callable[[Sequence[Any]], list[str]]
) -> Callable[[Call, Namespace], list[str]]:
    """Make the command that lists all, or what one id tells."""
    word = member.removesuffix("id")

    def run(call: Call, given: Namespace) -> list[str]:
        number = getattr(given, word)
        return show(call(method, **({} if number is None else {member: number})))

    return run


def deleter(method: str, member: str) -> Callable[[Call, Namespace], list[str]]:
    """Make the command that deletes what one id names."""
    word = member.removesuffix("id")

    def run(call: Call, given: Namespace) -> list[str]:
        call(method, **{member: getattr(given, word)})
        return []

    return run


LVOL = OldArgument("LVOL", operands.volume, "a volume: its id, such as lvol-000008d1, or its name")
HSVR = OldArgument("HSVR", written_ids.head, "a head server: its id, such as hsvr-00000001")
SSVR = OldArgument("SSVR", written_ids.storage, "a storage server: its id, such as ssvr-00000001")
PDSK = OldArgument("PDSK", written_ids.disk, "a disk: its id, such as pdsk-0000000a")
NAME = OldArgument("NAME", operands.name, "up to 64 of -._a-zA-Z0-9; no other volume has it")
GB = OldArgument("GB", operands.whole_number, "the capacity, in units of 2^30 bytes")
REDUNDANCY = OldArgument(
    "--redundancy", operands.whole_number, "replicas of the data, 2 to 9; 3 without"
)


def _maybe(argument: OldArgument) -> OldArgument:
    return OldArgument(argument.name, argument.read, f"{argument.help}; all without", optional=True)


COMMANDS: dict[str, OldCommand] = {
    "lvol_create": OldCommand(
        "Create a volume and print its id.",
        "lvol_create --redundancy 2 foo 10",
        create_volume,
        (NAME, GB, REDUNDANCY),
    ),
    "lvol_delete": OldCommand(
        "Delete a volume that is not attached, or a snapshot.",
        "lvol_delete foo",
        delete_volume,
        (LVOL,),
    ),
    "lvol_attach": OldCommand(
        "Attach a volume, with its snapshots, to a head server; ends when it can be used there.",
        "lvol_attach foo hsvr-00000001",
        attach_volume,
        (LVOL, HSVR),
    ),
    "lvol_detach": OldCommand(
        "Detach a volume, with its snapshots; ends when no head server can write to it any more.",
        "lvol_detach foo",
        detach_volume,
        (LVOL,),
    ),
    "lvol_list": OldCommand(
        "List volumes. Before the head server: + being attached, - being detached, * failed.",
        "lvol_list foo",
        list_volumes,
        (_maybe(LVOL),),
    ),
    "lvol_show": OldCommand(
        "Show the mirrors of a volume and where their replicas are.",
        "lvol_show lvol-000008d1",
        show_volume,
        (LVOL,),
    ),
    "snap_create": OldCommand(
        "Take a snapshot of a volume and print its id.",
        "snap_create foo foo-monday",
        create_snapshot,
        (LVOL, NAME),
    ),
    "hsvr_list": OldCommand(
        "List head servers with their addresses and the replicas being rebuilt.",
        "hsvr_list",
        lister("listHeadServers", "hsvrid", lists.heads),
        (_maybe(HSVR),),
    ),
    "ssvr_list": OldCommand(
        "List storage servers with their addresses and room.",
        "ssvr_list",
        lister("listStorageServers", "ssvrid", lists.storages),
        (_maybe(SSVR),),
    ),
    "pdsk_list": OldCommand(
        "List disks with their room, of all storage servers or of one.",
        "pdsk_list ssvr-00000001",
        lister("listPhysicalDisks", "ssvrid", lists.disks),
        (_maybe(SSVR),),
    ),
    "hsvr_delete": OldCommand(
        "Forget a head server that is OFFLINE or FAULTY.",
        "hsvr_delete hsvr-00000001",
        deleter("deleteHeadServer", "hsvrid"),
        (HSVR,),
    ),
    "ssvr_delete": OldCommand(
        "Forget a storage server that is OFFLINE or FAULTY, with its disks.",
        "ssvr_delete ssvr-00000001",
        deleter("deleteStorageServer", "ssvrid"),
        (SSVR,),
    ),
    "pdsk_delete": OldCommand(
        "Forget a disk that is OFFLINE or FAULTY.",
        "pdsk_delete pdsk-0000000a",
        deleter("deletePhysicalDisk", "pdskid"),
        (PDSK,),
    ),
}
