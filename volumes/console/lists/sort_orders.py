"""By what lists are sorted where no column of theirs holds it: health, state, fullness."""

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import (
    Case,
    Count,
    Exists,
    Expression,
    F,
    FloatField,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, NullIf

from inventory import clock
from inventory.models import ALIVE, Disk, Extent, Priority
from volumes.models import Attachment, Job
from volumes.reports import protection

State = Attachment.State
WORST_FIRST = {State.ERROR: 1, State.UNBINDING: 2, State.BINDING: 3, State.BOUND: 4}


class LateExpression(Expression):
    """An expression that is made when a list is sorted by it, and not before."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__(output_field=IntegerField())
        self.make = make

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        """Make what it stands for, and resolve that."""
        return self.make().resolve_expression(*args, **kwargs)


def _by_protection() -> Case:
    """Volumes that lost data, then those with the fewest good replicas of their weakest part."""
    weak: dict[int, list[int]] = defaultdict(list)
    for pk, volume in protection.weak_volumes().items():
        weak[volume.fewest].append(pk)
    degraded = [When(pk__in=found, then=Value(fewest)) for fewest, found in weak.items()]
    return Case(When(broken=True, then=Value(-1)), *degraded, default=F("redundancy") + Value(100))


def _by_health(maintained: str) -> Case:
    """Servers or disks that are out, then those that are silent, draining, or in maintenance."""
    limit = clock.now() - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
    ranks: list[Q] = [Q(priority=Priority.FAULTY), Q(priority=Priority.OFFLINE)]
    if maintained != "disk":
        ranks.append(Q(priority__in=ALIVE, silent_since__lt=limit))
    ranks += [Q(priority=Priority.HALT), Q(priority=Priority.EVACUATE)]
    if maintained:
        jobs = Job.objects.filter(state=Job.State.OPEN, kind=Job.Kind.MAINTENANCE)
        ranks.append(Q(Exists(jobs.filter(**{maintained: OuterRef("pk")}))))
    ranks.append(Q(priority=Priority.LOW))
    whens = [When(degraded, then=Value(rank)) for rank, degraded in enumerate(ranks)]
    return Case(*whens, default=Value(9))


def _one(rows: QuerySet[Any], by: str, what: Any) -> Any:
    """Sum something up for the row outside."""
    summed = rows.filter(**{by: OuterRef("pk")}).order_by().values(by).annotate(found=what)
    return Coalesce(Subquery(summed.values("found")), Value(0))


def _used(free: Any, capacity: Any) -> Any:
    return Value(1.0) - Cast(free, FloatField()) / NullIf(capacity, Value(0))


_FREE = Extent.objects.filter(status=Extent.Status.FREE)
PROTECTION = LateExpression(_by_protection)
ATTACHED = Case(
    When(waiting_since__isnull=False, then=Value(0)),
    *(
        When(Q(attachment__state=state) | Q(origin__attachment__state=state), then=Value(rank))
        for state, rank in WORST_FIRST.items()
    ),
    default=Value(5),
)
HEAD = Coalesce(
    "attachment__head__name",
    "origin__attachment__head__name",
).asc(nulls_last=True)
HEAD_HEALTH = LateExpression(lambda: _by_health(""))
STORAGE_HEALTH = LateExpression(lambda: _by_health("server"))
DISK_HEALTH = LateExpression(lambda: _by_health("disk"))
DISK_USED = _used(_one(_FREE, "disk", Sum("size_gb")), F("capacity_gb"))
STORAGE_USED = _used(
    _one(_FREE, "disk__server", Sum("size_gb")),
    _one(Disk.objects.all(), "server", Sum("capacity_gb")),
)
STORAGE_DISKS = _one(Disk.objects.all(), "server", Count("pk"))
HEAD_VOLUMES = _one(Attachment.objects.all(), "head", Count("pk"))
