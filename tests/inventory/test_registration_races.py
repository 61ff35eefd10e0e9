"""Two agents register the same thing at the same moment: one wins."""

from collections.abc import Callable
from functools import partial
from typing import Any
from xmlrpc.client import Fault

import pytest

from inventory.models import Disk, Extent, HeadServer, Priority, StorageServer
from tests.contract.api import SECTORS_PER_GB, Api, put_down

EBUSY, EEXIST = 16, 17
Race = Callable[..., list[Any]]

pytestmark = pytest.mark.django_db(transaction=True)


def outcome(results: list[Any]) -> list[Any]:
    """What the callers got: ids and the codes of faults, ids last."""
    codes = [-r.faultCode if isinstance(r, Fault) else r for r in results]
    return sorted(codes)


@pytest.mark.parametrize("method", ["registerHeadServer", "registerStorageServer"])
def test_a_new_server_is_recorded_once(call: Api, race: Race, method: str) -> None:
    one = lambda: call(method, ip_data=["10.0.0.1", "10.1.0.1"])  # noqa: E731

    results = outcome(race(one, one, one))

    assert results[:2] == [-EEXIST, -EEXIST]
    assert HeadServer.objects.count() + StorageServer.objects.count() == 1


def test_a_server_that_was_down_comes_back_once(call: Api, race: Race) -> None:
    server = call("registerStorageServer", ip_data=["10.0.0.1"])
    put_down(StorageServer, server, Priority.OFFLINE)
    one = lambda: call("registerStorageServer", ip_data=["10.0.0.1"])  # noqa: E731

    assert outcome(race(one, one)) == [-EEXIST, server]


@pytest.mark.parametrize("method", ["registerHeadServer", "registerStorageServer"])
def test_of_a_node_and_its_copy_one_is_recorded(call: Api, race: Race, method: str) -> None:
    one, two, three = (
        partial(call, method, ip_data=[f"10.0.0.{n}"], node_uuid="n1", boot_id="b")
        for n in (1, 2, 3)
    )

    assert outcome(race(one, two, three)) == [-EEXIST, -EEXIST, 1]
    assert HeadServer.objects.count() + StorageServer.objects.count() == 1


def test_a_new_disk_is_tiled_once(call: Api, race: Race) -> None:
    here = call("registerStorageServer", ip_data=["10.0.0.1"])
    there = call("registerStorageServer", ip_data=["10.0.0.2"])
    struct = {"local_path": "/d", "capacity": str(10 * SECTORS_PER_GB), "disk_uuid": "one"}

    results = race(
        lambda: call("registerPhysicalDisk", ssvrid=here, **struct),
        lambda: call("registerPhysicalDisk", ssvrid=here, **struct),
        lambda: call("registerPhysicalDisk", ssvrid=there, **struct),
    )

    winner = Disk.objects.get().server_id
    assert outcome(results) == ([-EEXIST, -EBUSY, 1] if winner == here else [-EBUSY, -EBUSY, 1])
    assert Extent.objects.count() == 2
