"""States as people see them: a word, a tone and a mark, never a colour alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from inventory import clock
from inventory.models import USABLE, EventEntry, Extent, Priority
from volumes.models import Attachment, Job, LogicalVolume, Replica
from volumes.reports import silence
from volumes.reports.activity import Activity

OK, WARN, BAD, BUSY, IDLE = "ok", "warn", "bad", "busy", "idle"
MARKS = {OK: "✓", WARN: "!", BAD: "✕", BUSY: "↻", IDLE: "\N{EN DASH}"}


@dataclass(frozen=True, slots=True)
class Pill:
    """A state in a word."""

    text: str
    tone: str
    title: str = ""

    def __html__(self) -> SafeString:
        """Write it as HTML; Django's templates and format_html ask for this."""
        return format_html(
            '<span class="vs-pill vs-{}" title="{}"><span aria-hidden="true">{}</span> {}</span>',
            self.tone,
            self.title,
            MARKS[self.tone],
            self.text,
        )

    def __str__(self) -> str:
        return self.__html__()


PRIORITIES = {
    Priority.HIGH: Pill("up", OK, "takes new data"),
    Priority.LOW: Pill(
        "up, second choice", WARN, "LOW: takes new data only where HIGH has no room"
    ),
    Priority.EVACUATE: Pill("draining", BUSY, "EVACUATE: serves what it has, takes nothing new"),
    Priority.OFFLINE: Pill("offline", BAD, "out of service until it registers again"),
    Priority.FAULTY: Pill("faulty", BAD, "out of service for good"),
    Priority.HALT: Pill("halted", IDLE, "shut down with the cluster"),
}
SILENT = "silent"
CARE = {Job.Kind.MAINTENANCE: "in maintenance", Job.Kind.EVACUATE: "draining"}
MAINTENANCE = Pill("in maintenance", BUSY)
DRAINED = Pill("drained", IDLE, "EVACUATE: nothing is left on it, it takes nothing new")
ATTACHMENTS = {
    "": Pill("detached", IDLE),
    Attachment.State.BINDING: Pill("attaching", BUSY),
    Attachment.State.BOUND: Pill("attached", OK),
    Attachment.State.UNBINDING: Pill("detaching", BUSY),
    Attachment.State.ERROR: Pill("error", BAD),
}
WAITING = Pill("waiting for storage", BAD, "its head reaches no good replica of some part")
EVENTS = {
    EventEntry.Severity.INFO: IDLE,
    EventEntry.Severity.WARNING: WARN,
    EventEntry.Severity.ERROR: BAD,
}
"""The tone of each severity."""
ACTIVITIES = {
    Activity.RECOVERING: Pill("recovering", BUSY, "replicas are being copied"),
    Activity.TO_RECOVER: Pill("waiting to recover", IDLE, "no replica is being copied yet"),
    Activity.SCRUBBING: Pill("scrubbing", BUSY, "its replicas are being compared"),
}
MOVING = Pill("moving", BUSY, "it has all its replicas, one of them moves to another disk")
MOVES = {
    Activity.RECOVERING: MOVING,
    Activity.TO_RECOVER: Pill("waiting to move", IDLE, "no replica is being copied yet"),
}
"""What the repair of a volume is that has all its replicas."""
REPLICAS = {
    Replica.Status.ALLOCATED: Pill("new", OK, "ALLOCATED: never written"),
    Replica.Status.INSYNC: Pill("in sync", OK),
    Replica.Status.SPARE: Pill("rebuilding", BUSY, "SPARE: not yet equal to the others"),
    Replica.Status.FAULTY: Pill("faulty", BAD, "out; being caught up or replaced"),
    Replica.Status.NEEDSHRED: Pill("new, exposed", OK, "NEEDSHRED: a head has been given it"),
}
EXTENTS = {
    Extent.Status.BUSY: Pill("used", OK),
    Extent.Status.FREE: Pill("free", IDLE),
    Extent.Status.EVACUATE: Pill("used, bad blocks", WARN),
    Extent.Status.OFFLINE: Pill("to be shredded", BUSY),
    Extent.Status.SUPER: Pill("label", IDLE),
    Extent.Status.FAULTY: Pill("bad", BAD),
}
JOBS = {
    Job.State.DONE: Pill("done", OK),
    Job.State.FAILED: Pill("failed", BAD),
    Job.State.CANCELED: Pill("canceled", IDLE),
}


