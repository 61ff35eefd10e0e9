"""What the kernel says of disks that fail: its log, a record at a time, and what a line means."""

import errno
import os
import re
import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(
    r"(?P<status>I/O|critical medium|critical target) error, dev (?P<device>[\w!.-]+),"
    r" sector (?P<sector>\d{1,18})(?: op 0x[0-9a-f]+:\((?P<op>[A-Z_]+)\))?"
)
"""Of the kernel's block layer, since Linux 2.6; the operation is told since 5.1."""
DATA = (None, "READ", "WRITE")
"""A discard or a flush that fails says nothing of a sector."""
RECORD_BYTES = 8192
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BadSector:
    """A sector of 512 bytes of a whole disk that the kernel could not read or write."""

    device: str
    sector: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the kernel's log; its number rises for as long as the machine runs."""

    number: int
    text: str


def bad_sector(text: str) -> BadSector | None:
    """Understand a line; None for one that tells of no bad sector."""
    found = LINE.search(text)
    if found is None or found["op"] not in DATA:
        return None
    return BadSector(found["device"].replace("!", "/"), int(found["sector"]))


def read_record(line: str) -> Record | None:
    """Read `level,number,time,flags;text`; None for what continues a record."""
    head, mark, text = line.partition(";")
    parts = head.split(",")
    if not mark or len(parts) < 3 or not parts[1].isdigit():  # noqa: PLR2004  as far as we look
        return None
    return Record(int(parts[1]), text)


def follow(path: Path, idle: Callable[[], bool]) -> Iterator[Record]:
    """Give all records that are there, then each that comes; `idle` ends it by being false.

    Of /dev/kmsg a read gives one record; those that were overwritten before we read them are gone.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            readable, _, _ = select.select([descriptor], [], [], LOOK_SECONDS)
            chunk = _read(descriptor) if readable else b""
            for line in chunk.decode(errors="replace").splitlines():
                if record := read_record(line):
                    yield record
            if not chunk and not idle():
                return
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, RECORD_BYTES)
    except OSError as error:
        if error.errno == errno.EPIPE:  # overwritten: the next read gives the oldest that is left
            return b"\n"
        if error.errno == errno.EAGAIN:
            return b""
        raise
