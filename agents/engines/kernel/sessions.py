"""The kernel's iSCSI sessions: of which target each is, and how it is.

A head has some for each volume. Whose a session is does not change, so it is read once.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agents.engines.kernel.kernel_file import read_once

SESSIONS = Path("/sys/class/iscsi_session")


class Sessions:
    """All sessions of this machine."""

    def __init__(self, root: Path = SESSIONS) -> None:
        self._root = root
        self._targets: dict[str, str] = {}

    def of(self, target: str) -> Iterator[Path]:
        """Find the sessions with a target."""
        for name, of in self._now().items():
            if of == target:
                yield self._root / name

    def states(self) -> dict[str, frozenset[tuple[str, str]]]:
        """Tell by target how each session is."""
        found = defaultdict[str, set[tuple[str, str]]](set)
        for name, target in self._now().items():
            with suppress(OSError):
                found[target].add((name, read_once(f"{self._root}/{name}/state")))
        return {target: frozenset(states) for target, states in found.items()}

    def _now(self) -> dict[str, str]:
        """Tell the target of each session that is there."""
        now = {}
        with suppress(FileNotFoundError):  # there was none yet
            for one in self._root.iterdir():
                with suppress(OSError):  # it is just going
                    now[one.name] = self._targets.get(one.name) or read_once(one / "targetname")
        self._targets = now
        return now
