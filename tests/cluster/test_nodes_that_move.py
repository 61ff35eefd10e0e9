"""Real nodes that move to other addresses under a volume in use, and one that is copied."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from deploy.local import node_processes
from deploy.local.place import ROOT, LocalNode, Place
from tests.cluster.world import World

STORAGES = [f"storage-{number}" for number in range(1, 5)]


@pytest.fixture
def elsewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """Where nodes are to be started from now on; in the end all are where they were."""
    settings = node_processes._settings
    moved: dict[str, list[str]] = {}

    def _settings(place: Place, node: LocalNode) -> dict[str, object]:
        where = moved.get(node.name, list(node.addresses))
        return {**settings(place, node), "addresses": where}

    monkeypatch.setattr(node_processes, "_settings", _settings)
    yield moved
    back = list(moved)
    moved.clear()
    for name in back:
        restart(world, name)
    world.wait(lambda: is_at_home(world), "all nodes are where they were")


def restart(world: World, name: str, *, power: bool = False) -> None:
    """Start a node's agent anew, or all of the node."""
    if power:
        world.cluster.kill(name)
    else:
        world.cluster.signal(name, signal.SIGKILL)
    world.cluster.launch(name)


def is_at_home(world: World) -> bool:
    known = {tuple(row["ip_data"]) for row in servers(world)}
    return known == {node.addresses for node in world.place.nodes()} and world.up()


def servers(world: World) -> list[dict[str, Any]]:
    return [*world.call("listStorageServers"), *world.call("listHeadServers")]


def places(world: World) -> dict[int, list[str]]:
    return {row["ssvrid"]: row["ip_data"] for row in world.call("listStorageServers")}


def away(name: str) -> list[str]:
    kind, number = name.split("-")
    host = {"head": 10, "storage": 20}[kind] + int(number)
    return [f"127.0.3.{host}", f"127.0.4.{host}"]


def test_nodes_move_one_after_the_other_and_who_writes_does_not_notice(
    world: World, elsewhere: dict[str, list[str]]
) -> None:
    world.create("mobile")
    world.attach("mobile")
    ledger = world.fill("mobile")
    numbers = set(places(world))

    with world.open("mobile") as device:
        for name in ("storage-1", "storage-2", "head-1"):
            elsewhere[name] = away(name)
            restart(world, name)
            world.wait(lambda: away(name) in [row["ip_data"] for row in servers(world)], "moved")  # noqa: B023
            world.wait(world.up, "all are up")
            world.wait(lambda: world.healed("mobile"), "three good replicas again")
            assert ledger.verify(device) == []
            ledger.write(device, 0)

    assert set(places(world)) == numbers
    assert world.settle("mobile") == (1, 0)
    world.detach("mobile")
    world.attach("mobile")
    assert world.verify("mobile", ledger)


def test_all_storage_servers_move_at_once_and_their_head_finds_them(
    world: World, elsewhere: dict[str, list[str]]
) -> None:
    world.create("renumbered")
    world.attach("renumbered")
    ledger = world.fill("renumbered")
    numbers = set(places(world))

    for name in STORAGES:
        world.cluster.kill(name)
        elsewhere[name] = away(name)
    for name in STORAGES:
        world.cluster.launch(name)

    world.wait(lambda: sorted(places(world).values()) == sorted(map(away, STORAGES)), "all moved")
    world.wait(world.up, "all are up")
    world.wait(lambda: world.healed("renumbered"), "three good replicas again", 90)
    assert set(places(world)) == numbers
    assert world.verify("renumbered", ledger)


def test_a_group_that_died_while_its_servers_moved_comes_back(
    world: World, elsewhere: dict[str, list[str]]
) -> None:
    world.create("orphaned")
    world.attach("orphaned")
    ledger = world.fill("orphaned")

    for name in STORAGES:
        world.cluster.kill(name)
        elsewhere[name] = away(name)
    world.kill_head_process("orphaned")
    for name in STORAGES:
        world.cluster.launch(name)

    world.wait(lambda: sorted(places(world).values()) == sorted(map(away, STORAGES)), "all moved")
    world.wait(world.up, "all are up")
    world.wait(lambda: world.healed("orphaned"), "three good replicas again", 90)
    assert world.verify("orphaned", ledger)


def test_a_server_whose_node_lost_its_state_folder_is_another_one_with_the_same_disks(
    world: World,
) -> None:
    world.create("kept")
    world.attach("kept")
    ledger = world.fill("kept")
    node = world.place.node("storage-4")
    (old,) = (number for number, where in places(world).items() if where == list(node.addresses))
    disks = {row["pdskid"] for row in world.call("listPhysicalDisks", ssvrid=old)}

    world.cluster.kill(node.name)
    shutil.rmtree(world.place.folder(node) / "state")
    world.cluster.launch(node.name)

    def owners() -> set[int]:
        rows = world.call("listPhysicalDisks")
        return {row["ssvrid"] for row in rows if row["pdskid"] in disks}

    world.wait(lambda: owners().isdisjoint({old}), "its disks are another server's", 60)
    world.call("deleteStorageServer", ssvrid=old)
    (new,) = owners()
    assert places(world)[new] == list(node.addresses)
    world.wait(world.up, "all are up")
    world.wait(lambda: world.healed("kept"), "three good replicas again")
    assert world.verify("kept", ledger)


def test_a_copy_of_a_node_is_refused_until_it_has_a_state_folder_of_its_own(
    world: World, tmp_path: Path
) -> None:
    node = world.place.node("storage-1")
    before = places(world)
    state = tmp_path / "state"
    shutil.copytree(world.place.folder(node) / "state", state)
    settings = tmp_path / "agent.toml"
    where = ["127.0.5.21", "127.0.6.21"]
    about = {"manager": world.place.rpc_url, "addresses": where, "port": node.port, "disks": []}
    about |= {"data_port": world.place.data_port, "state_dir": str(state)}
    settings.write_text(tomli_w.dumps(about))
    command = [*node_processes.command(world.place, node, {})[:4], "--config", str(settings)]

    with _running(command, tmp_path / "log"):
        world.wait(lambda: "empty state_dir" in (tmp_path / "log").read_text(), "it is refused")
    assert places(world) == before
    assert world.up()

    shutil.rmtree(state)
    with _running(command, tmp_path / "log"):
        world.wait(lambda: where in places(world).values(), "it is a node of its own")
    (new,) = set(places(world)) - set(before)
    world.call("notifyFailure", target=2, targetid=new)
    world.call("deleteStorageServer", ssvrid=new)
    assert places(world) == before


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    """Run an agent, and end it with all that it leaves running."""
    with log.open("ab") as file:
        agent = subprocess.Popen(command, cwd=ROOT, stderr=file)
        try:
            yield
        finally:
            agent.terminate()
            agent.wait(10)
            subprocess.run([*command, "--stop-engine"], cwd=ROOT, check=True, timeout=30)
