"""What a head's kernel has, found out by a few questions however many volumes there are.

To ask after each device, array, path takes a tenth of a slow core for every mirror. That is only
done where something is seen here that was otherwise before: the device mapper counts what happens
to each device (a path that fails or is used again), md lists its arrays with who is in sync, and
there are some sessions for each volume.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agents.engines.kernel import device_mapper
from agents.engines.kernel.device_mapper import Listed
from agents.engines.kernel.kernel_file import BLOCK, read_once
from agents.engines.kernel.sessions import Sessions

ARRAYS = Path("/proc/mdstat")
COUNTS = Path("/proc/diskstats")
OURS = "md_vas"
BEGINS = re.compile(r"^(?=\S)", re.MULTILINE)
COPIES = ("resync", "recovery", "reshape", "check", "bitmap")

States = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Overview:
    """Devices and arrays by name, sessions by target; `written` by array, another word each time.

    An array is told in words that change when its members or what it does with them change.
    """

    devices: Mapping[str, Listed]
    arrays: Mapping[str, str]
    sessions: Mapping[str, States] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)


def take() -> Overview:
    """Find out which devices and arrays there are."""
    return Overview(device_mapper.listing(), dict(arrays(ARRAYS.read_text())))


def take_all(sessions: Sessions) -> Overview:
    """Find out how everything is."""
    return Overview(
        device_mapper.listing(),
        dict(with_states(arrays(ARRAYS.read_text()), BLOCK)),
        sessions.states(),
        dict(_written(COUNTS.read_text())),
    )


def arrays(text: str) -> Iterator[tuple[str, str]]:
    """Tell each array that runs: members, which are in sync, whether it copies, without numbers."""
    for paragraph in BEGINS.split(text):
        name, _, rest = paragraph.partition(" : ")
        if name.startswith(OURS) and rest.startswith("active"):
            lines = rest.split("\n")
            does = [word for word in COPIES for line in lines[2:] if word in line]
            yield name, " ".join([*lines[:2], *does])


def with_states(found: Iterable[tuple[str, str]], block: Path) -> Iterator[tuple[str, str]]:
    """Add what each array does with writes: it may hold them back, though it looks as before."""
    for name, words in found:
        state = ""
        with suppress(OSError):
            state = read_once(block / name / "md" / "array_state")
        yield name, f"{words} {state}"


def _written(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        if OURS in line:
            words = line.split()
            yield words[2], words[9]
