"""The first page: is my data safe, what is wrong, what is being done about it."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from inventory.models import Disk, HeadServer, Priority, StorageServer
from volumes.console.frame.formats import clock
from volumes.console.frame.page import fragment, part_of, viewing
from volumes.console.frame.permissions import Right, may
from volumes.console.frame.pills import (
    ACTIVITIES,
    ATTACHMENTS,
    BAD,
    DRAINED,
    MAINTENANCE,
    MOVES,
    OK,
    PRIORITIES,
    SILENT,
    WAITING,
    WARN,
    Pill,
)
from volumes.console.pages import first_run
from volumes.console.pages.job_page import lines
from volumes.models import Attachment, Job, LogicalVolume
from volumes.reports import (
    activity,
    capacity,
    care,
    problems,
    progress,
    protection,
    silence,
    verdict,
)
from volumes.reports.problems import Risk
from volumes.reports.problems.causes import Card
from volumes.reports.problems.volume_problems import KINDS
from volumes.reports.shared import Shared
from volumes.reports.verdict import Verdict

SHOWN = 6
VOLUMES = "admin:volumes_logicalvolume_changelist"
JOBS = "admin:volumes_job_changelist"
State = Attachment.State
SHOWN_STATES = (State.ERROR, State.BINDING, State.UNBINDING, State.BOUND)
VERDICTS = {
    Verdict.SAFE: (OK, "All data is safe"),
    Verdict.MENDING: (WARN, "Data is safe, something is being mended"),
    Verdict.ATTENTION: (WARN, "Data is safe, something needs attention"),
    Verdict.RECOVERING: (WARN, "Recovering: what runs goes on, nothing new is done"),
    Verdict.SNAPSHOT_LOST: (BAD, "A snapshot is lost, all other data is safe"),
    Verdict.AT_RISK: (BAD, "Data is at risk"),
    Verdict.OUT_OF_REACH: (BAD, "Data is out of reach"),
}
WEAK = KINDS.values()
"""What is told by numbers of volumes."""
RISKS = (
    (Risk.UNREACHABLE, Risk.LAST_REPLICA),
    (Risk.UNEQUAL,),
    (Risk.BROKEN,),
    (Risk.STRANGE,),
    (Risk.STOPPED, Risk.FAILED),
    (Risk.NETWORK,),
    (Risk.REDUCED, Risk.WEAR),
    (Risk.MENDING,),
)
"""What is told in one reason each."""


@dataclass(frozen=True, slots=True)
class VerdictReason:
    """A part of the verdict, with the list that shows it."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """One line on the state of the cluster's data."""

    tone: str
    text: str
    reasons: list[VerdictReason]


@dataclass(frozen=True, slots=True)
class StateTally:
    """A number of things in one state, with the list that shows them."""

    pill: Pill
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class Population:
    """All of a kind by state; `also` are states that some of them are in besides."""

    title: str
    url: str
    tallies: list[StateTally]
    also: list[StateTally] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Count all of them."""
        return sum(tally.count for tally in self.tallies)

    @property
    def shares(self) -> list[tuple[str, float]]:
        """List the parts of a bar: a tone and its percents."""
        return [(tally.pill.tone, 100 * tally.count / self.total) for tally in self.tallies]


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what the first page shows to the admin's own context."""
    allowed = may(request.user, Right.VIEW)
    shown = _shown(request) if allowed else {}
    return {**context, "title": "Overview", "allowed": allowed, **shown}


@viewing
@part_of("admin:index")
def live(request: HttpRequest) -> HttpResponse:
    """Show the first page's content anew."""
    return fragment(request, "console/overview_live.html", **_shown(request))


@viewing
@part_of("console:problems")
def badge_live(request: HttpRequest) -> HttpResponse:
    """Count the problems that nobody has acknowledged, for the sidebar of any page."""
    return fragment(request, "console/badge.html", badge=_badge(ANSWER.get()["problem_count"]))


