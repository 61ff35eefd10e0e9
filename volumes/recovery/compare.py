"""Where the rows and what the nodes tell differ, line by line; nothing is changed."""

from collections.abc import Iterator

from volumes.recovery import held, survey


def differences() -> Iterator[str]:
    """Tell what recovery would have to mend; silent nodes are named, for they may differ too."""
    told = survey.take()
    chosen = held.plan_now(told)
    for node, failure in sorted(told.silent.items()):
        yield f"nodes: {node} did not answer: {failure}"
    for volume in chosen.volumes:
        if volume.is_new:
            yield f"nodes: lvol-{volume.about.lvolid:08x} {volume.name} is on disks and not here"
    for dextid in chosen.lost:
        yield f"nodes: dext-{dextid:08x} is here and not on its disk"
    for place, reason in chosen.quarantined.items():
        yield f"nodes: dext-{place.dextid:08x} on {place.disk}: {reason}"
