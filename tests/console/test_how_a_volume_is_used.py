"""A volume's page tells who uses it, how that is done, and what its snapshots keep."""

from django.test import Client
from django.utils.html import escape

from volumes.models import Attachment, LogicalVolume
from volumes.sample_models import ShownVolume

Way = ShownVolume.Way


def _page(console: Client, volume: LogicalVolume) -> str:
    page = console.get(f"/admin/volumes/logicalvolume/{volume.pk}/change/").content.decode()
    return " ".join(page.split())


def _bound() -> LogicalVolume:
    attached = Attachment.objects.filter(state=Attachment.State.BOUND).earliest("pk")
    return attached.volume


def test_the_lines_to_use_it_have_the_path_that_its_head_reports(
    well: None, console: Client
) -> None:
    volume = _bound()
    ShownVolume.objects.create(
        volume=volume, folder="/dev/cluster", way=Way.BLOCK, clients=1, held_mib=0
    )

    page = _page(console, volume)

    path, name = f"/dev/cluster/{volume.name}", volume.name
    assert f"mkfs.ext4 {path}" in page
    assert escape(f"mkdir -p /srv/{name} && mount {path} /srv/{name}") in page
    assert f"{path} /srv/{name} ext4 _netdev,noauto,nofail" in page
    assert "a block device" in page
    assert "1 client" in page


def test_a_socket_is_for_virtual_machines(well: None, console: Client) -> None:
    volume = _bound()
    ShownVolume.objects.create(
        volume=volume, folder="/dev/vas", way=Way.SOCKET, clients=0, held_mib=0
    )

    page = _page(console, volume)

    assert f"server.path=/dev/vas/{volume.name},reconnect-delay=30" in page
    assert "mkfs" not in page


def test_a_detached_volume_is_used_by_nobody(well: None, console: Client) -> None:
    volume = LogicalVolume.objects.filter(attachment=None, origin=None).earliest("pk")
    ShownVolume.objects.create(
        volume=volume, folder="/dev/vas", way=Way.BLOCK, clients=3, held_mib=0
    )

    page = _page(console, volume)

    assert "none, it is detached" in page
    assert "3 clients" not in page


def test_snapshots_tell_what_they_keep(well: None, console: Client) -> None:
    snapshot = LogicalVolume.objects.exclude(origin=None).earliest("pk")
    assert snapshot.origin is not None
    assert "no head has told what it keeps" in _page(console, snapshot.origin)
    ShownVolume.objects.create(
        volume=snapshot, folder="/dev/vas", way=Way.BLOCK, clients=0, held_mib=1536
    )

    page = _page(console, snapshot.origin)

    assert snapshot.name in page
    assert f"of {snapshot.store_gb} GiB" in page
    assert "keep 1.5 GiB" in page
    assert f"mount -o ro,noload /dev/vas/{snapshot.name} /mnt" in _page(console, snapshot)
