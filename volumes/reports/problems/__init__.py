"""What is wrong now, most dangerous to data first; reads only what is wrong."""

from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db.models import Exists, Q, QuerySet
from django.utils import timezone

from inventory import clock, own_certificates, servers, webhooks, workers
from inventory.models import (
    ALIVE,
    Cluster,
    Disk,
    HeadServer,
    IdSpace,
    RefusedDisk,
    StorageServer,
    Watch,
)
from volumes.models import Attachment, Job, LogicalVolume, Orphan, Replica
from volumes.replicas.rows import out_of_sync
from volumes.reports import networks, progress, protection
from volumes.reports.problems import (
    hardware_problems,
    out,
    path_problems,
    release_problems,
    volume_problems,
    work_problems,
)
from volumes.reports.problems.out import OUT
from volumes.reports.problems.problem import Problem, Risk

__all__ = ["Problem", "Risk", "find", "is_anything_wrong"]


def find(weak: dict[int, protection.Weak] | None = None) -> list[Problem]:
    """Find everything that is wrong, by risk; the number of queries does not depend on how much."""
    now = clock.now()
    cluster = servers.cluster()
    what_is_out = out.read(now)
    degraded = volume_problems.read_degraded(what_is_out)
    downs, troubles = networks.find(), path_problems.read()
    weak = protection.weak_volumes() if weak is None else weak
    found: list[Problem] = []
    found += volume_problems.find_weak(weak, degraded)
    found += volume_problems.find_unequal()
    found += volume_problems.find_broken()
    found += work_problems.find_workers()
    found += work_problems.find_brake(what_is_out)
    found += work_problems.find_halted(cluster)
    found += work_problems.find_recovery(cluster)
    found += work_problems.find_backup(cluster)
    found += work_problems.find_orphans()
    found += volume_problems.find_attachments(what_is_out)
    found += work_problems.find_jobs(now, what_is_out, degraded)
    found += hardware_problems.find_refused_nodes()
    found += hardware_problems.find_own_certificates()
    found += hardware_problems.find_certificates()
    found += hardware_problems.find_servers(what_is_out)
    found += path_problems.find(troubles, downs)
    found += hardware_problems.find_networks(downs, path_problems.lost_networks(troubles))
    found += hardware_problems.find_disks(what_is_out)
    found += hardware_problems.find_refused_disks()
    found += hardware_problems.find_bad_blocks()
    found += hardware_problems.find_failing_by_smart()
    found += work_problems.find_still_workers()
    found += work_problems.find_webhooks()
    found += release_problems.find()
    return sorted(found, key=lambda problem: problem.risk)


def _backup_is_old() -> Q:
    late = timezone.now() - work_problems.BACKUP_AGE
    return Q(backed_up__lt=late) if settings.VASTSKY_BACKUPS_KEPT else Q(pk__in=[])


def is_anything_wrong() -> bool:
    """Tell whether a person should look, cheaply enough for every page."""
    now = clock.now()
    limit = now - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
    degraded = Q(priority__in=ALIVE, silent_since__lt=limit) | Q(priority__in=OUT)
    in_error = Q(attachment__state=Attachment.State.ERROR)
    unequal = Q(kind=Job.Kind.MEND, state=Job.State.OPEN)
    wrong: tuple[QuerySet[Any], ...] = (
        Replica.objects.filter(out_of_sync()),
        LogicalVolume.objects.filter(broken=True),
        StorageServer.objects.filter(degraded),
        HeadServer.objects.filter(degraded),
        networks.half_silent(),
        path_problems.told(),
        Disk.objects.filter(priority__in=OUT),
        RefusedDisk.objects.all(),
        hardware_problems.ending_certificates(),
        StorageServer.objects.filter(halted=True),
        LogicalVolume.objects.filter(in_error | Q(waiting_since__isnull=False)),
        Orphan.objects.all(),
        Cluster.objects.filter(~Q(recovery="") | _backup_is_old()),
        Job.objects.filter(progress.needs_attention(now) | unequal),
        Watch.objects.exclude(broker=""),
        webhooks.failing(now),
        workers.standing_still(now),
        hardware_problems.failing_by_smart(),
        release_problems.others(StorageServer),
        release_problems.others(HeadServer),
    )
    # One question for all: the row of a number space is always there to ask it of.
    any_row = reduce(or_, (Q(Exists(rows)) for rows in wrong))
    is_any = IdSpace.objects.filter(any_row, name="volume").exists()
    return is_any or bool(own_certificates.ending())
