"""A manager and agents of two versions work together, and an upgrade disturbs nobody."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local import observe
from deploy.local.ledger import BLOCK, Ledger, spread
from deploy.local.place import ROOT
from tests.upgrade.cluster import Cluster, Device

OLDER = "9b700b508927a177ec4ed96534e25d9889ca270e"
"""The version before this one, whose code is taken out of the repository's own history."""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the code of the older version."""
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run([*git, "cat-file", "-e", f"{OLDER}^{{commit}}"], check=False)
    if known.returncode:
        pytest.skip(f"this clone has no commit {OLDER[:7]}: mixed versions need the whole history")
    packed = subprocess.run([*git, "archive", OLDER], stdout=subprocess.PIPE, check=True).stdout
    tree = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")
    return tree


@pytest.fixture
def cluster(older: Path, tmp_path: Path) -> Iterator[Cluster]:
    """Run a cluster that is of the older version as a whole."""
    running = Cluster(tmp_path / "home", older)
    try:
        with running:
            yield running
    finally:
        running.remove()


def test_an_upgrade_of_manager_and_nodes_is_not_noticed_by_who_writes(
    cluster: Cluster, older: Path
) -> None:
    nodes = [node.name for node in cluster.place.nodes()]
    cluster.create("kept")
    cluster.attach("kept")
    ledger = Ledger()
    with cluster.open("kept") as device:
        _write(ledger, device, 0)
        cluster.replace_manager(ROOT)
        _write(ledger, device, 1)
        _use(cluster, "between", Ledger(), older)
        for node in nodes:
            cluster.restart_agent(node, ROOT)
            _write(ledger, device, 2)
        cluster.await_all_up()
        # Should the manager lose its database now, the disks know the volume.
        assert cluster.undescribed("kept") == []
        _write(ledger, device, 3)
        assert cluster.wrong("kept", ledger) == []
    # Its engine is the older one still: that of a device lives as long as it is attached.
    _use(cluster, "kept", ledger, ROOT)
    assert cluster.manage("fsck") == ""


def test_agents_that_are_newer_than_the_manager_do_all_that_it_asks_and_may_go_back(
    cluster: Cluster, older: Path
) -> None:
    nodes = [node.name for node in cluster.place.nodes()]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda node: cluster.power("off", node), nodes))
        list(threads.map(lambda node: cluster.power("on", node, ROOT), nodes))
    cluster.await_all_up()

    _use(cluster, "new", Ledger(), ROOT)
    cluster.create("kept")
    cluster.attach("kept")
    ledger = Ledger()
    with cluster.open("kept") as device:
        for node in nodes:
            _write(ledger, device, 0)
            cluster.restart_agent(node, older)
        cluster.await_all_up()
    cluster.detach("kept")
    cluster.attach("kept")

    assert cluster.wrong("kept", ledger) == []
    assert cluster.manage("fsck") == ""


def _use(cluster: Cluster, name: str, ledger: Ledger, nodes: Path) -> None:
    """Lead a volume through its life; its nodes are switched on again with the code in `nodes`."""
    if name not in cluster.volumes():
        cluster.create(name)
        cluster.attach(name)
    frozen = _snapshot_and_lose_a_server(cluster, name, ledger, nodes)
    # Only what was closed in order, and is known to be, is attached while a replica is away.
    cluster.detach(name)
    lost = observe.holder(cluster.call, cluster.place, name)
    cluster.power("off", lost)
    cluster.attach(name)
    assert cluster.wrong(name, ledger) + cluster.wrong(f"{name}.old", frozen) == []
    cluster.delete(f"{name}.old")  # the head shows it, and has to let it go
    cluster.detach(name)
    # Storage servers copy among themselves, unless the head had made the replica anew already.
    assert cluster.degraded() == []
    cluster.power("on", lost, nodes)
    cluster.await_all_up()
    assert cluster.unequal() == []
    cluster.delete(name)
    cluster.await_all_space_zeroed()
    assert cluster.open_work() == []


def _snapshot_and_lose_a_server(cluster: Cluster, name: str, ledger: Ledger, nodes: Path) -> Ledger:
    """Have replicas made anew while a head uses the volume; what the snapshot has to hold."""
    with cluster.open(name) as device:
        _write(ledger, device, 3)
        cluster.call("createSnapshot", origin_lvolname=name, snapshot_lvolname=f"{name}.old")
        frozen = ledger.copy()
        _write(ledger, device, 3)
        lost = observe.holder(cluster.call, cluster.place, name)
        cluster.power("off", lost)
        _write(ledger, device, 4)
        cluster.await_loss(name, lost)
        assert cluster.degraded() == []
    cluster.power("on", lost, nodes)
    cluster.await_all_up()
    return frozen


def _write(ledger: Ledger, device: Device, start: int) -> None:
    for offset in spread(device.size - 64 * BLOCK, 8, start=start):
        ledger.write(device, offset)
