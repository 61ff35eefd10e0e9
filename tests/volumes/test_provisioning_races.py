"""Two clients want the same name or the last space at the same moment: one gets it."""

from collections.abc import Callable
from typing import Any
from xmlrpc.client import Fault

import pytest

from inventory.models import Disk, Extent, Priority
from tests.contract.api import Api
from volumes.integrity import fsck
from volumes.models import LogicalVolume

ENOENT, EEXIST, ENOSPC = 2, 17, 28
AddServer = Callable[..., int]
Race = Callable[..., list[Any]]

pytestmark = pytest.mark.django_db(transaction=True)


def codes(results: list[Any]) -> list[int]:
    """The faults' codes, and 0 for each success, in order of size."""
    return sorted(r.faultCode if isinstance(r, Fault) else 0 * int(r) for r in results)


def test_one_name_is_given_once(call: Api, add_server: AddServer, race: Race) -> None:
    for _ in range(2):
        add_server()
    one = lambda: call("createLogicalVolume", lvolname="v", capacity=5, redundancy=2)  # noqa: E731

    assert codes(race(one, one, one)) == [0, EEXIST, EEXIST]
    assert not list(fsck.violations())


def test_the_last_space_is_given_once(call: Api, add_server: AddServer, race: Race) -> None:
    for _ in range(2):
        add_server(gb=10)

    def client(name: str) -> Callable[[], Any]:
        return lambda: call("createLogicalVolume", lvolname=name, capacity=10, redundancy=2)

    assert codes(race(client("a"), client("b"), client("c"))) == [0, ENOSPC, ENOSPC]
    assert not list(fsck.violations())


def test_many_clients_share_all_space_without_overlap(
    call: Api, add_server: AddServer, race: Race
) -> None:
    for _ in range(3):
        add_server(disks=2, gb=20)

    def client(name: str) -> Callable[[], Any]:
        return lambda: call("createLogicalVolume", lvolname=name, capacity=10, redundancy=3)

    assert codes(race(*(client(f"v{n}") for n in range(6)))) == [0] * 4 + [ENOSPC] * 2
    assert not Extent.objects.filter(status=Extent.Status.FREE).exists()
    assert not list(fsck.violations())


def test_a_volume_is_deleted_once_while_another_takes_its_space(
    call: Api, add_server: AddServer, race: Race
) -> None:
    for _ in range(2):
        add_server(gb=10)
    call("createLogicalVolume", lvolname="old", capacity=10, redundancy=2)
    delete = lambda: call("deleteLogicalVolume", lvolname="old")  # noqa: E731
    create = lambda: call("createLogicalVolume", lvolname="new", capacity=10, redundancy=2)  # noqa: E731

    results = race(delete, create, delete)

    assert codes([results[0], results[2]]) == [0, ENOENT]
    assert codes([results[1]]) in ([0], [ENOSPC])
    assert LogicalVolume.objects.filter(name="old").count() == 0
    assert not list(fsck.violations())


def test_nothing_lands_on_a_disk_that_fails_meanwhile(
    call: Api, add_server: AddServer, race: Race
) -> None:
    for _ in range(3):
        add_server(gb=50)
    disk = Disk.objects.all()[0]

    def client(name: str) -> Callable[[], Any]:
        return lambda: call("createLogicalVolume", lvolname=name, capacity=10, redundancy=2)

    race(client("a"), lambda: call("notifyFailure", target=3, targetid=disk.pk), client("b"))

    disk.refresh_from_db()
    assert disk.priority == Priority.FAULTY
    late = disk.extents.filter(replica__status=1, replica__since__gt=disk.priority_since)
    assert not late.exists()
