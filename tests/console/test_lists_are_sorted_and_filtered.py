"""Lists are sorted by what matters, worst first, and tell by what they are filtered."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from inventory import clock
from inventory.models import Disk, Extent, Priority, StorageServer
from volumes.models import Attachment, LogicalVolume
from volumes.reports import capacity, protection

VOLUMES = "/admin/volumes/logicalvolume/"
STORAGES = "/admin/inventory/storageserver/"
DISKS = "/admin/inventory/disk/"


def _ids(client: Client, url: str, column: str) -> list[int]:
    """Sort a list by one of its columns, by its heading, and read the ids of its rows."""
    head = re.findall(r"<th .*?</th>", client.get(url).content.decode(), re.DOTALL)
    (link,) = (cell for cell in head if column in cell)
    found = re.search(r'href="(\?[^"]+)"', link)
    assert found, f"{column} is not sorted by"
    page = client.get(url + found[1].replace("&amp;", "&")).content.decode()
    return [
        int(pk)
        for pk in re.findall(
            r'value="(\d+)"[^>]*action-select|action-select[^>]*value="(\d+)"', page
        )
        for pk in pk
        if pk
    ]


@pytest.mark.usefixtures("ill")
def test_volumes_are_sorted_by_the_good_replicas_of_their_weakest_part(console: Client) -> None:
    LogicalVolume.objects.filter(origin__isnull=False).update(broken=True)
    weak = protection.weak_volumes()
    rows = LogicalVolume.objects.in_bulk()

    shown = _ids(console, VOLUMES, "Good replicas")

    ranks = [
        -1 if rows[pk].broken else weak[pk].fewest if pk in weak else 100 + rows[pk].redundancy
        for pk in shown
    ]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) > 2


@pytest.mark.usefixtures("well")
def test_volumes_are_sorted_by_state_and_a_snapshot_stands_by_its_origin(console: Client) -> None:
    snapshot = (
        LogicalVolume.objects.exclude(origin=None).exclude(origin__attachment=None).earliest("pk")
    )
    Attachment.objects.filter(volume=snapshot.origin_id).update(state="error", error="x")

    shown = _ids(console, VOLUMES, "State")

    assert set(shown[:2]) == {snapshot.pk, snapshot.origin_id}


@pytest.mark.usefixtures("well")
def test_what_is_out_or_silent_stands_before_what_is_up(console: Client) -> None:
    long_ago = clock.now() - timedelta(hours=1)
    StorageServer.objects.filter(pk=4).update(silent_since=long_ago)
    StorageServer.objects.filter(pk=3).update(priority=Priority.OFFLINE)
    StorageServer.objects.filter(pk=5).update(priority=Priority.EVACUATE)
    Disk.objects.filter(pk=6).update(priority=Priority.FAULTY)

    assert _ids(console, STORAGES, "State")[:3] == [3, 4, 5]
    assert _ids(console, DISKS, "State")[0] == 6


@pytest.mark.usefixtures("well")
def test_disks_and_servers_are_sorted_by_how_full_they_are(console: Client) -> None:
    full = Disk.objects.filter(pk=5)
    Extent.objects.filter(disk__in=full, status=Extent.Status.FREE).update(
        status=Extent.Status.OFFLINE
    )
    disks = capacity.of_disks(list(Disk.objects.values_list("pk", flat=True)))

    shown = _ids(console, DISKS, "Used")

    shares = [1 - disks[pk].free / disks[pk].capacity for pk in shown]
    assert shares == sorted(shares)
    assert shown[-1] == 5
    assert _ids(console, STORAGES, "Used")[-1] == full.get().server_id


@pytest.mark.usefixtures("ill")
def test_each_filter_that_is_set_stands_open_with_a_way_to_clear_it_alone(console: Client) -> None:
    page = console.get(f"{VOLUMES}?attached=bound&replicas=fewer&q=mail").content.decode()
    shown = " ".join(page.split())

    assert "Attachment: <b>attached</b>" in shown
    assert "Good replicas: <b>fewer than promised</b>" in shown
    assert "“mail”" in shown
    cleared = re.search(r'href="([^"]+)"\s+aria-label="Show without the filter attachment"', page)
    assert cleared
    assert "attached" not in cleared[1]
    assert "replicas=fewer" in cleared[1]
    assert "q=mail" in cleared[1]


@pytest.mark.usefixtures("ill")
def test_a_list_is_titled_by_what_it_lists(console: Client) -> None:
    page = " ".join(console.get(VOLUMES).content.decode().split())

    assert "<title> Volumes | VastSky</title>" in page
    assert "to view" not in page
