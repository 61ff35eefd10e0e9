"""Where the rows and what the nodes tell differ, line by line; nothing is changed."""

from collections.abc import Iterator

from django.db import transaction

from volumes import labels
from volumes.models import Attachment
from volumes.orphans import knowledge
from volumes.orphans.standing import Standing
from volumes.recovery import held, recovery_plan
from volumes.recovery.recovery_plan import HeldReplica, Plan
from volumes.recovery.survey import Survey


def differences(told: Survey) -> Iterator[str]:
    """Tell what recovery would have to mend; silent nodes are named, for they may differ too."""
    silent = sorted(told.silent.items())
    yield from labels.in_texts(
        f"nodes: {node} did not answer: {failure}" for node, failure in silent
    )
    yield from unknown(told)


def unknown(told: Survey) -> Iterator[str]:
    """Tell what those that answered have and the rows have not, and the other way round."""
    yield from labels.in_texts(_unknown(told))


def _unknown(told: Survey) -> Iterator[str]:
    with transaction.atomic():
        rows = held.held()
        chosen = recovery_plan.make(told, rows)
        running = list(_unknown_groups(told))
    yield from _unknown_replicas(chosen, {replica.dextid: replica for replica in rows.replicas})
    yield from running
    for dextid in chosen.lost:
        yield f"nodes: dext-{dextid:08x} is here and not on its disk"
    for place, reason in chosen.quarantined.items():
        yield f"nodes: dext-{place.dextid:08x} on {place.disk}: {reason}"


def _unknown_replicas(chosen: Plan, rows: dict[int, HeldReplica]) -> Iterator[str]:
    for volume in chosen.volumes:
        name = f"{volume.name} (lvol-{volume.about.lvolid:08x})"
        if volume.is_new:
            yield f"nodes: {name} is on disks and not here"
            continue
        for place in volume.places:
            if place.dextid not in rows:
                yield f"nodes: dext-{place.dextid:08x} of {name} is on {place.disk} and not here"
    for place in chosen.surplus:
        if place.dextid not in rows:
            yield f"nodes: dext-{place.dextid:08x} on {place.disk}: others have replaced it"


def _unknown_groups(told: Survey) -> Iterator[str]:
    """Tell of the groups that run, are not over, and are not attached where they run."""
    running = told.running
    known = knowledge.of(running)
    attached = Attachment.objects.filter(volume__in=list(running)).values_list("volume", "head")
    where = dict(attached)
    for lvolid, one in sorted(running.items()):
        epoch = one.group.epoch
        over = known.of_group(lvolid, epoch) == Standing.OVER
        if not over and where.get(lvolid) != one.head:
            what = f"hsvr-{one.head:08x} runs lvol-{lvolid:08x} of epoch {epoch}"
            yield f"nodes: {what}, which is not attached there here"
