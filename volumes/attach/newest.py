"""Which copies a head may start from: pure, from the rows and the marks found on the copies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.protocol import CopyMark
from inventory.errors import HostDown
from volumes.models import Leg
from volumes.replicas.rows import EXPLICIT, Copy


class Uncertain(HostDown):
    """The newest copy may be one that cannot be read now."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The copies of one mirror to assemble. `left_out` maps the others' ids to the reason.

    `behind`: all of them had been left behind, and an operator forced the choice.
    """

    mirror: int
    events: int
    doubt: bool
    behind: bool
    taken: tuple[Copy, ...]
    left_out: Mapping[int, str]


def choose(
    copies: Sequence[Copy], marks: Mapping[int, CopyMark], *, clean: bool, force: bool
) -> Choice:
    """Choose the newest copies of one mirror.

    After a clean end the recorded event counts tell who is newest, so a copy that does not answer
    is merely left out. After an unclean one every good copy has to be examined first: the one that
    is missing might be the only one with the last acknowledged writes (Uncertain). An operator who
    forces the choice gets the newest of all copies that can be read, those left behind included.
    A copy whose server was away counts, too, if by its mark it is what was closed cleanly.
    """
    _refuse_used_space(copies, marks)
    good = [copy for copy in copies if copy.good]
    known = max((copy.events for copy in good), default=0)
    back = known if clean else 0
    whole = [copy for copy in copies if copy.good or _is_back(copy, marks, back, force=force)]
    answered = [copy for copy in whole if copy.dextid in marks]
    missing = [copy for copy in good if copy.dextid not in marks]
    if not answered:
        raise HostDown(f"mirr-{copies[0].mirror:08x}: {_names(good)} must answer and do not")
    if missing and not clean and not force:
        raise Uncertain(
            f"mirr-{copies[0].mirror:08x} was not closed in order and {_names(missing)} cannot be "
            f"read: it may hold the newest data"
        )
    newest = max(marks[copy.dextid].events for copy in answered)
    if clean and newest < known and not force:
        raise Uncertain(
            f"mirr-{copies[0].mirror:08x}: the newest copy found is of event {newest}, "
            f"{known} was recorded; {_names(missing)} must answer"
        )
    _refuse_newer_outsider(copies, marks, newest, force=force)
    taken = tuple(copy for copy in answered if marks[copy.dextid].events == newest)
    return Choice(
        mirror=copies[0].mirror,
        events=newest,
        doubt=any(not marks[copy.dextid].clean for copy in taken),
        behind=not any(c.good or _is_back(c, marks, back, force=False) for c in taken),
        taken=taken,
        left_out={
            **{copy.dextid: "silent" for copy in missing},
            **{copy.dextid: "stale" for copy in answered if copy.good and copy not in taken},
        },
    )


def _refuse_used_space(copies: Iterable[Copy], marks: Mapping[int, CopyMark]) -> None:
    """What no head has seen yet bears no mark; else somebody's data would be shown to another."""
    for copy in copies:
        mark = marks.get(copy.dextid)
        if mark and mark.epoch and copy.status == Leg.Status.ALLOCATED:
            raise Uncertain(
                f"mirr-{copy.mirror:08x}: {_names([copy])} is new, but bears a mark of epoch "
                f"{mark.epoch}: it was not zeroed"
            )


def _is_back(copy: Copy, marks: Mapping[int, CopyMark], events: int, *, force: bool) -> bool:
    """Tell whether a copy that is thought to be behind may be one of the newest; 0 is no event."""
    mark = marks.get(copy.dextid)
    if copy.status != Leg.Status.FAULTY or mark is None:
        return False
    unchanged = 0 < events == copy.events == mark.events
    return force or (unchanged and copy.why not in EXPLICIT)


def _refuse_newer_outsider(
    copies: Iterable[Copy], marks: Mapping[int, CopyMark], newest: int, *, force: bool
) -> None:
    """A copy that was left behind cannot be newer than the good ones; if it is, stop."""
    for copy in copies:
        mark = marks.get(copy.dextid)
        if mark and not copy.good and mark.events > newest and not force:
            raise Uncertain(
                f"mirr-{copy.mirror:08x}: dext-{copy.dextid:08x} was thought to be behind, but is "
                f"of event {mark.events}, newer than the good copies ({newest})"
            )


def _names(copies: Iterable[Copy]) -> str:
    return ", ".join(f"dext-{c.dextid:08x} on ssvr-{c.server:08x}" for c in copies) or "no copy"
