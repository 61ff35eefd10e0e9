"""What an attach will do, decided purely from the rows and the marks before anything is changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agents.protocol import Reason
from inventory.errors import HostDown
from volumes.attach import newest
from volumes.attach.newest import Marks, Newest
from volumes.replicas.rows import ReplicaRow, by_mirror


@dataclass(frozen=True, slots=True)
class AttachPlan:
    """Which replicas of each mirror are assembled, by the mirror's id."""

    mirrors: Mapping[int, Newest]

    @property
    def taken(self) -> list[int]:
        """Name the replicas that the head will use."""
        return [replica.dextid for chosen in self.mirrors.values() for replica in chosen.taken]

    @property
    def lost_writes(self) -> set[int]:
        """Name the volumes that go on without acknowledged writes, which an operator forced.

        An origin serves on; a snapshot is broken by it, and is not assembled.
        """
        return {
            replica.volume
            for chosen in self.mirrors.values()
            if chosen.lost_writes
            for replica in chosen.taken
        }

    def out_of_sync(self, reason: Reason) -> list[int]:
        """Name the good replicas that are left out for this reason."""
        return [
            dextid
            for chosen in self.mirrors.values()
            for dextid, why in chosen.out_of_sync.items()
            if why == reason
        ]


def plan(
    replicas: Iterable[ReplicaRow],
    marks: Marks,
    failed: Mapping[int, str],
    *,
    clean: bool,
    force: bool,
) -> AttachPlan:
    """Choose each mirror's newest replicas; HostDown tells why not, and what the servers said.

    `failed` tells by dextid why a replica has no mark. `clean` and `force`: see newest.choose.
    """
    try:
        return AttachPlan(
            {
                mirror: newest.choose(of_mirror, marks, clean=clean, force=force)
                for mirror, of_mirror in by_mirror(replicas).items()
            }
        )
    except HostDown as refusal:
        said = sorted(set(failed.values()))
        raise HostDown("; ".join([str(refusal), *said[:3]])) from None
