"""What a group or an export on a node is to us: ours, over, or newer than this database; pure."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """Whether something on a node may be, must go, or is beyond what we know."""

    OURS = "ours"
    """A volume of ours, at its present epoch."""
    OVER = "over"
    """Ended by us: an older epoch of a volume of ours, or a volume that we deleted."""
    STRANGE = "strange"
    """A later epoch than ours, or a number that we never gave out: our database is the older."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows: epochs of volumes (of groups), and which numbers it gave out."""

    epochs: Mapping[int, int]
    next_id: int
    gaps: Sequence[range] = ()
    """Numbers below `next_id` that another life of this database gave out, if anybody; in order."""

    def of_group(self, lvolid: int, epoch: int) -> Standing:
        """Judge one epoch of a group."""
        ours = self.epochs.get(lvolid)
        if ours is None:
            return self.of_volume(lvolid)
        if epoch == ours:
            return Standing.OURS
        return Standing.OVER if epoch < ours else Standing.STRANGE

    def of_volume(self, lvolid: int) -> Standing:
        """Judge a volume, a snapshot for instance, by its number alone."""
        if lvolid in self.epochs:
            return Standing.OURS
        given_out = 0 < lvolid < self.next_id and not lies_in(self.gaps, lvolid)
        return Standing.OVER if given_out else Standing.STRANGE

    def is_beyond(self, lvolid: int, epoch: int = 0) -> bool:
        """Tell whether it proves that this database is the older; a known gap proves nothing."""
        return lvolid >= self.next_id or epoch > self.epochs.get(lvolid, epoch)


def lies_in(gaps: Sequence[range], number: int) -> bool:
    """Tell whether a number lies in one of these, which are in order and apart."""
    before = bisect_right(gaps, number, key=lambda gap: gap.start)
    return before > 0 and number in gaps[before - 1]
