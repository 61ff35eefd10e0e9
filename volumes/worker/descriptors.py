"""Have disks told what they hold where a volume stayed attached since before they were told that.

An export writes the descriptors; what was exported by an agent of an older version has none.
"""

import random
from collections import defaultdict
from collections.abc import Mapping

from agents.protocol import StorageState
from volumes.attach import exports
from volumes.models import Attachment
from volumes.recovery import sweep
from volumes.replicas import rows

GROUPS_AT_ONCE = 20
"""In one round; the others follow in the next ones."""


def write_missing(states: Mapping[int, StorageState]) -> None:
    """Export again, for the same epoch, what is used and not described: that disturbs nobody."""
    missing: dict[tuple[int, int], set[tuple[int, int]]] = defaultdict(set)
    for server, state in states.items():
        for export in state.exports:
            if not export.described:
                missing[export.lvolid, export.epoch].add((server, export.dextid))
    if not missing:
        return
    bound = Attachment.objects.filter(
        state=Attachment.State.BOUND, volume__in={group for group, _ in missing}
    ).values_list("volume", "volume__epoch")
    used = sorted(missing.keys() & set(bound))
    # One whose disk refuses must not keep others waiting for ever.
    for group, epoch in random.sample(used, min(len(used), GROUPS_AT_ONCE)):
        there = [r for r in rows.of_group(group) if (r.server, r.dextid) in missing[group, epoch]]
        exports.export(sweep.event(), group, epoch, [r for r in there if r.alive])
