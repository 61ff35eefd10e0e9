"""How much rebuilds, shreds and scrubs got done since somebody looked last."""

from datetime import datetime

from django.db.models import Q

from volumes.models import Job

KINDS = (Job.Kind.REBUILD, Job.Kind.SHRED, Job.Kind.SCRUB)
Done = dict[int, tuple[str, int]]
"""The kind of a job, and the MiB that it has done, by its number."""


def look(since: datetime) -> Done:
    """Read what runs, which is as much as may run at once, and what ended lately."""
    running = Q(state=Job.State.OPEN, ordered=True)
    ended = Q(state=Job.State.DONE, finished__gte=since)
    rows = Job.objects.filter(running | ended, kind__in=KINDS, started__isnull=False)
    told = rows.values_list("pk", "kind", "state", "done_mib", "total_mib")
    return {
        pk: (kind, total if state == Job.State.DONE else done)
        for pk, kind, state, done, total in told
    }


def between(before: Done, now: Done) -> dict[str, int]:
    """Add up by kind what was done; a job that began anew has done what it has done since."""
    sums = dict.fromkeys(map(str, KINDS), 0)
    for pk, (kind, done) in now.items():
        already = before.get(pk, (kind, 0))[1]
        sums[kind] += done - already if done >= already else done
    return sums
