"""What is wrong with servers, disks and networks, and with nodes that may not be servers."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Model, QuerySet
from django.utils import timezone

from inventory import clock, own_certificates, refused_nodes
from inventory.models import (
    ALIVE,
    NEITHER_USED_NOR_FREE,
    Disk,
    DiskHealth,
    Extent,
    HeadServer,
    Member,
    Priority,
    RefusedDisk,
    StorageServer,
)
from volumes.models import Job
from volumes.repair import drain
from volumes.reports.networks import Down
from volumes.reports.problems.out import Out, silence
from volumes.reports.problems.problem import Problem, ProblemKind, Risk, key_of

GONE = "is not there any more: put it in again, there or in another server, or delete it here"
FAILED = "failed: replace it; on its page it is taken back, or deleted"
CERTIFICATE_ENDS = timedelta(days=30)
UNANSWERED = ProblemKind(
    "server does not answer the manager there", "servers do not answer the manager there"
)
SERVERS = ProblemKind("server is out of service or silent", "servers are out of service or silent")


def find_refused_nodes() -> Iterator[Problem]:
    """A node that has just moved is refused for a moment: that is no problem yet."""
    settled = clock.now() - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
    for row in refused_nodes.lately().filter(since__lt=settled).order_by("since"):
        yield Problem(
            Risk.FAILED,
            None,
            f"A node at {row.addresses} may not register as a {row.kind} server",
            f"it is node {row.node_uuid}: {row.reason}",
            clock.on_the_wall(row.since),
            key=f"node-{row.node_uuid}",
        )


def ending_certificates() -> QuerySet[Member]:
    """Select the nodes whose certificates end soon: they should have renewed them by now."""
    soon = timezone.now() + CERTIFICATE_ENDS
    return Member.objects.filter(certificate_ends__lt=soon).order_by("certificate_ends")


def find_own_certificates() -> Iterator[Problem]:
    """Tell of the manager's own, which nobody renews by himself: once one ends, no node listens."""
    ending = own_certificates.ending()
    for one in ending:
        yield Problem(
            Risk.FAILED,
            None,
            f"The certificate of the {one.name} ends on {one.end:%Y-%m-%d}",
            f"it is {one.path}: {own_certificates.how_to_mend(one, ending)}",
            key=f"certificate-{one.name}",
        )


def find_certificates() -> Iterator[Problem]:
    """Tell of nodes that do not renew their certificates: once one ends, its node is silent."""
    for row in ending_certificates():
        yield Problem(
            Risk.FAILED,
            None,
            f"The certificate of node {row.name} ends on {row.certificate_ends:%Y-%m-%d}",
            "a node renews it 60 days before: run `vastsky-node renew` there and see what it says",
            key=f"member-{row.pk}",
        )


def find_servers(out: Out) -> Iterator[Problem]:
    """Tell of each server that is out or silent, and of the certificate behind several."""
    care = _care(out.storages.values())
    rows: list[tuple[str, StorageServer | HeadServer]] = [
        *(("storage", row) for row in out.storages.values()),
        *(("head", row) for row in out.heads.values()),
    ]
    if distrusted := [row for _, row in rows if out.key(row) == "certificate"]:
        yield Problem(
            Risk.FAILED,
            None,
            f"The certificates of {len(distrusted)} servers are not accepted",
            f"{silence(distrusted[0])}: look at their dates, and at the clocks of the nodes",
            key="certificate",
            root=True,
            count=0,
        )
    for kind, row in rows:
        yield _server(kind, row, care.get(row.pk) if kind == "storage" else None, out.key(row))


def _care(rows: Iterable[Model]) -> dict[int | None, Job]:
    """Find the evacuations and maintenances of servers."""
    jobs = Job.objects.filter(state=Job.State.OPEN, kind__in=drain.CARE, server__in=list(rows))
    return {job.server_id: job for job in jobs}


