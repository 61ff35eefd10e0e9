"""What may be done to jobs."""

from volumes.console.frame.permissions import Right
from volumes.console.verbs.verb import Rows, Verb, Wish
from volumes.models import Job
from volumes.repair import drain
from volumes.worker import operations

CANCELABLE = (
    Job.Kind.ATTACH,
    Job.Kind.EVACUATE,
    Job.Kind.MAINTENANCE,
    Job.Kind.SCRUB,
    Job.Kind.MEND,
)
FORCEABLE = (Job.Kind.ATTACH, Job.Kind.DETACH, Job.Kind.REBUILD)
FORCED = {
    Job.Kind.ATTACH: "{}: the replicas that answer are taken as the newest",
    Job.Kind.DETACH: "{}: the head is given up and fenced off",
    Job.Kind.REBUILD: "{}: the silent replica is replaced before its grace is over",
}


def _retry(job: Job, _: Wish) -> None:
    operations.retry_job(job)


def _cancel(job: Job, _: Wish) -> None:
    operations.cancel_job(job)


def _force(job: Job, _: Wish) -> None:
    operations.force_job(job)


def _pause(job: Job, _: Wish) -> None:
    drain.pause(job, paused=not job.paused)


def _over(rows: Rows) -> dict[int, str]:
    return {job.pk: f"it is {job.state}" for job in rows if job.state != Job.State.OPEN}


def _refuse_cancel(rows: Rows) -> dict[int, str]:
    no = "a {} cannot be stopped half-way"
    return {j.pk: no.format(j.kind) for j in rows if j.kind not in CANCELABLE} | _over(rows)


def _refuse_force(rows: Rows) -> dict[int, str]:
    no = "there is nothing to force in a {}"
    return {j.pk: no.format(j.kind) for j in rows if j.kind not in FORCEABLE} | _over(rows)


def _refuse_pause(rows: Rows) -> dict[int, str]:
    no = "only an evacuation or a scrub rests"
    return {job.pk: no for job in rows if job.kind not in drain.PAUSABLE} | _over(rows)


def _force_hits(rows: Rows) -> list[str]:
    return [FORCED[Job.Kind(job.kind)].format(job.subject) for job in rows if job.kind in FORCED]


VERBS = [
    Verb(
        name="retry-job",
        title="Retry now",
        promise="The next step is taken at once instead of later.",
        icon="replay",
        model=Job,
        do=_retry,
        refuse=_over,
    ),
    Verb(
        name="pause-job",
        title="Pause or go on",
        promise="An evacuation or scrub that runs rests, one that rests goes on; what is being "
        "moved is finished first.",
        icon="pause",
        model=Job,
        do=_pause,
        refuse=_refuse_pause,
    ),
    Verb(
        name="cancel-job",
        title="Cancel",
        promise="The work ends here; nothing is left half done.",
        icon="cancel",
        model=Job,
        do=_cancel,
        refuse=_refuse_cancel,
    ),
    Verb(
        name="force-job",
        title="Force",
        promise="You take responsibility for what the job waits for.",
        icon="bolt",
        model=Job,
        do=_force,
        right=Right.OPERATE,
        refuse=_refuse_force,
        hits=_force_hits,
        danger=True,
    ),
]
