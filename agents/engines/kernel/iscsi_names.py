"""What storage servers and heads of this engine call things, so that both find them.

A head is told a replica's addresses and the name of its export. All else follows from that: the
target is named by group and epoch, the same on each server that takes part, as portal groups of one
target are; a unit in it is known by its serial number, never by its place.
"""

from typing import NamedTuple

AUTHORITY = "iqn.2010-07.org.vastsky"
PORTAL_GROUP = 1
USER = "vastsky"
"""Who logs in to a target, by CHAP; the password is the secret of its epoch."""

LARGEST_UNIT = 0x3FFF
"""Beyond that, units are numbered in another way, which initiators need not know."""


class Export(NamedTuple):
    """An export's name, taken apart: of which extent, for which epoch, with which secret."""

    dextid: int
    epoch: int
    secret: str


def parse_export(name: str) -> Export:
    """Take an export's name apart; ValueError if it is none."""
    number, _, rest = name.partition(".")
    epoch, _, secret = rest.partition("-")
    if not secret:
        raise ValueError(f"{name!r} does not name an export")
    return Export(int(number), int(epoch), secret)


def target(lvolid: int, epoch: int) -> str:
    """Name the target of one epoch of a group."""
    return f"{AUTHORITY}:group.{lvolid:08x}.{epoch:08x}"


def initiator(lvolid: int, epoch: int) -> str:
    """Name the one initiator that such a target lets in."""
    return f"{AUTHORITY}:head.{lvolid:08x}.{epoch:08x}"


def serial(dextid: int, lvolid: int, epoch: int) -> str:
    """Make a unit's serial number: hexadecimal digits, for they alone go into its WWID."""
    return f"{dextid:08x}{lvolid:08x}{epoch:08x}"


def unit(dextid: int) -> int:
    """Tell the number that a unit has, unless another extent of that target has it already.

    Heads do not rely on it; it is made of the extent's, so that none is soon used for another one.
    """
    return dextid & LARGEST_UNIT


def exported(dextid: int, epoch: int) -> str:
    """Name the device of a storage server that is an extent and its mark, and its backstore."""
    return f"vas-export-{dextid:08x}-{epoch:08x}"


def interface(lvolid: int, epoch: int) -> str:
    """Name open-iscsi's record of what a head is to the targets of one epoch."""
    return f"vas-{lvolid:08x}-{epoch:08x}"


def replica(dextid: int, epoch: int) -> str:
    """Name a head's device that is a replica, over all paths to it."""
    return f"vas-replica-{dextid:08x}-{epoch:08x}"


def array(mirrorid: int) -> str:
    """Name the array that is a mirror; md wants it to begin so."""
    return f"md_vas{mirrorid:08x}"


def volume(lvolid: int, epoch: int) -> str:
    """Name the device that users open.

    Who still has that of a former epoch open must not come to write in this one.
    """
    return f"vas-volume-{lvolid:08x}-{epoch:08x}"


def origin(lvolid: int, epoch: int) -> str:
    """Name what is below a volume that has snapshots: its mirrors, one after another."""
    return f"vas-origin-{lvolid:08x}-{epoch:08x}"


def store(snapshot: int, epoch: int) -> str:
    """Name where a snapshot has what its origin overwrote: its mirrors, one after another."""
    return f"vas-store-{snapshot:08x}-{epoch:08x}"


def snapshot(snapshot: int, epoch: int) -> str:
    """Name a snapshot's device."""
    return f"vas-snapshot-{snapshot:08x}-{epoch:08x}"