def server_pill(priority: int, silent_since: datetime | None) -> Pill:
    """Show a server; one that has not answered for a while is suspected before it is out."""
    known = PRIORITIES[Priority(priority)]
    if known.tone in {BAD, IDLE} or silent_since is None or silent_since > silence.limit():
        return known
    return Pill(SILENT, WARN, f"no answer since {clock.on_the_wall(silent_since):%H:%M:%S} UTC")


def place_pill(
    priority: int, silent_since: datetime | None, care: Job | None, rebuilds: int = 0
) -> Pill:
    """Show a storage server or a disk, with the maintenance, evacuation or recovery it is in."""
    known = server_pill(priority, silent_since)
    if care is None and rebuilds and known in {PRIORITIES[good] for good in USABLE}:
        copied = (
            f"{rebuilds} {'replica is' if rebuilds == 1 else 'replicas are'} being copied to it"
        )
        return Pill(f"{known.text}, recovering", BUSY, f"{copied}; {known.title}")
    if care is None:
        return DRAINED if priority == Priority.EVACUATE else known
    if known.tone in {BAD, IDLE} or known.text == SILENT:
        return Pill(f"{known.text}, {CARE[Job.Kind(care.kind)]}", known.tone, known.title)
    return care_pill(care)


def care_pill(job: Job) -> Pill:
    """Show a maintenance until when, an evacuation by how far it is."""
    who = f"asked for by {job.actor or 'the cluster'}"
    if job.kind == Job.Kind.MAINTENANCE:
        until = f" until {clock.on_the_wall(job.deadline):%H:%M} UTC" if job.deadline else ""
        return Pill(f"maintenance{until}", BUSY, f"takes nothing new; {who}")
    percent = f"{100 * job.done_mib // job.total_mib} %" if job.total_mib else "0 %"
    waiting = f"{job.waiting or 'serves what it has, takes nothing new'}; {who}"
    if job.paused:
        return Pill(f"draining, paused at {percent}", IDLE, waiting)
    return Pill(f"draining, {percent}", BUSY, waiting)


def protection_pill(volume: LogicalVolume, good: int) -> Pill:
    """Show a volume by the good replicas of its weakest part; a broken snapshot as that."""
    if volume.broken:
        return Pill("broken", BAD, volume.broken_because or "its store lost data")
    return replicas_pill(good, volume.redundancy)


def activity_pills(activities: Iterable[Activity], *, whole: bool) -> list[Pill]:
    """Show what is done to a volume; one that has all its replicas is moved, not recovered."""
    repair = {Activity.RECOVERING, Activity.TO_RECOVER}
    return [MOVING if whole and one in repair else ACTIVITIES[one] for one in activities]


def replicas_pill(good: int, redundancy: int) -> Pill:
    """Show how many good replicas the weakest part of a volume has."""
    text = f"{good} of {redundancy}"
    if good >= redundancy:
        return Pill(text, OK, "every part has all its replicas")
    if good > 1:
        return Pill(text, WARN, "redundancy is reduced")
    return Pill(f"{text}: last replica" if good else f"{text}: none", BAD)


def job_pill(state: str, *, started: bool, paused: bool, overdue: bool, attempts: int) -> Pill:
    """Show a job; an open one by whether it gets on."""
    if state != Job.State.OPEN:
        return JOBS[Job.State(state)]
    if overdue:
        return Pill("overdue", BAD, "nobody has taken its next step in time")
    if paused:
        return Pill("paused", IDLE)
    if attempts:
        tried = "try of this step has" if attempts == 1 else "tries of this step have"
        return Pill("retrying", WARN, f"{attempts} {tried} failed")
    return Pill("running", BUSY) if started else Pill("waiting", IDLE)
