"""What a mirror needs next to be whole again: from its replicas and the policy alone.

Nothing else is read but the names of those for whom it waits.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agents.protocol import LOST, Reason
from inventory.models import Extent, Priority
from volumes import labels
from volumes.models import Replica
from volumes.replicas.rows import ReplicaRow


@dataclass(frozen=True, slots=True)
class Whole:
    """Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Copying:
    """A replica is being built already."""

    replica: ReplicaRow


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The replica's server is back: bring the same extent up to date."""

    replica: ReplicaRow


@dataclass(frozen=True, slots=True)
class Replace:
    """Build a new replica elsewhere: `lost` goes at once, `moved` serves until the new is whole."""

    lost: ReplicaRow | None = None
    moved: ReplicaRow | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Enough others are good: let go of these."""

    replicas: tuple[ReplicaRow, ...]


Need = Whole | Wait | Copying | CatchUp | Replace | Drop


def next_need(
    replicas: Sequence[ReplicaRow],
    *,
    redundancy: int,
    attached: bool,
    silent_for: Mapping[int, float],
    held: Mapping[int, str],
    grace: float,
) -> Need:
    """Say what to do next for one mirror.

    It is known which replicas are the newest. `silent_for` tells for how many seconds the server or
    disk of a replica has not answered, by dextid; `held` why a replica is left alone for now, by
    dextid: its server is in maintenance, or its evacuation is paused.
    """
    good = [replica for replica in replicas if replica.good]
    building = [replica for replica in replicas if replica.status == Replica.Status.SPARE]
    faulty = [replica for replica in replicas if replica.status == Replica.Status.FAULTY]
    if not good:
        return Wait(f"no good replica is left; waiting for {_places(replicas)} to come back")
    if attached and (cut_off := _cut_off(good)):
        return cut_off
    if building:
        return _go_on_building(building, good, redundancy, held)
    if needless := superfluous(replicas, redundancy):
        return Drop(needless)
    if faulty:
        return _mend(faulty, good, silent_for=silent_for, held=held, grace=grace)
    return _grow_or_move(good, redundancy, held)


def _cut_off(good: Sequence[ReplicaRow]) -> Need | None:
    """Nothing can be copied while the head reaches no good replica: that one comes first.

    The last good replica of a mirror stays good when its head loses it; its `reason` tells that it
    did.
    """
    lost = [replica for replica in good if replica.reason]
    if len(lost) < len(good):
        return None
    if back := next((replica for replica in lost if replica.alive), None):
        return CatchUp(back)
    if all(replica.reason == Reason.CONNECTION for replica in lost):
        return Wait(f"the head reaches no good replica; waiting for {_places(good)} to come back")
    return None


def _grow_or_move(good: Sequence[ReplicaRow], redundancy: int, held: Mapping[int, str]) -> Need:
    leaving = [replica for replica in good if is_leaving(replica)]
    if len(good) < redundancy:
        return Replace()
    if not leaving:
        return Whole()
    moving = next((replica for replica in leaving if replica.dextid not in held), None)
    return Replace(moved=moving) if moving else Wait(held[leaving[0].dextid])


def _go_on_building(
    building: Sequence[ReplicaRow],
    good: Sequence[ReplicaRow],
    redundancy: int,
    held: Mapping[int, str],
) -> Need:
    """A move that has its place and has not begun rests as one that has none; nothing is lacking.

    Of one that has begun nobody asks what it needs.
    """
    if len(good) < redundancy:
        return _go_on(building[0])
    leaving = [replica for replica in good if is_leaving(replica)]
    if not leaving:
        return Drop(tuple(building))
    if all(replica.dextid in held for replica in leaving):
        return Wait(held[leaving[0].dextid])
    return _go_on(building[0])


def _go_on(replica: ReplicaRow) -> Need:
    """A half-built replica goes on where its server answers, and is given up where it does not."""
    if replica.alive:
        return Copying(replica)
    return Replace(lost=replica)


def _mend(
    faulty: Sequence[ReplicaRow],
    good: Sequence[ReplicaRow],
    *,
    silent_for: Mapping[int, float],
    held: Mapping[int, str],
    grace: float,
) -> Need:
    """A silent server has its grace, unless the mirror is on its last replica or it is lost."""
    answering = [replica for replica in faulty if not silent_for.get(replica.dextid)]
    if returned := next((r for r in answering if r.alive and is_sound(r)), None):
        return CatchUp(returned)
    if unsound := [replica for replica in faulty if not is_sound(replica)]:
        # What somebody declared failed goes first: no brake stops its replacement.
        return Replace(lost=min(unsound, key=lambda replica: replica.reason != Reason.FAILED))
    least = max(faulty, key=lambda replica: silent_for.get(replica.dextid, 0.0))
    silent = silent_for.get(least.dextid, 0.0)
    resting = held.get(least.dextid, "")
    if len(good) < 2 or (silent >= grace and not resting):  # noqa: PLR2004 - the last good replica
        return Replace(lost=least)
    return Wait(
        resting
        or f"{labels.disk(least.disk)} is silent for {silent:.0f} s; "
        f"its replicas are replaced after {grace:.0f} s"
    )


def is_sound(replica: ReplicaRow) -> bool:
    """Tell whether a replica may be brought up to date where it is, once it answers."""
    return replica.reason not in LOST and replica.extent_status == Extent.Status.BUSY


def superfluous(replicas: Sequence[ReplicaRow], redundancy: int) -> tuple[ReplicaRow, ...]:
    """Name the replicas that are not needed beside the good ones: bad ones, and those too many.

    One that has to leave goes first, then the newest.
    """
    good = [replica for replica in replicas if replica.good]
    if len(good) < redundancy:
        return ()
    bad = [replica for replica in replicas if replica.status == Replica.Status.FAULTY]
    last_first = sorted(good, key=lambda replica: (not is_leaving(replica), -replica.dextid))
    return (*bad, *last_first[: len(good) - redundancy])


def is_leaving(replica: ReplicaRow) -> bool:
    """Tell whether a good replica must move.

    Its disk or server is being evacuated or has bad blocks, or somebody said that it is lost and
    its head closed it in sync all the same.
    """
    evacuated = Priority.EVACUATE in {replica.server_priority, replica.disk_priority}
    return evacuated or replica.extent_status == Extent.Status.EVACUATE or replica.reason in LOST


def servers_to_avoid(replicas: Sequence[ReplicaRow], lost: ReplicaRow | None) -> set[int]:
    """Servers that hold a replica which stays: two replicas never share one."""
    return {replica.server for replica in replicas if replica != lost}


def can_be_source(replica: ReplicaRow) -> bool:
    """Tell whether a good replica can be read now."""
    return replica.good and replica.alive and replica.status != Replica.Status.ALLOCATED


def never_written(replicas: Collection[ReplicaRow]) -> bool:
    """Tell whether no head has ever seen the mirror: all is zero, nothing to be copied."""
    found = {replica.status for replica in replicas}
    return Replica.Status.ALLOCATED in found and found <= {
        Replica.Status.ALLOCATED,
        Replica.Status.FAULTY,
    }


def _places(replicas: Sequence[ReplicaRow]) -> str:
    servers = {replica.server for replica in replicas}
    return ", ".join(map(labels.storage, sorted(servers))) or "nothing"
