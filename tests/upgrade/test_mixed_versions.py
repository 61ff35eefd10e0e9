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
LANDED = "f4ad4444523a5ae1f364b044c28eed67ae1b14ca"
"""What landed last before this version: with webhooks and samples, and with indexes twice."""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the code of the older version."""
    return _unpack(OLDER, tmp_path_factory.mktemp("older"))


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the code that landed last."""
    return _unpack(LANDED, tmp_path_factory.mktemp("landed"))


def _unpack(commit: str, tree: Path) -> Path:
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], check=False)
    if known.returncode:
        pytest.skip(f"this clone has no commit {commit[:7]}: mixed versions need the whole history")
    packed = subprocess.run([*git, "archive", commit], stdout=subprocess.PIPE, check=True).stdout
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


def test_work_in_flight_goes_on_under_the_next_release(landed: Path, tmp_path: Path) -> None:
    running = Cluster(tmp_path / "home", landed)
    try:
        with running as cluster:
            _upgrade_at_work(cluster)
    finally:
        running.remove()


def _upgrade_at_work(cluster: Cluster) -> None:
    """Replace manager and agents while replicas move, one is built anew and space is shredded."""
    ledger = Ledger()
    cluster.create("moving")
    cluster.create("leaving", redundancy=2)
    for name in ("moving", "leaving"):
        cluster.attach(name)
        with cluster.open(name) as device:
            _write(ledger if name == "moving" else Ledger(), device, 0)
    cluster.detach("leaving")
    cluster.slow_down(1)
    cluster.await_all_up()
    (first, *_) = observe.replicas(cluster.call, "moving")
    cluster.delete("leaving")
    cluster.call("vastsky.evacuate", pdskid=first["lvolspec"]["pdskid"])
    kinds = {"evacuate", "rebuild", "shred"}
    observe.wait(lambda: kinds <= _kinds(cluster), "work of three kinds under way")
    begun = [job["eventid"] for job in cluster.call("vastsky.listJobs")]

    cluster.replace_manager(ROOT)
    states = {cluster.call("vastsky.showJob", eventid=number)["state"] for number in begun}
    assert states <= {"open", "done"}
    for node in [node.name for node in cluster.place.nodes()]:
        cluster.restart_agent(node, ROOT)
    cluster.await_all_up()

    assert cluster.open_work() == []
    states = {cluster.call("vastsky.showJob", eventid=number)["state"] for number in begun}
    assert states == {"done"}
    assert cluster.wrong("moving", ledger) == []
    assert cluster.manage("fsck") == ""


def _kinds(cluster: Cluster) -> set[str]:
    return {job["kind"] for job in cluster.call("vastsky.listJobs")}


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
