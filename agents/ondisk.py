"""What lies on a disk: its layout, and every block of ours, packed and unpacked.

A disk is extents of whole GB, then the SUPER extent in its last whole GB (what is beyond, is not
used). In the SUPER extent lie, by offset:

    0       the label                   4 KiB
    4 KiB   the label once more         4 KiB
    1 MiB   the generation table        an age (u32) for each GB of the disk
    2 MiB   the descriptors             256 bytes for each GB; an extent has that of its first GB
    64 MiB  the mark blocks             4 KiB for each GB; likewise

All numbers are little-endian. What was ever written is read for ever. Descriptors came later than
the rest: in a SUPER extent of before them, their place is zero. Heads write the mark blocks, as a
whole; a descriptor is beside them, where no head of any version writes.
"""

import errno
import json
import struct
import zlib
from typing import Any, NamedTuple

from agents.errors import AgentError

GB = 1 << 30
MIB = 1 << 20
SECTOR = 512
"""What the kernel counts in, whatever a disk's own blocks are."""

LABEL_BYTES = 4096
LABELS_AT = (0, LABEL_BYTES)
"""A write that a power cut tears leaves the other one whole."""
AGES_AT = MIB
AGE_BYTES = 4
DESCRIPTORS_AT = 2 * MIB
DESCRIPTOR_BYTES = 256
MARKS_AT = 64 * MIB
MARK_BYTES = 4096

SMALLEST_DISK_GB = 2
"""One GB to allocate, one for the SUPER extent."""
LARGEST_DISK_GB = (GB - MARKS_AT) // MARK_BYTES
"""As many mark blocks as fit behind their offset."""


def super_offset(capacity_gb: int) -> int:
    """Tell where on a disk its SUPER extent begins."""
    return (capacity_gb - 1) * GB


# -- the label ------------------------------------------------------------------------------------

LABEL_VERSION = 1
_LABEL_HEADER = struct.Struct("<8sII")
_LABEL_MAGIC = b"VASLABL1"


class Label(NamedTuple):
    """Who a disk is. `pdskid` is 0 until the manager has given it a number.

    `hardware` names the device that it was written for; "" where that is not known, as in labels
    of before. On another device it is a copy.
    """

    version: int
    cluster: str
    disk_uuid: str
    pdskid: int
    capacity_gb: int
    hardware: str = ""


class NewerLabel(AgentError):
    """The label was written by a newer version, which alone knows what it means."""

    def __init__(self, version: int) -> None:
        super().__init__(
            errno.EPROTONOSUPPORT,
            f"its label is of version {version}, and this agent knows {LABEL_VERSION}:"
            " a newer agent has to use it",
        )


def label_offsets(capacity_gb: int) -> tuple[int, ...]:
    """Tell where on a disk its label lies, and lies once more."""
    return tuple(super_offset(capacity_gb) + at for at in LABELS_AT)


def pack_label(label: Label) -> bytes:
    """Make a label's block: magic, length, checksum, then the label as JSON."""
    members = label._asdict()
    if not label.hardware:
        del members["hardware"]
    text = json.dumps(members).encode()
    return (_LABEL_HEADER.pack(_LABEL_MAGIC, len(text), zlib.crc32(text)) + text).ljust(
        LABEL_BYTES, b"\0"
    )


def unpack_label(block: bytes) -> Label | None:
    """Read a label's block; None where there is no label, or none that is whole.

    Members that we do not know are ignored. NewerLabel where the version says that we would
    misunderstand it.
    """
    magic, length, crc = _LABEL_HEADER.unpack_from(block)
    text = block[_LABEL_HEADER.size : _LABEL_HEADER.size + length]
    if magic != _LABEL_MAGIC or zlib.crc32(text) != crc:
        return None
    try:
        members = json.loads(text)
    except ValueError:
        return None
    return _label_of(members)


def is_of_a_label(block: bytes) -> bool:
    """Tell whether a block begins as labels do, whole or not."""
    return block.startswith(_LABEL_MAGIC)


def _label_of(members: Any) -> Label | None:
    if not isinstance(members, dict):
        return None
    version = members.get("version")
    if type(version) is int and version > LABEL_VERSION:
        raise NewerLabel(version)
    # A member that a later version adds has a default, so that labels without it stay labels.
    known = {**Label._field_defaults, **members}
    if any(type(known.get(name)) is not kind for name, kind in Label.__annotations__.items()):
        return None
    return Label(**{name: known[name] for name in Label._fields})


# -- the generation table -------------------------------------------------------------------------