def badge(request: HttpRequest) -> str:
    """Mark the sidebar's entry as well as is known at once; `badge_live` tells the number."""
    if not may(request.user, Right.VIEW):
        return ""
    if (known := ANSWER.last()) is not None:
        return _badge(known["problem_count"])
    return "!" if problems.is_anything_wrong() else ""


def _badge(count: int) -> str:
    return str(count) if count else ""


def _shown(request: HttpRequest) -> dict[str, Any]:
    """Give what all see, and while there is no volume the steps to one, which are the asker's."""
    answer = ANSWER.get()
    return answer if answer["histogram"] else {**answer, **first_run.context(request)}


def _context() -> dict[str, Any]:
    weak = protection.weak_volumes()
    found = verdict.find(weak)
    rebuild, shred = progress.of_kind(Job.Kind.REBUILD), progress.of_kind(Job.Kind.SHRED)
    work = progress.open_jobs()
    usage = capacity.of_cluster()
    cards = [*found.told, *(card for card, _ in found.known)]
    cared = care.under_way()
    resting, draining = care.in_maintenance(cared), care.draining(cared)
    storages = _by_priority(
        "Storage servers", StorageServer.objects.all(), resting.servers, draining.servers
    )
    heads = _by_priority("Head servers", HeadServer.objects.all())
    disks = _by_priority("Disks", Disk.objects.all(), resting.disks, draining.disks)
    return {
        "is_empty": not storages.total and not heads.total,
        "verdict": _verdict(weak, found.wrong, rebuild),
        "problem_count": len(found.told),
        "known_count": len(found.known),
        "usage": usage,
        "in_recovery": any(card.key == "recovery" for card in cards),
        "histogram": _histogram(weak),
        "populations": [_by_attachment(whole=not weak), storages, disks, heads],
        "rebuild": rebuild,
        "shred": shred,
        "running": lines(work[:SHOWN]),
        "running_count": work.count(),
        "ended": lines(Job.objects.exclude(finished=None).order_by("-finished")[:SHOWN]),
        "now": timezone.now(),
    }


ANSWER = Shared(_context)
"""What all see who may look: no part of it depends on who asks."""


# -- the verdict ----------------------------------------------------------------------------------


def _verdict(
    weak: dict[int, protection.Weak], wrong: list[Card], rebuild: progress.Work
) -> ShownVerdict:
    """Say how the data is, and name the reasons, worst first."""
    reasons = list(_reasons(weak, wrong))
    if rebuild.count:
        left = f", {clock(rebuild.progress.left)} left" if rebuild.progress.left is not None else ""
        url = f"{reverse(JOBS)}?state__exact=open&kind__exact=rebuild"
        reasons.append(VerdictReason(f"rebuild {rebuild.progress.percent} %{left}", url))
    tone, text = VERDICTS[verdict.judge(wrong)]
    if tone == OK and not reasons:
        reasons = [VerdictReason("every volume has all its replicas", reverse(VOLUMES))]
    return ShownVerdict(tone, text, reasons)


def _reasons(weak: dict[int, protection.Weak], wrong: list[Card]) -> Iterable[VerdictReason]:
    fewest = [volume.fewest for volume in weak.values()]
    volumes = reverse(VOLUMES)
    for count, text, url in (
        (fewest.count(0), "without a good replica", f"{volumes}?replicas=0"),
        (fewest.count(1), "on one replica", f"{volumes}?replicas=1"),
        (sum(n > 1 for n in fewest), "with reduced redundancy", f"{volumes}?replicas=fewer"),
    ):
        if count:
            yield VerdictReason(f"{count} volume{'s' if count > 1 else ''} {text}", url)
    others = [card.problem for card in wrong if card.problem.kind not in WEAK]
    for risks in RISKS:
        shown = [problem for problem in others if problem.risk in risks]
        if shown:
            more = f" and {len(shown) - 1} more" if len(shown) > 1 else ""
            yield VerdictReason(f"{shown[0].title}{more}", reverse("console:problems"))


# -- numbers --------------------------------------------------------------------------------------


