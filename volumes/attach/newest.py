"""Which replicas a head may start from: pure, from the rows and the marks found on the replicas."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.protocol import LOST, Reason, ReplicaMark
from inventory.errors import HostDown
from volumes.models import Replica
from volumes.replicas.rows import ReplicaRow

Marks = Mapping[int, ReplicaMark]
"""What the storage servers read beside the replicas that they export, by dextid."""


class Uncertain(HostDown):
    """The newest replica may be one that cannot be read now."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The replicas of one mirror to assemble. `out_of_sync` maps the others' ids to the reason.

    `dirty`: they may differ in unfinished writes. `lost_writes`: all of them were out of sync, and
    an operator forced the choice.
    """

    mirror: int
    events: int
    dirty: bool
    lost_writes: bool
    taken: tuple[ReplicaRow, ...]
    out_of_sync: Mapping[int, Reason]


def choose(replicas: Sequence[ReplicaRow], marks: Marks, *, clean: bool, force: bool) -> Newest:
    """Choose the newest replicas of one mirror; Uncertain or HostDown where nobody can tell them.

    After a clean shutdown the recorded event counts tell who is newest, so a replica that does not
    answer is merely left out. After an unclean one every good replica has to be examined first: the
    one that is missing might be the only one with the last acknowledged writes. An operator who
    forces the choice gets the newest of all replicas that can be read, those out of sync included.
    A replica whose server was away counts, too, if by its mark it is what was closed cleanly.
    """
    _refuse_used_space(replicas, marks)
    candidates = _examine(replicas, marks, clean=clean, force=force)
    if not candidates.answered:
        raise HostDown(f"{candidates}: {_names(candidates.good)} must answer and do not")
    if not force:
        _refuse_missing(candidates, clean=clean)
        _refuse_older(candidates)
        _refuse_newer_outsider(replicas, marks, candidates.newest)
    return _take_newest(candidates, marks)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What rows and marks say of the replicas of one mirror."""

    mirror: int
    label: str
    good: tuple[ReplicaRow, ...]
    """Those that are good by the rows."""
    missing: tuple[ReplicaRow, ...]
    """The good ones whose mark could not be read."""
    answered: tuple[ReplicaRow, ...]
    """Those that may be the newest and whose mark was read."""
    newest: int
    """The highest event count that was read on them."""
    recorded: int
    """The event count that the rows tell since the last clean shutdown; 0 after an unclean one."""

    def __str__(self) -> str:
        return self.label


def _examine(
    replicas: Sequence[ReplicaRow], marks: Marks, *, clean: bool, force: bool
) -> _Candidates:
    good = tuple(replica for replica in replicas if replica.good)
    recorded = max((replica.events for replica in good), default=0) if clean else 0
    read = [replica for replica in replicas if replica.dextid in marks]
    answered = tuple(
        replica
        for replica in read
        if replica.good
        or (replica.status == Replica.Status.FAULTY and force)
        or _is_back(replica, marks[replica.dextid], recorded)
    )
    return _Candidates(
        mirror=replicas[0].mirror,
        label=replicas[0].mirror_label,
        good=good,
        missing=tuple(replica for replica in good if replica.dextid not in marks),
        answered=answered,
        newest=max((marks[replica.dextid].events for replica in answered), default=0),
        recorded=recorded,
    )


def _take_newest(candidates: _Candidates, marks: Marks) -> Newest:
    newest = [r for r in candidates.answered if marks[r.dextid].events == candidates.newest]
    # What was closed cleanly and does not say so is an older image of it: a copy of its disk.
    closed = [r for r in newest if marks[r.dextid].clean] if candidates.recorded else []
    taken = tuple(closed or newest)
    stale = [r for r in candidates.answered if r.good and r not in taken]
    return Newest(
        mirror=candidates.mirror,
        events=candidates.newest,
        dirty=any(not marks[replica.dextid].clean for replica in taken),
        lost_writes=not any(
            replica.good or _is_back(replica, marks[replica.dextid], candidates.recorded)
            for replica in taken
        ),
        taken=taken,
        out_of_sync={
            **{replica.dextid: Reason.SILENT for replica in candidates.missing},
            **{replica.dextid: Reason.STALE for replica in stale},
        },
    )


def _is_back(replica: ReplicaRow, mark: ReplicaMark, recorded: int) -> bool:
    """Tell whether a replica thought to be out of sync is one of the newest; 0 is no event."""
    unchanged = 0 < recorded == replica.events == mark.events
    faulty = replica.status == Replica.Status.FAULTY
    return faulty and unchanged and replica.reason not in LOST


def _refuse_used_space(replicas: Iterable[ReplicaRow], marks: Marks) -> None:
    """What no head has seen yet bears no mark; else somebody's data would be shown to another."""
    for replica in replicas:
        mark = marks.get(replica.dextid)
        if mark and mark.epoch and replica.status == Replica.Status.ALLOCATED:
            raise Uncertain(
                f"{replica.mirror_label}: {_names([replica])} is new, but bears a mark of epoch "
                f"{mark.epoch}: it was not zeroed"
            )


def _refuse_missing(candidates: _Candidates, *, clean: bool) -> None:
    """After an unclean shutdown, the replica that cannot be read may be the newest."""
    if candidates.missing and not clean:
        raise Uncertain(
            f"{candidates} was not closed cleanly and {_names(candidates.missing)} cannot be "
            f"read: it may hold the newest data"
        )


def _refuse_older(candidates: _Candidates) -> None:
    """After a clean shutdown, it is known how new the newest replica is."""
    if candidates.newest < candidates.recorded:
        raise Uncertain(
            f"{candidates}: the newest replica found is of event {candidates.newest}, "
            f"{candidates.recorded} was recorded; {_names(candidates.missing)} must answer"
        )


def _refuse_newer_outsider(replicas: Iterable[ReplicaRow], marks: Marks, newest: int) -> None:
    """A replica that is out of sync cannot be newer than the good ones; if it is, stop."""
    for replica in replicas:
        mark = marks.get(replica.dextid)
        if mark and not replica.good and mark.events > newest:
            raise Uncertain(
                f"{replica.mirror_label}: {_names([replica])} was thought to be behind, "
                f"but is of event {mark.events}, newer than the good replicas ({newest})"
            )


def _names(replicas: Iterable[ReplicaRow]) -> str:
    return ", ".join(f"dext-{r.dextid:08x} on {r.server_label}" for r in replicas) or "no replica"
