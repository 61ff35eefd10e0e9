"""How servers, disks and networks are."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count

from agents.exposition import MetricSample, gauge
from inventory import clock
from inventory.models import (
    ALIVE,
    Disk,
    DiskHealth,
    HeadServer,
    Priority,
    RefusedDisk,
    StorageServer,
)
from volumes.models import Orphan
from volumes.reports import networks
from volumes.reports.care import Resting
from volumes.reports.problems import path_problems

SERVERS = gauge("vastsky_servers", "Servers by kind and state.", "kind", "state")
UP = gauge(
    "vastsky_server_up",
    "1 for a server that answers and is in service, 0 for one that is silent or out.",
    "kind",
    "server",
    "name",
)
RELEASES = gauge(
    "vastsky_server_releases", "Servers by the release of their agent.", "kind", "version"
)
DISKS = gauge("vastsky_disks", "Disks by state.", "state")
REFUSED = gauge("vastsky_disks_refused", "Disks that storage servers have and do not use.")
ADDRESSES = gauge(
    "vastsky_addresses_silent",
    "Servers that do not answer on this network, but on the other.",
    "network",
)
PATHS = gauge(
    "vastsky_path_troubles",
    "Causes for which paths from heads to storage servers are down or slow on this network.",
    "network",
    "state",
)
ORPHANS = gauge("vastsky_orphans", "What nodes hold that the database does not know.", "kind")

WHICH_DISK = ("disk", "server", "name", "path")
FAILING = gauge(
    "vastsky_disk_failing",
    "1 for a disk that says by SMART that it is about to fail, else 0.",
    *WHICH_DISK,
)
TEMPERATURE = gauge(
    "vastsky_disk_temperature_celsius", "How warm a disk is, by SMART.", *WHICH_DISK
)
REALLOCATED = gauge(
    "vastsky_disk_reallocated_sectors",
    "Sectors that a disk replaced by spare ones, by SMART.",
    *WHICH_DISK,
)
PENDING = gauge(
    "vastsky_disk_pending_sectors", "Sectors that a disk could not read, by SMART.", *WHICH_DISK
)
WEAR = gauge(
    "vastsky_disk_wear_ratio",
    "How much of the life that it was made for a disk has had, by SMART.",
    *WHICH_DISK,
)

MAINTENANCE, SILENT = "maintenance", "silent"
STATES = (*(priority.name.lower() for priority in Priority), MAINTENANCE)

Row = tuple[int, str, int, str, datetime | None]


def tell(resting: Resting) -> Iterator[MetricSample]:
    """Count the hardware; in a fixed number of queries."""
    columns = ("pk", "name", "priority", "version", "silent_since")
    heads = list(HeadServer.objects.order_by("pk").values_list(*columns))
    storages = list(StorageServer.objects.order_by("pk").values_list(*columns))
    yield from _servers("head", "hsvr", heads, ())
    yield from _servers("storage", "ssvr", storages, resting.servers)
    yield from _disks(resting)
    yield from _health()
    yield REFUSED.of(RefusedDisk.objects.count())
    silent = Counter(networks.half_silent().values_list("position", flat=True))
    for position, name in enumerate(networks.NAMES):
        yield ADDRESSES.of(silent[position], name)
    troubles = path_problems.count(path_problems.read())
    for position, name in enumerate(networks.NAMES):
        for level in path_problems.KINDS:
            yield PATHS.of(troubles[position, level], name, level.label)
    orphans = Counter(Orphan.objects.values_list("kind", flat=True))
    for kind in Orphan.Kind:
        yield ORPHANS.of(orphans[kind], kind)


def _servers(
    kind: str, prefix: str, rows: list[Row], resting: Iterable[int]
) -> Iterator[MetricSample]:
    limit, resting = clock.now() - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS), {*resting}
    counts, releases = Counter[str](), Counter[str]()
    for pk, name, priority, version, silent_since in rows:
        silent = silent_since is not None and silent_since < limit
        state = Priority(priority).name.lower()
        if priority in ALIVE and silent:
            state = SILENT
        counts[MAINTENANCE if pk in resting else state] += 1
        releases[version or "older"] += 1
        yield UP.of(int(priority in ALIVE and not silent), kind, f"{prefix}-{pk:08x}", name)
    for state in (*STATES, SILENT):
        yield SERVERS.of(counts[state], kind, state)
    for version, count in sorted(releases.items()):
        yield RELEASES.of(count, kind, version)


def _health() -> Iterator[MetricSample]:
    """Tell what disks say of themselves; what they do not say is no sample."""
    for row in DiskHealth.objects.select_related("disk__server").order_by("disk"):
        told = (
            (FAILING, None if row.passed is None else int(not row.passed)),
            (TEMPERATURE, row.temperature),
            (REALLOCATED, row.reallocated),
            (PENDING, row.pending),
            (WEAR, None if row.wear is None else row.wear / 100),
        )
        server = row.disk.server
        labels = str(row.disk), str(server), server.name or str(server), row.disk.local_path
        yield from (family.of(value, *labels) for family, value in told if value is not None)


def _disks(resting: Resting) -> Iterator[MetricSample]:
    others = Disk.objects.exclude(pk__in=resting.disks).exclude(server__in=resting.servers)
    counts = dict(others.order_by().values_list("priority").annotate(Count("pk")))
    whole = Disk.objects.count()
    for priority in Priority:
        yield DISKS.of(counts.get(priority, 0), priority.name.lower())
    yield DISKS.of(max(whole - sum(counts.values()), 0), MAINTENANCE)
