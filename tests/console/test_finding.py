"""One box finds volumes, servers, disks and jobs by name, address, path and id."""

from typing import Any

import pytest
from django.test import Client

from inventory.models import Disk, HeadServer, StorageServer
from tests.console.conftest import PART, SignIn
from volumes.console.verbs.run import row_url
from volumes.models import Job, LogicalVolume, Replica

pytestmark = pytest.mark.usefixtures("ill")
FIND = "/admin/console/find/"


def _found(client: Client, text: str) -> str:
    return client.get(FIND, {"q": text}, headers=PART).content.decode()


def _leads_to(client: Client, text: str, row: Any) -> bool:
    return f'href="{row_url(row)}"' in _found(client, text)


def test_an_id_is_found_with_its_prefix_in_hexadecimal_and_in_decimal(console: Client) -> None:
    volume = LogicalVolume.objects.filter(pk__gte=10).earliest("pk")

    for text in (str(volume), f" {str(volume).upper()} ", f"{volume.pk:08x}", str(volume.pk)):
        assert _leads_to(console, text, volume), text


def test_bare_digits_may_be_of_anything_and_a_prefix_says_of_what(console: Client) -> None:
    disk = Disk.objects.get(pk=3)

    assert _leads_to(console, "3", disk)
    assert _leads_to(console, "3", StorageServer.objects.get(pk=3))
    assert _leads_to(console, "pdsk-00000003", disk)
    assert not _leads_to(console, "pdsk-00000003", StorageServer.objects.get(pk=3))
    assert _leads_to(console, "3", Job.objects.get(pk=3))


def test_a_replica_and_a_mirror_lead_to_their_volume_and_an_extent_to_its_disk(
    console: Client,
) -> None:
    replica = Replica.objects.select_related("mirror__volume", "extent__disk").latest("pk")

    assert _leads_to(console, str(replica), replica.mirror.volume)
    assert _leads_to(console, str(replica.mirror), replica.mirror.volume)
    assert _leads_to(console, str(replica), replica.extent.disk)


def test_an_address_leads_to_its_servers_with_a_port_or_a_part_of_it(console: Client) -> None:
    server = StorageServer.objects.earliest("pk")
    address = server.addresses.get(position=1).address

    assert _leads_to(console, address, server)
    assert _leads_to(console, f"{address}:8884", server)
    assert _leads_to(console, address.rpartition(".")[0] + ".", server)


def test_what_is_called_exactly_so_comes_first_and_each_kind_is_bounded(console: Client) -> None:
    for number, volume in enumerate(LogicalVolume.objects.order_by("-pk")[:9]):
        LogicalVolume.objects.filter(pk=volume.pk).update(name=f"a-needle-{number}")
    LogicalVolume.objects.filter(name="a-needle-8").update(name="Needle")

    shown = _found(console, "needle")

    assert shown.index(">Needle<") < shown.index(">a-needle-0<")
    assert shown.count(">a-needle-") == 5
    assert "All volumes that match" in shown
    assert "/admin/volumes/logicalvolume/?q=needle" in shown


def test_the_one_thing_that_there_is_is_led_to_at_once(console: Client) -> None:
    head = HeadServer.objects.earliest("pk")

    answer = console.get(FIND, {"q": str(head)})

    assert answer["Location"] == row_url(head)


def test_nothing_that_is_typed_is_an_error(console: Client) -> None:
    for text in ("", "%", "_", "\0", "'; --", "é" * 300, "9" * 40, "lvol-", "..."):
        assert console.get(FIND, {"q": text}).status_code == 200, text


def test_every_role_finds_and_who_has_none_is_refused_and_sees_no_box(sign_in: SignIn) -> None:
    for role in ("viewer", "operator", "admin"):
        assert _leads_to(sign_in(role), "lvol-00000001", LogicalVolume.objects.get(pk=1)), role
    nobody = sign_in("")
    assert nobody.get(FIND, {"q": "1"}).status_code == 403
    assert "vs-find" not in nobody.get("/admin/").content.decode()
