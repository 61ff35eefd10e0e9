"""What a mirror needs next to be whole again: pure, from its copies and the policy."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from inventory.models import Extent, Priority
from volumes.models import Leg
from volumes.replicas.rows import EXPLICIT, Copy

CONNECTION = "connection"
"""The head itself told that it does not reach the copy."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Copying:
    """A copy is being built already."""

    copy: Copy


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The copy's server is back: bring the same extent up to date."""

    copy: Copy


@dataclass(frozen=True, slots=True)
class Replace:
    """Build a new copy elsewhere: `lost` goes at once, `moved` serves until the new is whole."""

    lost: Copy | None = None
    moved: Copy | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Enough others are good: let go of these."""

    copies: tuple[Copy, ...]


Need = Whole | Wait | Copying | CatchUp | Replace | Drop


def next_need(
    copies: Sequence[Copy],
    *,
    redundancy: int,
    attached: bool,
    silent_for: Mapping[int, float],
    held: Mapping[int, str],
    grace: float,
    brake: bool,
) -> Need:
    """Say what to do next for one mirror.

    It is known which copies are the newest. `silent_for` tells for how many seconds the server or
    disk of a copy has not answered, by dextid; `held` why a copy is left alone for now, by dextid:
    its server is in maintenance, or its evacuation is paused; `brake` that too many servers
    vanished together for anything to be replaced automatically.
    """
    good = [copy for copy in copies if copy.good]
    building = [copy for copy in copies if copy.status == Leg.Status.SPARE]
    faulty = [copy for copy in copies if copy.status == Leg.Status.FAULTY]
    if not good:
        return Wait(f"no good copy is left; waiting for {_places(copies)} to come back")
    if attached and (cut_off := _cut_off(good)):
        return cut_off
    if building:
        enough = len(good) >= redundancy and not any(map(is_leaving, good))
        return Drop(tuple(building)) if enough else _go_on(building[0])
    if needless := superfluous(copies, redundancy):
        return Drop(needless)
    if faulty:
        return _mend(faulty, good, silent_for=silent_for, held=held, grace=grace, brake=brake)
    return _grow_or_move(good, redundancy, held)


def _cut_off(good: Sequence[Copy]) -> Need | None:
    """Nothing can be copied while the head reaches no good copy: that one comes first.

    The last good copy of a mirror stays good when its head loses it; its `why` tells that it did.
    """
    lost = [copy for copy in good if copy.why]
    if len(lost) < len(good):
        return None
    if back := next((copy for copy in lost if copy.alive), None):
        return CatchUp(back)
    if all(copy.why == CONNECTION for copy in lost):
        return Wait(f"the head reaches no good copy; waiting for {_places(good)} to come back")
    return None


def _grow_or_move(good: Sequence[Copy], redundancy: int, held: Mapping[int, str]) -> Need:
    leaving = [copy for copy in good if is_leaving(copy)]
    if len(good) < redundancy:
        return Replace()
    if not leaving:
        return Whole()
    moving = next((copy for copy in leaving if copy.dextid not in held), None)
    return Replace(moved=moving) if moving else Wait(held[leaving[0].dextid])


def _go_on(copy: Copy) -> Need:
    """A half-built copy goes on where its server answers, and is given up where it does not."""
    if copy.alive:
        return Copying(copy)
    return Replace(lost=copy)


def _mend(
    faulty: Sequence[Copy],
    good: Sequence[Copy],
    *,
    silent_for: Mapping[int, float],
    held: Mapping[int, str],
    grace: float,
    brake: bool,
) -> Need:
    """A silent server has its grace, unless the mirror is on its last copy or it was said lost."""
    if returned := next((copy for copy in faulty if copy.alive and is_sound(copy)), None):
        return CatchUp(returned)
    explicit = [copy for copy in faulty if not is_sound(copy)]
    if explicit:
        return Replace(lost=explicit[0])
    if brake:
        return Wait("too many servers vanished together: nothing is replaced by itself")
    least = max(faulty, key=lambda copy: silent_for.get(copy.dextid, 0.0))
    silent = silent_for.get(least.dextid, 0.0)
    resting = held.get(least.dextid, "")
    if len(good) < 2 or (silent >= grace and not resting):  # noqa: PLR2004 - the last good copy
        return Replace(lost=least)
    return Wait(
        resting
        or f"pdsk-{least.disk:08x} on ssvr-{least.server:08x} is silent for {silent:.0f} s; "
        f"its copies are replaced after {grace:.0f} s"
    )


def is_sound(copy: Copy) -> bool:
    """Tell whether a copy may be brought up to date where it is, once it answers."""
    return copy.why not in EXPLICIT and copy.extent_status == Extent.Status.BUSY


def superfluous(copies: Sequence[Copy], redundancy: int) -> tuple[Copy, ...]:
    """Name the copies that are not needed beside the good ones: bad ones, and those too many.

    One that has to leave goes first, then the newest.
    """
    good = [copy for copy in copies if copy.good]
    if len(good) < redundancy:
        return ()
    bad = [copy for copy in copies if copy.status == Leg.Status.FAULTY]
    last_first = sorted(good, key=lambda copy: (not is_leaving(copy), -copy.dextid))
    return (*bad, *last_first[: len(good) - redundancy])


def is_leaving(copy: Copy) -> bool:
    """Tell whether a good copy must move.

    Its disk or server is being emptied or has bad blocks, or somebody said that it is lost and its
    head closed it in sync all the same.
    """
    emptied = Priority.EVACUATE in {copy.server_priority, copy.disk_priority}
    return emptied or copy.extent_status == Extent.Status.EVACUATE or copy.why in EXPLICIT


def servers_to_avoid(copies: Sequence[Copy], lost: Copy | None) -> set[int]:
    """Servers that hold a copy which stays: two copies never share one."""
    return {copy.server for copy in copies if copy != lost}


def can_be_source(copy: Copy) -> bool:
    """Tell whether a good copy can be read now."""
    return copy.good and copy.alive and copy.status != Leg.Status.ALLOCATED


def never_written(copies: Collection[Copy]) -> bool:
    """Tell whether no head has ever seen the mirror: every copy is zero, nothing to be copied."""
    found = {copy.status for copy in copies}
    return Leg.Status.ALLOCATED in found and found <= {Leg.Status.ALLOCATED, Leg.Status.FAULTY}


def _places(copies: Sequence[Copy]) -> str:
    return ", ".join(sorted({f"ssvr-{copy.server:08x}" for copy in copies})) or "nothing"
