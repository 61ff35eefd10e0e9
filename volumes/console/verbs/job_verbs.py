"""What may be done to jobs."""

from volumes.console.frame.permissions import Right
from volumes.console.verbs.verb import Rows, Verb, Wish
from volumes.models import Job
from volumes.repair import drain
from volumes.worker import operations

CANCELABLE = (
    Job.Kind.ATTACH,
    Job.Kind.EVACUATE,
    Job.Kind.SCRUB,
    Job.Kind.MEND,
    Job.Kind.BATCH,
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
    drain.pause(job, paused=True)


def _go_on(job: Job, _: Wish) -> None:
    drain.pause(job, paused=False)


def _over(rows: Rows) -> dict[int, str]:
    return {job.pk: f"it is {job.state}" for job in rows if job.state != Job.State.OPEN}


def _refuse_cancel(rows: Rows) -> dict[int, str]:
    no = "a {} cannot be stopped half-way"
    said = {j.pk: no.format(j.kind) for j in rows if j.kind not in CANCELABLE}
    said |= {j.pk: "end it instead" for j in rows if j.kind == Job.Kind.MAINTENANCE}
    return said | _over(rows)


def _refuse_end(rows: Rows) -> dict[int, str]:
    no = "it is no maintenance"
    return {job.pk: no for job in rows if job.kind != Job.Kind.MAINTENANCE} | _over(rows)


def _refuse_force(rows: Rows) -> dict[int, str]:
    no = "there is nothing to force in a {}"
    return {j.pk: no.format(j.kind) for j in rows if j.kind not in FORCEABLE} | _over(rows)


def _refuse_pause(rows: Rows) -> dict[int, str]:
    no = "only an evacuation or a scrub rests"
    said = {job.pk: "it is paused" for job in rows if job.paused}
    return said | {job.pk: no for job in rows if job.kind not in drain.PAUSABLE} | _over(rows)


def _refuse_go_on(rows: Rows) -> dict[int, str]:
    return {job.pk: "it is not paused" for job in rows if not job.paused} | _over(rows)


def _forced_name(job: Job) -> str:
    return job.volume.name if job.volume else str(job)


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
        title="Pause",
        promise="Nothing more is begun until it goes on; what is being moved now is finished.",
        icon="pause",
        model=Job,
        do=_pause,
        refuse=_refuse_pause,
    ),
    Verb(
        name="resume-job",
        title="Go on",
        promise="It goes on where it rested.",
        icon="play_arrow",
        model=Job,
        do=_go_on,
        refuse=_refuse_go_on,
    ),
    Verb(
        name="end-maintenance",
        title="End maintenance",
        promise="It takes new data again, and its silence has replicas replaced again.",
        icon="task_alt",
        model=Job,
        do=_cancel,
        refuse=_refuse_end,
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
        asks=_forced_name,
        danger=True,
    ),
]