def _histogram(weak: dict[int, protection.Weak]) -> list[tuple[StateTally, float]]:
    """Volumes by the fewest good replicas of any part, each with its share of all in percent."""
    counts = protection.histogram(weak)
    total = sum(counts.values())
    url = f"{reverse(VOLUMES)}?replicas="
    reduced = Counter(volume.fewest for volume in weak.values() if volume.fewest > 1)
    found = []
    for replicas, count in counts.items():
        for pill, some, which in (
            (_of_replicas(replicas), count - reduced[replicas], replicas),
            (Pill(f"{replicas}, reduced", WARN, "fewer than promised"), reduced[replicas], "fewer"),
        ):
            if some:
                found.append((StateTally(pill, some, f"{url}{which}"), 100 * some / total))
    return found


def _of_replicas(replicas: int) -> Pill:
    if replicas > 1:
        return Pill(f"{replicas} replicas", OK)
    return Pill("one replica" if replicas else "no replica", BAD)


def _by_priority(
    title: str,
    rows: QuerySet[Any],
    resting: Collection[int] = (),
    draining: Collection[int] = (),
) -> Population:
    """Servers or disks by state; those in maintenance are none of the others."""
    url = reverse(f"admin:inventory_{rows.model.__name__.lower()}_changelist")
    others = rows.exclude(pk__in=resting)
    found, silent = [], 0
    for priority, count, quiet, moving in _counted(others, draining):
        here, answers = f"{url}?priority__exact={priority}", "&answers=yes" if quiet else ""
        drained = count - moving if priority == Priority.EVACUATE else 0
        left = count - quiet - drained
        found += [StateTally(PRIORITIES[Priority(priority)], left, here + answers)] if left else []
        found += [StateTally(DRAINED, drained, here)] if drained else []
        silent += quiet
    if silent:
        found.append(StateTally(Pill(SILENT, WARN, "no answer"), silent, f"{url}?answers=no"))
    jobs = f"{reverse(JOBS)}?state__exact=open&kind__exact=maintenance"
    if resting:
        found.append(StateTally(MAINTENANCE, len(resting), jobs))
    return Population(title, url, found)


def _counted(rows: QuerySet[Any], draining: Collection[int]) -> QuerySet[Any]:
    """Count by priority all, those that would be up but are silent, those being evacuated.

    Disks answer nobody: none of them is silent.
    """
    silent = Q(pk=None) if rows.model is Disk else silence.of_usable()
    counts: QuerySet[Any, Any] = rows.values_list("priority").annotate(
        Count("pk"),
        quiet=Count("pk", filter=silent),
        moving=Count("pk", filter=Q(pk__in=draining)),
    )
    return counts.order_by("priority")


def _by_attachment(*, whole: bool) -> Population:
    """Groups by attachment; a snapshot goes with its origin and is not counted.

    Where all volumes are whole, what is copied is moved.
    """
    doings = ACTIVITIES | MOVES if whole else ACTIVITIES
    rows = Attachment.objects.values_list("state").annotate(Count("pk")).order_by("state")
    counts = dict(rows)
    all_of_them = LogicalVolume.objects.filter(origin=None).aggregate(
        count=Count("pk"), waiting=Count("waiting_since")
    )
    detached = all_of_them["count"] - sum(counts.values())
    volumes = f"{reverse(VOLUMES)}?kind=volume"
    found = [
        StateTally(
            ATTACHMENTS[Attachment.State(state)], counts[state], f"{volumes}&attached={state}"
        )
        for state in SHOWN_STATES
        if counts.get(state)
    ]
    if detached:
        found.append(StateTally(ATTACHMENTS[""], detached, f"{volumes}&attached=no"))
    doing = f"{reverse(VOLUMES)}?doing="
    also = []
    if waiting := all_of_them["waiting"]:
        also.append(StateTally(WAITING, waiting, f"{doing}waiting"))
    counted = activity.count_volumes()
    also += [
        StateTally(doings[one], counted[one], f"{doing}{one.name.lower()}")
        for one in activity.Activity
        if counted[one]
    ]
    return Population("Volumes", volumes, found, also)
