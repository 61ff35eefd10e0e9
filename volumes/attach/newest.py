"""Which copies a head may start from: pure, from the rows and the marks found on the replicas."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.protocol import LOST, Reason, ReplicaMark
from inventory.errors import HostDown
from volumes.models import Replica
from volumes.replicas.rows import ReplicaRow


class Uncertain(HostDown):
    """The newest replica may be one that cannot be read now."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The replicas of one mirror to assemble. `out_of_sync` maps the others' ids to the reason.

    `behind`: all of them had been left behind, and an operator forced the choice.
    """

    mirror: int
    events: int
    doubt: bool
    behind: bool
    taken: tuple[ReplicaRow, ...]
    out_of_sync: Mapping[int, Reason]


def choose(
    replicas: Sequence[ReplicaRow], marks: Mapping[int, ReplicaMark], *, clean: bool, force: bool
) -> Choice:
    """Choose the newest replicas of one mirror.

    After a clean end the recorded event counts tell who is newest, so a replica that does not
    answer is merely left out. After an unclean one every good replica has to be examined first: the
    one that is missing might be the only one with the last acknowledged writes (Uncertain). An
    operator who forces the choice gets the newest of all replicas that can be read, those left
    behind included. A replica whose server was away counts, too, if by its mark it is what was
    closed cleanly.
    """
    _refuse_used_space(replicas, marks)
    good = [replica for replica in replicas if replica.good]
    known = max((replica.events for replica in good), default=0)
    back = known if clean else 0
    whole = [
        replica
        for replica in replicas
        if replica.good or _is_back(replica, marks, back, force=force)
    ]
    answered = [replica for replica in whole if replica.dextid in marks]
    missing = [replica for replica in good if replica.dextid not in marks]
    if not answered:
        raise HostDown(f"mirr-{replicas[0].mirror:08x}: {_names(good)} must answer and do not")
    if missing and not clean and not force:
        raise Uncertain(
            f"mirr-{replicas[0].mirror:08x} was not closed cleanly and {_names(missing)} cannot be "
            f"read: it may hold the newest data"
        )
    newest = max(marks[replica.dextid].events for replica in answered)
    if clean and newest < known and not force:
        raise Uncertain(
            f"mirr-{replicas[0].mirror:08x}: the newest replica found is of event {newest}, "
            f"{known} was recorded; {_names(missing)} must answer"
        )
    _refuse_newer_outsider(replicas, marks, newest, force=force)
    taken = tuple(replica for replica in answered if marks[replica.dextid].events == newest)
    return Choice(
        mirror=replicas[0].mirror,
        events=newest,
        doubt=any(not marks[replica.dextid].clean for replica in taken),
        behind=not any(c.good or _is_back(c, marks, back, force=False) for c in taken),
        taken=taken,
        out_of_sync={
            **{replica.dextid: Reason.SILENT for replica in missing},
            **{
                replica.dextid: Reason.STALE
                for replica in answered
                if replica.good and replica not in taken
            },
        },
    )


def _refuse_used_space(replicas: Iterable[ReplicaRow], marks: Mapping[int, ReplicaMark]) -> None:
    """What no head has seen yet bears no mark; else somebody's data would be shown to another."""
    for replica in replicas:
        mark = marks.get(replica.dextid)
        if mark and mark.epoch and replica.status == Replica.Status.ALLOCATED:
            raise Uncertain(
                f"mirr-{replica.mirror:08x}: {_names([replica])} is new, but bears a mark of epoch "
                f"{mark.epoch}: it was not zeroed"
            )


def _is_back(
    replica: ReplicaRow, marks: Mapping[int, ReplicaMark], events: int, *, force: bool
) -> bool:
    """Tell whether a replica thought to be behind may be one of the newest; 0 is no event."""
    mark = marks.get(replica.dextid)
    if replica.status != Replica.Status.FAULTY or mark is None:
        return False
    unchanged = 0 < events == replica.events == mark.events
    return force or (unchanged and replica.reason not in LOST)


def _refuse_newer_outsider(
    replicas: Iterable[ReplicaRow], marks: Mapping[int, ReplicaMark], newest: int, *, force: bool
) -> None:
    """A replica that was left behind cannot be newer than the good ones; if it is, stop."""
    for replica in replicas:
        mark = marks.get(replica.dextid)
        if mark and not replica.good and mark.events > newest and not force:
            raise Uncertain(
                f"mirr-{replica.mirror:08x}: dext-{replica.dextid:08x} was thought to be behind, "
                f"but is of event {mark.events}, newer than the good replicas ({newest})"
            )


def _names(replicas: Iterable[ReplicaRow]) -> str:
    return (
        ", ".join(f"dext-{c.dextid:08x} on ssvr-{c.server:08x}" for c in replicas) or "no replica"
    )
