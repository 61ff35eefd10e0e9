"""The figures of a run: what was done, and what went wrong."""

import threading
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a finding is about."""

    LOST = "lost"
    STUCK = "stuck"
    ORPHAN = "orphans"


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that is not as it has to be."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass
class Figures:
    """Counts and times of one run; times are seconds."""

    seed: int
    profile: str
    rounds: int = 0
    faults: int = 0
    kills: int = 0
    writes: int = 0
    unknown: int = 0
    blocks_read_back: int = 0
    snapshots: int = 0
    snapshots_broken: int = 0
    moves: int = 0
    longest_stall: float = 0.0
    offline: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def wrote(self, seconds: float) -> None:
        """Count an acknowledged write."""
        with self._lock:
            self.writes += 1
            self.longest_stall = max(self.longest_stall, seconds)

    def count(self, name: str, much: int = 1) -> None:
        """Raise a figure; several threads do."""
        with self._lock:
            setattr(self, name, getattr(self, name) + much)

    def struct(self) -> dict[str, object]:
        return asdict(self)

    def table(self) -> str:
        """Show all figures, one a line."""
        rows = {
            "seed, profile": f"{self.seed}, {self.profile}",
            "rounds": self.rounds,
            "faults": self.faults,
            "processes killed": self.kills,
            "acknowledged writes": self.writes,
            "writes of unknown outcome": self.unknown,
            "blocks read back": self.blocks_read_back,
            "moves between heads": self.moves,
            "snapshots taken, broken": f"{self.snapshots}, {self.snapshots_broken}",
            **self.found,
            "longest stall of a write": f"{self.longest_stall:.1f} s",
            "time to OFFLINE": _spread(self.offline),
            "time to full redundancy": _spread(self.whole),
        }
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        lines += [f"| skipped: {name} | {why} |" for name, why in self.skipped.items()]
        return "\n".join(("| figure | value |", "| --- | --- |", *lines))


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    return f"median {ordered[len(ordered) // 2]:.1f} s, longest {ordered[-1]:.1f} s"
