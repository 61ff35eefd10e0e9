"""Each node a machine of its own, on two networks: certificates, tokens, cables that are pulled."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import observe
from deploy.local.ledger import Ledger, spread
from deploy.local.nbd import NbdClient
from tests.cluster.machines import Machine, Machines, can_be_made

pytestmark = pytest.mark.skipif(not can_be_made(), reason="needs root and iproute2")

ALL_UP = (2, 4, 4)
OFFLINE = 4
STALL = 10
"""Seconds that a write may take while a replica is being given up: the engine's timeout, twice."""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with tempfile.TemporaryDirectory(prefix="vs-") as run:  # short: sockets are under it
        machines = Machines(tmp_path_factory.mktemp("machines"), Path(run))
        try:
            machines.start()
            yield machines
        finally:
            machines.stop()


@pytest.fixture
def machines(started: Machines) -> Iterator[Machines]:
    """All are up, with all space zeroed; afterwards everything is plugged, deleted and checked."""
    observe.wait(lambda: _is_up(started), "all servers up")
    observe.wait(lambda: len(set(observe.space(started.call))) == 1, "all space zeroed")
    yield started
    for machine in started.nodes:
        started.plug(machine)
    for volume in started.call("listLogicalVolumes"):
        started.call("detachLogicalVolume", lvolid=volume["lvolid"])
        started.call("deleteLogicalVolume", lvolid=volume["lvolid"])
    assert started.manage("fsck") == ""


def _is_up(machines: Machines) -> bool:
    try:
        return observe.present(machines.call) == ALL_UP
    except OSError:
        return False


def attach(machines: Machines, head: str = "head-1") -> NbdClient:
    """Attach the volume `db` and open it on that head."""
    machines.call("attachLogicalVolume", lvolname="db", hsvrid=head_id(machines, head))
    return NbdClient(machines.links(head) / "db")


def head_id(machines: Machines, name: str) -> int:
    servers = machines.call("listHeadServers")
    addresses = machines.node(name).addresses
    return int(next(s["hsvrid"] for s in servers if s["ip_data"] == addresses))


@pytest.fixture
def device(machines: Machines) -> Iterator[NbdClient]:
    machines.call("createLogicalVolume", lvolname="db", capacity=4)
    with attach(machines) as device:
        yield device


def fill(device: NbdClient, ledger: Ledger, start: int = 0) -> None:
    for offset in spread(device.size, 24, start=start):
        ledger.write(device, offset)


def holder(machines: Machines) -> Machine:
    """Name a machine that holds a replica."""
    replica = observe.replicas(machines.call, "db")[0]
    (server,) = machines.call("listStorageServers", ssvrid=replica["lvolspec"]["ssvrid"])
    return next(node for node in machines.nodes if node.addresses == server["ip_data"])


def is_whole(machines: Machines) -> bool:
    mirrors = observe.mirrors(machines.call, "db")
    return observe.in_sync(machines.call, "db") == 3 * len(mirrors)


def test_the_main_job_is_done_between_machines(machines: Machines, device: NbdClient) -> None:
    ledger = Ledger()
    fill(device, ledger)
    frozen = ledger.copy()
    machines.call("createSnapshot", origin_lvolname="db", snapshot_lvolname="before")
    fill(device, ledger)

    with NbdClient(machines.links("head-1") / "before") as before:
        assert frozen.verify(before) == []
    assert ledger.verify(device) == []
    machines.call("deleteLogicalVolume", lvolname="before")


def test_the_loss_of_one_network_is_a_short_pause(machines: Machines, device: NbdClient) -> None:
    ledger = Ledger()
    fill(device, ledger)
    cut = holder(machines)

    machines.unplug(cut, "net-a")
    fill(device, ledger, start=1)

    assert ledger.longest_write < STALL
    observe.wait(lambda: is_whole(machines), "caught up over the other network")
    assert observe.present(machines.call) == ALL_UP
    assert ledger.verify(device) == []
    observe.wait(lambda: bool(said_of(machines, cut)), "that the network is lost is told")
    assert said_of(machines, cut) == {"no head reaches it over network A"}


def said_of(machines: Machines, machine: Machine) -> set[str]:
    """Read what events say of the paths to a storage server."""
    server = storage_id(machines, machine)
    events = machines.call("vastsky.listEvents", ssvrid=server, kind="path_down")["events"]
    return {str(event["cause"]) for event in events}


def storage_id(machines: Machines, machine: Machine) -> int:
    servers = machines.call("listStorageServers")
    return int(next(s["ssvrid"] for s in servers if s["ip_data"] == machine.addresses))


def test_a_machine_that_vanishes_is_replaced_and_comes_back(
    machines: Machines, device: NbdClient
) -> None:
    ledger = Ledger()
    fill(device, ledger)
    lost = holder(machines)

    machines.unplug(lost)
    fill(device, ledger, start=1)

    assert ledger.longest_write < STALL
    observe.wait(
        lambda: OFFLINE in {s["priority"] for s in machines.call("listStorageServers")}, "noticed"
    )
    observe.wait(lambda: is_whole(machines), "healed on the others")
    machines.plug(lost)
    observe.wait(lambda: observe.present(machines.call) == ALL_UP, "it came back by itself")
    assert ledger.verify(device) == []


def test_a_head_that_was_cut_off_writes_no_more_once_another_has_the_volume(
    machines: Machines, device: NbdClient
) -> None:
    ledger = Ledger()
    fill(device, ledger)
    machines.unplug(machines.node("head-1"))
    machines.call("notifyFailure", target=1, targetid=head_id(machines, "head-1"))

    observe.wait(lambda: _is_free(machines), "taken away from the head that was cut off")
    with attach(machines, "head-2") as other:
        fill(other, ledger)
        machines.plug(machines.node("head-1"))

        with pytest.raises(OSError, match=r"\[Errno"):
            fill(device, Ledger())

        assert ledger.verify(other) == []
    observe.wait(lambda: observe.present(machines.call) == ALL_UP, "the head is used again")


def _is_free(machines: Machines) -> bool:
    (volume,) = machines.call("listLogicalVolumes", lvolname="db")
    return bool(volume["hsvrid"] == 0)


def test_orders_in_the_clear_or_from_a_node_are_not_heard(machines: Machines) -> None:
    storage = machines.node("storage-1")

    assert machines.order_as(None, storage)
    assert "no TLS" in machines.order_as("storage-2", storage)
    assert machines.order_as("manager", storage) == ""
