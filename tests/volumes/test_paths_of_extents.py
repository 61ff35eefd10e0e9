"""What `iscsi_path` of an extent is: with the kernel engine, what an initiator can log in to."""

from collections.abc import Callable
from typing import Any

import pytest

from inventory.models import HeadServer, StorageServer
from tests.contract.api import Api
from volumes.models import Attachment, LogicalVolume

EINVAL = 22
PORT = 3260

pytestmark = pytest.mark.django_db


@pytest.fixture
def volume(call: Api, add_server: Callable[..., int]) -> LogicalVolume:
    for _ in range(2):
        add_server(gb=20)
    lvolid = call("createLogicalVolume", lvolname="data", capacity=1, redundancy=2)
    return LogicalVolume.objects.get(pk=lvolid)


def attach(call: Api, volume: LogicalVolume) -> None:
    head = HeadServer.objects.get(pk=call("registerHeadServer", ip_data=["10.0.7.1"]))
    Attachment.objects.create(volume=volume, head=head, state="bound")
    LogicalVolume.objects.filter(pk=volume.pk).update(epoch=3)


def extents(call: Api) -> list[dict[str, Any]]:
    """The leaves of the volume's tree."""
    found, (root,) = [], [[call("showLogicalVolume", lvolname="data")]]
    while root:
        node = root.pop()
        root += node["components"]
        found += [node] if "iscsi_path" in node["lvolspec"] else []
    return found


def test_an_attached_volume_tells_targets_of_servers_whose_kernels_export(
    call: Api, volume: LogicalVolume
) -> None:
    kernel = StorageServer.objects.order_by("pk")[0]
    StorageServer.objects.filter(pk=kernel.pk).update(iscsi_port=PORT)
    attach(call, volume)

    for extent in extents(call):
        paths, number = extent["lvolspec"]["iscsi_path"], extent["lvolid"]
        if extent["lvolspec"]["ssvrid"] == kernel.pk:
            target = f"iqn.2010-07.org.vastsky:group.{volume.pk:08x}.00000003"
            addresses = kernel.addresses.order_by("position").values_list("address", flat=True)
            assert paths == [f"iscsi://{a}:{PORT}/{target}/{number}" for a in addresses]
        else:
            assert all(path.startswith("nbd://") for path in paths)


def test_a_volume_that_is_not_attached_has_no_target(call: Api, volume: LogicalVolume) -> None:
    StorageServer.objects.update(iscsi_port=PORT)

    for extent in extents(call):
        assert all(path.startswith("nbd://") for path in extent["lvolspec"]["iscsi_path"])


def test_a_server_says_with_each_registration_where_it_serves_data(
    call: Api,
) -> None:
    node = {"ip_data": ["10.8.0.1"], "boot_id": "one", "node_uuid": "n"}

    def port() -> int | None:
        return StorageServer.objects.get().iscsi_port

    call("registerStorageServer", **node, iscsi_port=PORT)
    assert port() == PORT
    call("registerStorageServer", **node)
    assert port() is None
    call("registerStorageServer", **node, data_port=9999)
    assert StorageServer.objects.get().data_port == 9999
    assert call.fault("registerStorageServer", **node, data_port=65536) == EINVAL
    assert call.fault("registerStorageServer", **node, iscsi_port=65536) == EINVAL
    assert call.fault("registerStorageServer", **node, iscsi_port=-1) == EINVAL