def _server(kind: str, row: StorageServer | HeadServer, care: Job | None, key: str) -> Problem:
    """The safe step is maintenance: it holds the replacement of what is there."""
    held = f"; {care.kind}: {care.waiting}" if care else ""
    said = f": {words}" if (words := silence(row)) else ""
    if row.priority in ALIVE:
        state, since = f"does not answer{said}", row.silent_since
        step = (
            "look at its power, its cables and its agent; it is out of service after"
            f" {settings.VASTSKY_OFFLINE_SECONDS} s of silence{held}"
        )
    else:
        state, since = f"is {row.get_priority_display().lower()}{said}", row.priority_since
        step = f"start it, and it registers by itself{held}"
    return Problem(
        Risk.FAILED,
        row,
        f"{kind} server {row.label} {state}",
        step,
        clock.on_the_wall(since) if since else None,
        "maintain-storage" if kind == "storage" and care is None else "",
        (care,) if care else (),
        key=key,
        kind=SERVERS,
        root=key == key_of(row),
    )


def find_networks(downs: Iterable[Down], lost: Collection[int]) -> Iterator[Problem]:
    """Tell of networks at which servers do not answer; of those that no head uses as a part."""
    for down in downs:
        one, *others = down.servers
        at = f"of {len(down.servers)} servers" if others else f"of {one.label}"
        yield Problem(
            Risk.NETWORK,
            None if others else one,
            f"{down.name} {at} ({down.where}) does not answer, the other does",
            "all data goes over the other network, nothing stands by: look at cables and switches",
            down.since,
            key=f"network-{down.position}" if down.position in lost else down.key,
            kind=UNANSWERED,
            count=len(down.servers),
            root=True,
        )


def find_disks(out: Out) -> Iterator[Problem]:
    """Disks that are out although their server is not: the server's own line says the rest."""
    for row in out.disks.values():
        gone = row.priority == Priority.OFFLINE
        yield Problem(
            Risk.FAILED,
            row,
            f"disk {row} on {row.server.label} is {row.get_priority_display().lower()}",
            f"{row.local_path} {GONE if gone else FAILED}",
            clock.on_the_wall(row.priority_since),
            key=key_of(row),
            root=True,
        )


def find_refused_disks() -> Iterator[Problem]:
    rows = RefusedDisk.objects.select_related("server").order_by("since", "pk")
    for row in rows:
        yield Problem(
            Risk.FAILED,
            row.server,
            f"{row.server.label} does not use its disk {row.local_path}",
            row.reason,
            clock.on_the_wall(row.since),
            key=f"refused-{row.pk}",
        )


def failing_by_smart() -> QuerySet[DiskHealth]:
    """Select the disks in service that say themselves that they are about to fail."""
    rows = DiskHealth.objects.filter(passed=False, disk__priority__in=ALIVE)
    return rows.select_related("disk__server").order_by("disk")


def find_failing_by_smart() -> Iterator[Problem]:
    for row in failing_by_smart():
        yield Problem(
            Risk.WEAR,
            row.disk,
            f"disk {row.disk} on {row.disk.server.label} says that it is about to fail (SMART)",
            "it works still: move what is on it away while that is so",
            row.at,
            "evacuate-disk",
            key=key_of(row.disk),
        )


def find_bad_blocks() -> Iterator[Problem]:
    others = Extent.objects.filter(status__gte=NEITHER_USED_NOR_FREE)
    bad = others.filter(status__in=[Extent.Status.FAULTY, Extent.Status.EVACUATE])
    # Summed up here: to group them, the database would read all extents in the order of disks.
    counts = Counter[int]()
    for disk, gb in bad.order_by().values_list("disk", "size_gb"):
        counts[disk] += gb
    for row in Disk.objects.filter(pk__in=counts).select_related("server").order_by("pk"):
        yield Problem(
            Risk.WEAR,
            row,
            f"disk {row} on {row.server.label} has {counts[row.pk]} GiB of bad blocks",
            "they are out of use; a disk with bad blocks tends to get more",
            None,
            "evacuate-disk",
            key=key_of(row),
        )
