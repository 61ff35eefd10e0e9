"""Recognise what other software left on a disk: the agent must not overwrite it."""

import os

from agents.ondisk import MIB, SECTOR

SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("a GPT partition table", SECTOR, b"EFI PART"),
    ("a GPT partition table", 4096, b"EFI PART"),
    ("an LVM physical volume", SECTOR + 24, b"LVM2 001"),
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    ("an md array", 0, b"\xfc\x4e\x2b\xa9"),
    ("an md array", 4096, b"\xfc\x4e\x2b\xa9"),
    ("an xfs file system", 0, b"XFSB"),
    ("an ext file system", 1080, b"\x53\xef"),
    ("a btrfs file system", 65600, b"_BHRfS_M"),
    ("an f2fs file system", 1024, b"\x10\x20\xf5\xf2"),
    ("an ntfs file system", 3, b"NTFS    "),
    ("swap space", 4086, b"SWAPSPACE2"),
    ("a bcache device", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
    ("an iso9660 file system", 32769, b"CD001"),
    ("a drbd device", MIB - 4096, b"\x83\x74\x02\x6b"),
    ("a disk with a boot sector or partition table", 510, b"\x55\xaa"),
)
"""Name, place and bytes. The last one is also in many boot sectors, hence its place."""


def occupant(fd: int, size: int) -> str:
    """Tell what is on a disk without our label; "" when its first and last MiB are blank."""
    first = os.pread(fd, MIB, 0)
    for name, offset, magic in SIGNATURES:
        if first[offset : offset + len(magic)] == magic:
            return name
    if any(first):
        return "data in its first MiB"
    if any(os.pread(fd, MIB, size - MIB)):
        return "data in its last MiB"
    return ""
