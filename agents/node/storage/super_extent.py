"""The SUPER extent, a disk's last whole GB: label, generation table, mark blocks."""

import json
import os
import struct
import zlib
from dataclasses import asdict, dataclass

from agents.node.storage.blocks import clear, write_all
from agents.protocol import GB, META_BYTES, MIB, Malformed, ReplicaMark, from_struct

MAGIC = b"VASLABL1"
HEADER = struct.Struct("<8sII")
LABEL_BYTES = 4096
LABEL_REPLICAS = (0, LABEL_BYTES)
"""A write that a power cut tears leaves the other one whole."""
GENERATIONS = MIB
MARKS = 64 * MIB
MAX_CAPACITY_GB = 245_000
"""As many mark blocks as fit behind their offset."""

MARK = struct.Struct("<8sIIII")
MARK_MAGIC = b"VASMARK1"


@dataclass(frozen=True, slots=True)
class Label:
    """Who a disk is. `pdskid` is 0 until the manager has given it a number."""

    version: int
    cluster: str
    disk_uuid: str
    pdskid: int
    capacity_gb: int


def age_of(generation: int, *, shredded: bool) -> int:
    """Order the lives of space: while a generation uses it, and then while it is zeroed after that.

    So what comes late for a generation is refused once its space is on the way to the next one.
    """
    return 2 * generation + shredded


class Super:
    """The SUPER extent of an open disk."""

    def __init__(self, fd: int, capacity_gb: int) -> None:
        self._fd = fd
        self._start = (capacity_gb - 1) * GB
        self.capacity_gb = capacity_gb

    def read_label(self) -> Label | None:
        """Read the label; None when there is none, or none that is whole."""
        for replica in LABEL_REPLICAS:
            label = _parse_label(os.pread(self._fd, LABEL_BYTES, self._start + replica))
            if label is not None:
                return label
        return None

    def write_label(self, label: Label) -> None:
        """Write the label, one replica after the other."""
        text = json.dumps(asdict(label)).encode()
        block = (HEADER.pack(MAGIC, len(text), zlib.crc32(text)) + text).ljust(LABEL_BYTES, b"\0")
        for replica in LABEL_REPLICAS:
            write_all(self._fd, block, self._start + replica)
            os.fdatasync(self._fd)

    def format(self, label: Label) -> None:
        """Make the disk ours: no generations, no marks, then the label."""
        clear(self._fd, self._start, GB)
        os.fdatasync(self._fd)
        self.write_label(label)

    @property
    def newest_generation(self) -> int:
        """Tell a generation that is as new as all that was ordered anywhere on the disk."""
        return (self.age(0, self.capacity_gb) + 1) // 2

    def age(self, offset_gb: int, size_gb: int) -> int:
        """Tell the newest age that any GB of a range has come to."""
        table = os.pread(self._fd, 4 * size_gb, self._start + GENERATIONS + 4 * offset_gb)
        return int(max(struct.unpack(f"<{size_gb}I", table)))

    def set_age(self, offset_gb: int, size_gb: int, age: int) -> None:
        """Let nothing older be ordered for these GB from now on; `flush` makes it last."""
        table = struct.pack("<I", age) * size_gb
        write_all(self._fd, table, self._start + GENERATIONS + 4 * offset_gb)

    def flush(self) -> None:
        """Bring all that was written to stable storage."""
        os.fdatasync(self._fd)

    def mark_offset(self, offset_gb: int) -> int:
        """Tell where on the disk the mark block of the extent that begins there lies."""
        return self._start + MARKS + offset_gb * META_BYTES

    def read_mark(self, dextid: int, offset_gb: int) -> ReplicaMark:
        """Read what the last head wrote; zeros where none did."""
        block = os.pread(self._fd, MARK.size, self.mark_offset(offset_gb))
        magic, epoch, events, clean, crc = MARK.unpack(block)
        if magic != MARK_MAGIC or crc != zlib.crc32(block[:-4]):
            return ReplicaMark(dextid, 0, 0, clean=True)
        return ReplicaMark(dextid, epoch, events, clean=bool(clean))

    def clear_marks(self, offset_gb: int, size_gb: int) -> None:
        """Zero the mark blocks of a range, durably."""
        clear(self._fd, self.mark_offset(offset_gb), size_gb * META_BYTES)
        self.flush()


def _parse_label(block: bytes) -> Label | None:
    magic, length, crc = HEADER.unpack_from(block)
    text = block[HEADER.size : HEADER.size + length]
    if magic != MAGIC or zlib.crc32(text) != crc:
        return None
    try:
        return from_struct(Label, json.loads(text))
    except (ValueError, Malformed):
        return None
