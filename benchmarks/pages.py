"""How long the console's pages take on the server, and how often they ask the database. A table.

    .venv/bin/python -m benchmarks.pages [--volumes 20000] [--servers 50] [--disks 20] [--well]

Fills an empty database with a large cluster in trouble, and asks for every page as an admin would:
inside one process, without a network, in three rounds over all pages, of which a page's quickest
counts: a machine whose speed swings is slow for seconds, and a round takes longer. A page may take
300 ms, and a list that is sorted by what no index holds 500 ms. What is kept for all viewers is
computed anew each time. The database is that of DATABASE_URL or VASTSKY_HOME, or, without them,
one of SQLite that is thrown away.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = tempfile.TemporaryDirectory(prefix="vs-bench-")

if __name__ == "__main__":
    import django

    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")
    if not os.environ.get("DATABASE_URL"):
        os.environ.setdefault("VASTSKY_HOME", HOME.name)
    django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.seed import Size, fill  # noqa: E402
from inventory.models import StorageServer  # noqa: E402
from volumes.reports import shared  # noqa: E402

PAGE_MS, SORT_MS = 300, 500
ROUNDS = 3
HTMX = {"HX-Request": "true"}
ENOUGH = (200, 286)
VOLUMES, JOBS = "/admin/volumes/logicalvolume/", "/admin/volumes/job/"
HEADS, STORAGES = "/admin/inventory/headserver/", "/admin/inventory/storageserver/"
DISKS = "/admin/inventory/disk/"
PAGES = [
    "/admin/",
    "/admin/console/problems/",
    "/admin/console/cluster/",
    "/admin/console/paths/",
    "/admin/console/volumes/new/",
    "/admin/console/find/?q=mail",
    "/admin/console/find/?q=10.0.",
    "/admin/console/placement/",
    "/admin/console/placement/?dies=storage-1",
    "/admin/console/placement/?dies=rack-of-1",
    "/admin/console/placement/?dies=site-of-1",
    f"{VOLUMES}1/change/",
    f"{JOBS}1/change/",
    f"{HEADS}1/change/",
    f"{STORAGES}1/change/",
    f"{DISKS}1/change/",
    VOLUMES,
    f"{VOLUMES}?q=mail",
    f"{VOLUMES}?p=400",
    *(f"{VOLUMES}?replicas={some}" for some in ("0", "1", "fewer", "all", "3")),
    *(f"{VOLUMES}?attached={state}" for state in ("bound", "no", "error")),
    f"{VOLUMES}?doing=recovering",
    f"{VOLUMES}?lost=storageserver-50",
    "/admin/volumes/attachment/",
    "/admin/volumes/mirror/",
    "/admin/volumes/replica/",
    "/admin/volumes/replica/?status__exact=4",
    "/admin/inventory/extent/",
    "/admin/inventory/extent/?status__in=1,3",
    JOBS,
    f"{JOBS}?attention=needed",
    "/admin/inventory/evententry/",
    "/admin/inventory/auditentry/",
    "/admin/volumes/unequalblock/",
    HEADS,
    STORAGES,
    DISKS,
    "/admin/console/do/fail-storage/?on=2",
    "/admin/console/do/delete-volume/?on=1",
    "/admin/console/do/attach/all/",
    "/admin/console/do/detach/all/",
    "/admin/console/do/delete-volume/all/",
]
PARTS = [
    "/admin/console/overview/live/",
    "/admin/console/overview/outlook/",
    "/admin/console/problems/badge/",
    "/admin/console/problems/live/",
    "/admin/console/cluster/live/?open=1&open=2",
    "/admin/console/servers/2/disks/",
    "/admin/console/disks/3/map/",
    "/admin/console/volumes/new/preview/?capacity_gb=4000&redundancy=3",
    "/admin/console/volumes/1/live/",
    "/admin/console/servers/1/live/",
    "/admin/console/disks/1/live/",
    "/admin/console/figures/volume/1/?span=year",
    "/admin/console/figures/cluster/0/?span=year",
]
SORTED = {VOLUMES: 8, HEADS: 6, STORAGES: 7, DISKS: 7, JOBS: 6}
"""Lists, and how many of their columns are tried, both ways."""


@dataclass(frozen=True, slots=True)
class Took:
    """What one page took."""

    page: str
    ms: float
    cpu_ms: float
    queries: int
    goal: int


@dataclass(frozen=True, slots=True)
class PageBudget:
    """A page to ask for, and the milliseconds that it may take."""

    page: str
    goal: int
    headers: dict[str, str] = field(default_factory=dict)


def measure(client: Client, asked: Sequence[PageBudget]) -> list[Took]:
    """Ask for pages, round by round; the quickest time of each counts."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(ROUNDS):
        for one in asked:
            times[one.page].append(_time(client, one))
    return [
        Took(
            one.page,
            min(ms for ms, _ in times[one.page]),
            min(cpu for _, cpu in times[one.page]),
            _count_queries(client, one),
            one.goal,
        )
        for one in asked
    ]


def _time(client: Client, one: PageBudget) -> tuple[float, float]:
    """Ask once, and give the milliseconds, and those of CPU; the answer has to be one."""
    began, used = time.perf_counter(), time.process_time()
    answer = client.get(one.page, headers=one.headers)
    took = (time.perf_counter() - began) * 1000, (time.process_time() - used) * 1000
    if answer.status_code not in ENOUGH:
        raise SystemExit(f"{one.page}: {answer.status_code}")
    return took


def _count_queries(client: Client, one: PageBudget) -> int:
    with CaptureQueriesContext(connection) as queries:
        client.get(one.page, headers=one.headers)
    return len(queries)


def everything() -> list[PageBudget]:
    """List every page, part and sorted list."""
    sorts = [
        f"{page}?o={way}{column}"
        for page, columns in SORTED.items()
        for column in range(1, columns + 1)
        for way in ("", "-")
    ]
    return [
        *(PageBudget(page, PAGE_MS) for page in PAGES),
        *(PageBudget(part, PAGE_MS, HTMX) for part in PARTS),
        *(PageBudget(page, SORT_MS) for page in sorts),
    ]


def show(found: list[Took]) -> None:
    """Print the table, slowest first of those that miss, then all others in their order."""
    table = Table("page", "ms", "of CPU", "goal", "queries", "")
    for one in sorted(found, key=lambda one: one.ms <= one.goal):
        met = "[green]met[/]" if one.ms <= one.goal else "[red]missed[/]"
        table.add_row(
            one.page, f"{one.ms:.0f}", f"{one.cpu_ms:.0f}", f"{one.goal}", f"{one.queries}", met
        )
    Console(width=110).print(table)


def prepare(size: Size, *, trouble: bool) -> Client:
    """Fill the database, if it is empty, and sign somebody in."""
    call_command("migrate", verbosity=0)
    if not StorageServer.objects.exists():
        fill(size, trouble=trouble)
    shared.MOST = 0.0
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser(f"bench-{time.time_ns()}"))
    return client


def main() -> None:
    """Fill a database, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", type=int, default=20_000)
    parser.add_argument("--servers", type=int, default=50)
    parser.add_argument("--disks", type=int, default=20)
    parser.add_argument("--disk-gb", type=int, default=8000)
    parser.add_argument("--well", action="store_true", help="nothing is wrong in it")
    chosen = vars(parser.parse_args())
    trouble = not chosen.pop("well")
    show(measure(prepare(Size(**chosen), trouble=trouble), everything()))


if __name__ == "__main__":
    main()
