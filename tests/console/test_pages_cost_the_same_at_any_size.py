"""Every page answers, and asks the database as often for few rows as for many."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.seed import Size, fill
from tests.console.conftest import PART, SMALL
from tests.seeded import empty
from volumes.models import LogicalVolume

LARGE = Size(servers=12, disks=6, disk_gb=1500, heads=5, volumes=120, racks=5)
PAGES = [
    "/admin/",
    "/admin/console/problems/",
    "/admin/console/cluster/",
    "/admin/console/volumes/new/",
    "/admin/console/find/?q=mail",
    "/admin/console/paths/",
    "/admin/console/placement/?dies=storage-1",
    "/admin/console/placement/?dies=rack-of-1",
    "/admin/volumes/logicalvolume/",
    "/admin/volumes/logicalvolume/?replicas=fewer",
    "/admin/volumes/logicalvolume/?replicas=1",
    "/admin/volumes/logicalvolume/?replicas=all",
    "/admin/volumes/logicalvolume/?replicas=broken",
    "/admin/volumes/logicalvolume/?replicas=3",
    "/admin/volumes/logicalvolume/?attached=bound",
    "/admin/volumes/logicalvolume/?attached=no",
    "/admin/volumes/logicalvolume/?kind=snapshot",
    "/admin/volumes/logicalvolume/?q=mail",
    "/admin/volumes/logicalvolume/?o=2.3.-4",
    "/admin/inventory/storageserver/?o=2.5",
    "/admin/inventory/disk/?o=-6.2",
    "/admin/volumes/attachment/",
    "/admin/volumes/mirror/",
    "/admin/volumes/replica/",
    "/admin/volumes/replica/?status__exact=4",
    "/admin/volumes/job/",
    "/admin/volumes/job/?attention=needed",
    "/admin/inventory/evententry/",
    "/admin/inventory/evententry/?least=2&object_kind__exact=volume&object_id=1",
    "/admin/volumes/unequalblock/",
    "/admin/volumes/unequalblock/?state__exact=open",
    "/admin/volumes/blockcontent/",
    "/admin/inventory/headserver/",
    "/admin/inventory/storageserver/?answers=no",
    "/admin/inventory/storageserver/",
    "/admin/inventory/disk/",
    "/admin/inventory/extent/",
    "/admin/inventory/extent/?status__in=1,3",
    "/admin/volumes/logicalvolume/1/change/",
    "/admin/volumes/job/1/change/",
    "/admin/inventory/headserver/1/change/",
    "/admin/inventory/storageserver/1/change/",
    "/admin/inventory/disk/1/change/",
    "/admin/console/figures/volume/1/?span=year",
    "/admin/console/figures/cluster/0/",
    "/admin/console/do/fail-storage/?on=2",
    "/admin/console/do/delete-volume/?on=1",
]
PARTS = [
    "/admin/console/find/?q=0",
    "/admin/console/find/?q=10.",
    "/admin/console/overview/live/",
    "/admin/console/overview/outlook/",
    "/admin/console/problems/live/",
    "/admin/console/cluster/live/?open=1&open=2&open=3",
    "/admin/console/servers/2/disks/",
    "/admin/console/disks/3/map/",
    "/admin/console/volumes/new/preview/?capacity_gb=40&redundancy=3",
    "/admin/console/volumes/1/live/",
    "/admin/console/jobs/1/live/",
    "/admin/console/heads/1/live/",
    "/admin/console/servers/1/live/",
    "/admin/console/disks/1/live/",
    "/admin/volumes/logicalvolume/?replicas=fewer",
    "/admin/inventory/storageserver/",
]
"""What pages that are open ask for again and again."""
GOOD = (200, 286)


MOST = 54
"""What the overview of a cluster in trouble asks: its problems have some thirty causes."""


def _queries(client: Client) -> dict[str, int]:
    """Count what each page asks of the database."""
    counts = {}
    asked: list[tuple[str, dict[str, str]]] = [(page, {}) for page in PAGES]
    asked += [(part, PART) for part in PARTS]
    for page, headers in asked:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(page, headers=headers).status_code in GOOD, page
        counts[page + " ".join(headers)] = len(queries)
    return counts


@pytest.mark.parametrize("state", ["well", "ill"])
def test_a_page_asks_as_often_for_few_rows_as_for_many(console: Client, state: str) -> None:
    trouble = state == "ill"
    fill(SMALL, trouble=trouble)
    few = _queries(console)
    empty()

    fill(LARGE, trouble=trouble)
    many = _queries(console)

    # What is absent in the small cluster (no row of a kind) may save it a question or two.
    assert {page: (few[page], n) for page, n in many.items() if n > min(few[page] + 2, MOST)} == {}


def test_a_list_names_fifty_rows_and_how_many_there_are(console: Client) -> None:
    fill(LARGE)

    page = " ".join(console.get("/admin/volumes/logicalvolume/").content.decode().split())

    assert page.count("vs-name") == 50
    assert f"{LogicalVolume.objects.count()} volumes" in page


def test_an_empty_cluster_says_how_to_add_the_first_server(console: Client) -> None:
    page = console.get("/admin/").content.decode()

    assert "To the first volume" in page
    assert "http://testserver/RPC2" in page


@pytest.mark.parametrize("kind", ["volumes/logicalvolume", "volumes/job", "inventory/disk"])
@pytest.mark.parametrize("number", ["99999", "abc", "-1", "99999999999999999999"])
def test_what_does_not_exist_is_not_found(
    console: Client, well: None, kind: str, number: str
) -> None:
    assert console.get(f"/admin/{kind}/{number}/change/").status_code == 404
