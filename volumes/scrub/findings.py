"""What was found unequal, as rows: noted once, each with the job that mends it, and told."""

from collections.abc import Iterable

from django.utils import timezone

from inventory import events
from inventory.errors import NotFound
from inventory.events import Kind, Severity
from inventory.pages import ALL, Page
from inventory.write_lock import write_lock
from volumes.jobs import queue
from volumes.models import BlockContent, Job, UnequalBlock
from volumes.repair.situation import Situation
from volumes.scrub import comparison
from volumes.scrub.comparison import Run

MOST = 64
"""Open findings of one mirror; where more is unequal, a disk is wrong, not a few of its bits."""
State = UnequalBlock.State


class TooMany(Exception):
    """So much of a mirror is unequal that single blocks are not the trouble."""


def open_blocks(page: Page = ALL) -> list[UnequalBlock]:
    """Read what is unequal now, oldest first."""
    rows = UnequalBlock.objects.filter(state=State.OPEN)
    rows = rows.select_related("mirror__volume", "job").prefetch_related("contents")
    return list(page.of(rows))


def find_block(block_id: int) -> UnequalBlock:
    """Find what is unequal and was not mended yet."""
    block = UnequalBlock.objects.select_related("mirror__volume", "job").filter(pk=block_id).first()
    if block is None:
        raise NotFound(f"there is no unequal block {block_id}")
    return block


@write_lock()
def note(situation: Situation, offset_mib: int, runs: Iterable[Run]) -> None:
    """Record what differs in a chunk, each run once, with a job to mend it; forget what was."""
    before = UnequalBlock.objects.filter(
        mirror=situation.mirror, offset_mib=offset_mib, state=State.OPEN
    )
    known = {(block.first, block.count): block for block in before}
    found = {(run.first, run.count): run for run in runs}
    for place in known.keys() - found.keys():
        end(known[place], State.GONE)
    for place, run in found.items():
        if place in known:
            renew(known[place], situation, run)
        else:
            _add(situation, offset_mib, run)


@write_lock()
def forget(situation: Situation, offset_mib: int, count: int, besides: Iterable[int]) -> None:
    """End what was unequal in chunks that are equal now: it was overwritten."""
    until = offset_mib + count
    equal = UnequalBlock.objects.filter(
        mirror=situation.mirror,
        state=State.OPEN,
        offset_mib__gte=offset_mib,
        offset_mib__lt=until,
    ).exclude(offset_mib__in=list(besides))
    for block in equal:
        end(block, State.GONE)


def end(block: UnequalBlock, state: UnequalBlock.State) -> None:
    """Close a finding, and the job that was to mend it; under the write lock."""
    UnequalBlock.objects.filter(pk=block.pk, state=State.OPEN).update(
        state=state, ended=timezone.now()
    )
    if block.job_id:
        Job.objects.filter(pk=block.job_id, state=Job.State.OPEN).update(
            state=Job.State.DONE if state == State.MENDED else Job.State.CANCELED,
            error="" if state == State.MENDED else str(state.label),
            waiting="",
            finished=timezone.now(),
        )


def renew(block: UnequalBlock, situation: Situation, run: Run) -> None:
    """Take over what the replicas have by now; whoever chose among other contents chooses anew."""
    if dict(block.contents.values_list("dextid", "digest")) == dict(run.contents):
        return
    block.contents.all().delete()
    _describe(block, situation, run)
    UnequalBlock.objects.filter(pk=block.pk).update(source=None)


def _add(situation: Situation, offset_mib: int, run: Run) -> None:
    open_here = UnequalBlock.objects.filter(mirror=situation.mirror, state=State.OPEN)
    if open_here.count() >= MOST:
        raise TooMany(f"{MOST} places of it differ: it is not compared any further")
    right = comparison.choose(run.contents)
    wrong = [d for d, digest in run.contents.items() if digest != run.contents.get(right or 0)]
    block = UnequalBlock(
        mirror=situation.mirror, offset_mib=offset_mib, first=run.first, count=run.count
    )
    volume = situation.mirror.volume
    block.job = queue.submit(
        Job.Kind.MEND,
        subject=f"{block} of {volume.name} ({volume})",
        volume=situation.group,
        mirror=situation.mirror,
        extent_id=min(wrong or run.contents),
    )
    block.save(force_insert=True)
    events.tell(Kind.UNEQUAL, Severity.ERROR, volume, f"replicas differ: {block}", job=block.job.pk)
    _describe(block, situation, run)


def _describe(block: UnequalBlock, situation: Situation, run: Run) -> None:
    servers = {replica.dextid: replica.server for replica in situation.replicas}
    BlockContent.objects.bulk_create(
        BlockContent(block=block, dextid=dextid, server_id=servers[dextid], digest=digest)
        for dextid, digest in sorted(run.contents.items())
    )
