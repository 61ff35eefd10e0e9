"""Ids as people write them: a prefix and hexadecimal digits, or all eight digits without it."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable

LARGEST = 0x7FFFFFFF
"""Of the ids, and of XML-RPC's int."""


def reader(prefix: str) -> Callable[[str], int]:
    """Make what reads hsvr-00000001, hsvr-1 and 00000001 alike, given "hsvr-"."""

    def read(word: str) -> int:
        digits = word if is_bare(word) else word.removeprefix(prefix)
        if not is_bare(word) and not re.fullmatch(f"{prefix}[0-9a-fA-F]+", word):
            raise ArgumentTypeError(f"{word!r} is no id; one looks like {prefix}0000000a")
        # The manager takes 0 for "not given", and a list of one would become a list of all.
        if not 0 < int(digits, 16) <= LARGEST:
            raise ArgumentTypeError(f"{word!r} is no id: they go from 1 to {LARGEST:x}")
        return int(digits, 16)

    return read


def is_bare(word: str) -> bool:
    """Tell an id without its prefix, which may also be the name of a volume."""
    return re.fullmatch("[0-9a-fA-F]{8}", word) is not None


def is_volume(word: str) -> bool:
    """Tell what can only be the id of a volume: no name has this form."""
    return re.fullmatch("lvol-[0-9a-fA-F]+", word) is not None


volume = reader("lvol-")
head = reader("hsvr-")
storage = reader("ssvr-")
disk = reader("pdsk-")
