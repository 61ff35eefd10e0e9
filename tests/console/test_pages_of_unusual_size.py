"""Volumes of very many mirrors and disks of very many extents are shown part by part."""

from django.test import Client

from inventory.models import Disk, Extent, StorageServer
from tests.console.conftest import PART
from volumes.models import LogicalVolume, Mirror, Replica


def test_a_volume_of_many_mirrors_is_shown_in_parts(well: None, console: Client) -> None:
    volume = LogicalVolume.objects.create(
        id=900_001, node_id=900_002, linear_id=900_003, name="shredded-room",
        capacity_gb=70, store_gb=70, redundancy=2,
    )  # fmt: skip
    Mirror.objects.bulk_create(
        Mirror(id=901_000 + n, volume=volume, offset_gb=n, size_gb=1) for n in range(70)
    )

    page = console.get(f"/admin/volumes/logicalvolume/{volume.pk}/change/").content.decode()
    layers = f"/admin/console/volumes/{volume.pk}/layers/?part={{}}"
    parts = [console.get(layers.format(part), headers=PART).content.decode() for part in (0, 1)]

    assert [part.count(">MIRROR<") for part in (page, *parts)] == [12, 64, 6]
    assert "70 of 70 mirrors lack replicas" in " ".join(page.split())
    assert "0 of 2: none" in page
    assert f"mirr-{901_069:08x}" in parts[1]


def test_mirrors_that_are_whole_are_folded_and_weak_ones_come_first(
    ill: None, console: Client
) -> None:
    page = console.get("/admin/volumes/logicalvolume/1/change/").content.decode()

    assert "1 of 2 mirrors lacks replicas" in " ".join(page.split())
    assert "1 other, all 3 of 3" in page
    assert page.count(">MIRROR<") == 1


def test_a_replica_is_told_by_the_name_of_its_server_and_the_path_of_its_disk(
    ill: None, console: Client
) -> None:
    StorageServer.objects.filter(pk=2).update(name="store-2")
    page = console.get("/admin/console/volumes/1/layers/", headers=PART).content.decode()

    replicas = Replica.objects.filter(mirror__volume=1).select_related("extent__disk__server")
    assert "store-2" in {replica.extent.disk.server.name for replica in replicas}
    for replica in replicas:
        disk = replica.extent.disk
        assert f">{disk.server.name or disk.server}</a>" in page
        assert f">{disk.local_path}</a>" in page


def test_a_disk_of_many_extents_is_mapped_in_parts(well: None, console: Client) -> None:
    disk = Disk.objects.create(
        id=900, server_id=1, disk_uuid="many", local_path="/dev/many", capacity_gb=1100
    )
    Extent.objects.bulk_create(
        Extent(id=902_000 + n, disk=disk, offset_gb=n, size_gb=1, status=Extent.Status.OFFLINE)
        for n in range(1100)
    )

    address = f"/admin/console/disks/{disk.pk}/map/?part={{}}"
    cells = [console.get(address.format(part), headers=PART).content.decode() for part in (0, 1)]

    assert [page.count("to be shredded: 1 GiB") for page in cells] == [2000, 200]
    assert "part 2" in cells[0]


def test_a_part_that_is_not_there_is_empty(well: None, console: Client) -> None:
    for address in (
        "/admin/console/disks/1/map/?part=99",
        "/admin/console/disks/1/map/?part=-1",
        "/admin/console/disks/1/map/?part=x",
        "/admin/console/volumes/1/layers/?part=99999999999",
    ):
        assert console.get(address, headers=PART).status_code == 200


def test_the_ways_up_from_a_list_lead_somewhere(well: None, console: Client) -> None:
    for address in ("/admin/volumes/", "/admin/inventory/", "/admin/volumes/job/1/history/"):
        assert console.get(address).status_code == 200
