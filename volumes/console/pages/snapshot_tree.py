"""A volume with its snapshots: what each keeps of what was overwritten since, and its age."""

from collections.abc import Iterator
from dataclasses import dataclass

from volumes.console.frame.cells import bar
from volumes.console.frame.formats import size
from volumes.console.frame.pills import BAD, Pill
from volumes.models import LogicalVolume
from volumes.sample_models import ShownVolume

MIB_IN_GB = 1024
BROKEN = Pill("broken", BAD, "it lost what it should have kept")


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """A snapshot in the tree."""

    volume: LogicalVolume
    shown: ShownVolume | None

    @property
    def pill(self) -> Pill | None:
        """What is wrong with it."""
        return BROKEN if self.volume.broken else None

    @property
    def held(self) -> str:
        """What it keeps, and of how much room."""
        if self.shown is None:
            return "no head has told what it keeps"
        text = f"{size(self.shown.held_mib / MIB_IN_GB)} of {size(self.volume.store_gb)}"
        return bar(self.shown.held_mib / MIB_IN_GB, self.volume.store_gb, text)


@dataclass(frozen=True, slots=True)
class SnapshotFamily:
    """A group: the origin, and its snapshots from the newest to the oldest."""

    origin: LogicalVolume
    snapshots: list[SnapshotLine]
    _shown: dict[int, ShownVolume]

    def shown(self, volume_id: int) -> ShownVolume | None:
        """Tell what the head told last of one of them."""
        return self._shown.get(volume_id)

    @property
    def held(self) -> str:
        """Say what all snapshots keep together, as far as it is known."""
        known = [line.shown.held_mib for line in self.snapshots if line.shown]
        return size(sum(known) / MIB_IN_GB) if known else ""


def of_group(group: int) -> SnapshotFamily:
    """Read a group; two queries."""
    rows = LogicalVolume.objects.filter(pk=group) | LogicalVolume.objects.filter(origin=group)
    volumes = {row.pk: row for row in rows.order_by("-pk")}
    shown = {row.pk: row for row in ShownVolume.objects.filter(pk__in=volumes)}
    return SnapshotFamily(volumes[group], list(_lines(volumes, shown, group)), shown)


def _lines(
    volumes: dict[int, LogicalVolume], shown: dict[int, ShownVolume], group: int
) -> Iterator[SnapshotLine]:
    for pk, volume in volumes.items():
        if pk != group:
            yield SnapshotLine(volume, shown.get(pk))