def age_of(generation: int, *, shredded: bool) -> int:
    """Order the lives of space: while a generation uses it, and then while it is zeroed after that.

    So what comes late for a generation is refused once its space is on the way to the next one.
    """
    return 2 * generation + shredded


def generation_of(age: int) -> int:
    """Tell the generation that is as new as an age; once space is zeroed, the next one."""
    return (age + 1) // 2


def ages_offset(capacity_gb: int, offset_gb: int) -> int:
    """Tell where on a disk the ages begin of the extent that begins at `offset_gb`."""
    return super_offset(capacity_gb) + AGES_AT + AGE_BYTES * offset_gb


def pack_ages(age: int, size_gb: int) -> bytes:
    """Make the part of the table for an extent, all of which is of one age."""
    return struct.pack("<I", age) * size_gb


def unpack_ages(table: bytes) -> tuple[int, ...]:
    """Read a part of the table."""
    return struct.unpack(f"<{len(table) // AGE_BYTES}I", table)


# -- the marks ------------------------------------------------------------------------------------

_MARK = struct.Struct("<8sIIII")
_MARK_MAGIC = b"VASMARK1"


class Mark(NamedTuple):
    """What a head last said about a replica; a replica that no head ever wrote is clean.

    `events` rises each time a replica is left behind; `clean`: the last head closed it cleanly.
    """

    epoch: int = 0
    events: int = 0
    clean: bool = True


def mark_offset(capacity_gb: int, offset_gb: int) -> int:
    """Tell where on a disk the mark block of the extent at `offset_gb` lies."""
    return super_offset(capacity_gb) + MARKS_AT + offset_gb * MARK_BYTES


def pack_mark(mark: Mark) -> bytes:
    """Make a mark block: magic, epoch, events, clean, and a checksum of these."""
    body = _MARK.pack(_MARK_MAGIC, mark.epoch, mark.events, int(mark.clean), 0)[:-4]
    return (body + struct.pack("<I", zlib.crc32(body))).ljust(MARK_BYTES, b"\0")


def unpack_mark(block: bytes | bytearray | memoryview) -> Mark:
    """Read a mark block; one that is not whole says nothing."""
    magic, epoch, events, clean, crc = _MARK.unpack_from(block)
    if magic != _MARK_MAGIC or crc != zlib.crc32(bytes(block[: _MARK.size - 4])):
        return Mark()
    return Mark(epoch, events, bool(clean))


# -- the descriptors ------------------------------------------------------------------------------

_DESCRIPTOR = struct.Struct("<8s12I64s")
_DESCRIPTOR_MAGIC = b"VASDESC1"
_CRC = struct.Struct("<I")


class Descriptor(NamedTuple):
    """What a replica is a part of, so that disks alone can tell what the manager knew.

    `kind`: 0 a volume's replica, 1 of a snapshot's store. `offset_gb` is where in the volume its
    mirror begins; `created`, in seconds since 1970, tells two volumes of one number apart.
    """

    dextid: int
    generation: int
    size_gb: int
    mirrorid: int
    offset_gb: int
    lvolid: int
    origin: int
    kind: int
    capacity_gb: int
    store_gb: int
    redundancy: int
    created: int
    name: str

    def is_same_replica(self, other: "Descriptor") -> bool:
        """Tell whether both are one life of one extent, in one place of one volume."""
        return _identity(self) == _identity(other)


def _identity(one: Descriptor) -> tuple[int, ...]:
    return (*one[:6], one.created)


def descriptor_offset(capacity_gb: int, offset_gb: int) -> int:
    """Tell where on a disk the descriptor of the extent at `offset_gb` lies."""
    return super_offset(capacity_gb) + DESCRIPTORS_AT + offset_gb * DESCRIPTOR_BYTES


def pack_descriptor(one: Descriptor) -> bytes:
    """Make a descriptor: magic, numbers, name, and a checksum of these."""
    body = _DESCRIPTOR.pack(_DESCRIPTOR_MAGIC, *one[:-1], one.name.encode())
    return (body + _CRC.pack(zlib.crc32(body))).ljust(DESCRIPTOR_BYTES, b"\0")


def unpack_descriptor(block: bytes) -> Descriptor | None:
    """Read a descriptor; None where there is none, or none that is whole."""
    body = block[: _DESCRIPTOR.size]
    magic, *numbers, name = _DESCRIPTOR.unpack(body)
    if magic != _DESCRIPTOR_MAGIC or _CRC.unpack_from(block, len(body))[0] != zlib.crc32(body):
        return None
    return Descriptor._make((*numbers, name.rstrip(b"\0").decode(errors="replace")))
