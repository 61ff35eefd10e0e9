"""Make unequal blocks equal: from the majority by itself, else from the replica that one chose."""

import errno as errnos
from datetime import timedelta

from django.db import transaction

from agents.client import AgentUnreachable
from agents.protocol import MendOrder
from inventory import audit, clock, servers
from inventory.errors import Busy, Invalid
from inventory.write_lock import write_lock
from volumes import labels, nodes
from volumes.attach import exports
from volumes.jobs import queue, wakeup
from volumes.jobs.queue import Again
from volumes.models import Job, UnequalBlock
from volumes.repair.situation import Situation, read
from volumes.scrub import comparison, findings, passes, questions
from volumes.scrub.comparison import Run

LOOK = timedelta(seconds=15)
UNKNOWN = "replicas differ and none is known to be right: choose whose content to take"
State = UnequalBlock.State


@write_lock()
def mend_block(block: UnequalBlock, dextid: int) -> Job:
    """Let the others have what this replica has: the word of whoever saw that it is right."""
    if block.state != State.OPEN or block.job is None or block.job.state != Job.State.OPEN:
        raise Busy(f"{block} is {block.get_state_display()}")
    content = block.contents.filter(dextid=dextid).first()
    if content is None:
        raise Invalid(f"dext-{dextid:08x} is no replica in which {block} were compared")
    UnequalBlock.objects.filter(pk=block.pk).update(source=dextid)
    Job.objects.filter(pk=block.job.pk, state=Job.State.OPEN).update(due=clock.now(), attempts=0)
    audit.record(
        audit.Action.MEND_BLOCK, block.mirror.volume, labels.in_text(f"{block}: take {content}")
    )
    transaction.on_commit(lambda: wakeup.wake(block.job_id or 0), robust=True)
    return block.job


@write_lock()
def dismiss(job: Job, reason: str) -> None:
    """Leave blocks as they are; the next scrub finds them again."""
    block = UnequalBlock.objects.filter(job=job, state=State.OPEN).first()
    if block is None:
        raise Busy(f"{job} is over")
    findings.end(block, State.DISMISSED)
    audit.record(audit.Action.CANCEL_JOB, f"job {job.pk}", f"{reason}: {job.subject}")


def mend_step(job: Job) -> Again | None:
    """Mend what is known to be wrong; else wait until somebody chooses."""
    situation = read(job)
    block = UnequalBlock.objects.filter(job=job, state=State.OPEN).first()
    if situation is None or block is None:
        queue.finish(job, errnos.ECANCELED, "there is nothing to mend any more")
        return None
    contents = dict(block.contents.values_list("dextid", "digest"))
    source = block.source or comparison.choose(contents)
    if why := passes.obstacle(situation) if source else UNKNOWN:
        return Again(LOOK, why, in_line=True)
    if contents.keys() != {replica.dextid for replica in situation.replicas}:
        return _close(job, block, State.GONE, "a replica was replaced since then")
    try:
        return _mend(situation, block, source or 0, contents[source or 0])
    except (questions.TooOld, findings.TooMany, passes.Changed) as news:
        return Again(LOOK, str(news), in_line=True)


def _mend(situation: Situation, block: UnequalBlock, source: int, expected: str) -> Again | None:
    """Look once more, have nodes copy the blocks, and look whether they are equal."""
    job = situation.job
    before = _unequal(situation, block)
    if not before:
        return _close(job, block, State.GONE, "they were overwritten since then")
    if [dict(run.contents) for run in before] != [
        dict(block.contents.values_list("dextid", "digest"))
    ]:
        return _note(situation, block)
    if situation.attachment:
        place = (block.offset_mib, block.first, block.count)
        questions.verify(situation, situation.attachment, place, source, expected)
    else:
        _copy(situation, block, source, expected)
    if _unequal(situation, block):
        return _note(situation, block)
    if block.source is None:
        _write_down(situation, block, source)
    return _close(job, block, State.MENDED, "they are equal again")


def _unequal(situation: Situation, block: UnequalBlock) -> list[Run]:
    """Tell what still differs of the blocks."""
    until = block.first + block.count
    if situation.attachment:
        place = (block.offset_mib, block.first, block.count)
        digests = questions.verify(situation, situation.attachment, place)
        return comparison.runs(digests, block.first)
    runs = passes.examine(situation, block.offset_mib)
    return [run for run in runs if run.first < until and run.first + run.count > block.first]


def _note(situation: Situation, block: UnequalBlock) -> Again | None:
    """Take over what differs by now; what becomes of it is decided anew."""
    findings.note(situation, block.offset_mib, passes.examine(situation, block.offset_mib))
    if UnequalBlock.objects.filter(pk=block.pk, state=State.OPEN).exists():
        return queue.retry(situation.job, "what differs has changed")
    return None


def _copy(situation: Situation, block: UnequalBlock, source: int, expected: str) -> None:
    """Let each server with other contents fetch the blocks from the source's; in one epoch."""
    group, job = situation.group, situation.job
    by_id = {replica.dextid: replica for replica in situation.replicas}
    exported = exports.export(job.pk, group.pk, group.epoch, [by_id[source]])
    if source in exported.failed:
        raise AgentUnreachable(exported.failed[source])
    for content in block.contents.exclude(digest=expected):
        target = by_id[content.dextid]
        order = MendOrder(
            eventid=job.pk,
            incarnation=servers.cluster().incarnation,
            lvolid=group.pk,
            epoch=group.epoch,
            source=exported.sources[source],
            target=target.ref,
            offset_mib=block.offset_mib,
            first=block.first,
            count=block.count,
            expected=expected,
        )
        nodes.storage(target.server).mend(order)
    exports.evict(job.pk, group.pk, group.epoch, [by_id[source].server], [source])


@write_lock()
def _write_down(situation: Situation, block: UnequalBlock, source: int) -> None:
    """Nobody asked for it: the audit log says what was done, and why."""
    contents = ", ".join(str(content) for content in block.contents.order_by("dextid"))
    taken = f"{block}: took dext-{source:08x}'s of {contents}"
    audit.record(audit.Action.MEND_BLOCK, situation.mirror.volume, labels.in_text(taken))


@write_lock()
def _close(job: Job, block: UnequalBlock, state: UnequalBlock.State, why: str) -> None:
    findings.end(block, state)
    queue.tell(job, why)
