"""What else may stand on the line of a command: names of volumes, and whole numbers."""

import re
from argparse import ArgumentTypeError

from vastsky_client import written_ids


def name(word: str) -> str:
    """Pass what XML can carry; whether it is a good name is for the manager to say."""
    # The manager takes "" for "not given": a script's empty variable must not become "all".
    if not word or not word.isprintable():
        raise ArgumentTypeError(f"{word!r} is no name")
    return word


def volume(word: str) -> str:
    """Pass the id of a volume in any form, or a name."""
    if written_ids.is_volume(word):
        written_ids.volume(word)
    return name(word)


def whole_number(word: str) -> int:
    """Read a number that fits the protocol's int."""
    if not re.fullmatch("[0-9]{1,10}", word) or int(word) > written_ids.LARGEST:
        raise ArgumentTypeError(f"{word!r} is no whole number up to {written_ids.LARGEST}")
    return int(word)
