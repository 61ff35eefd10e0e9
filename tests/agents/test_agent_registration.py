"""How an agent makes the manager know it: first start, restarts, refusals, lost answers."""

import errno
import os
import shutil
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from agents.client import AgentUnreachable, StorageAgent
from agents.node.registration import NotYet, find_own
from agents.version import VERSION


def test_a_first_start_registers_the_server_and_then_its_disks(node: Any, manager: Any) -> None:
    (server,) = manager.told("registerStorageServer")
    (disk,) = manager.told("registerPhysicalDisk")

    assert server["ip_data"] == node.settings["addresses"]
    assert server["data_port"] == node.settings["data_port"]
    assert server["boot_id"]
    assert (server["host_name"], server["version"]) == (socket.gethostname()[:64], VERSION)
    assert disk["capacity"] == str(4 << 21)
    assert disk["local_path"] == str(node.disk_path)
    assert disk["disk_uuid"] == node.state().disks[0].disk
    assert (node.state().ssvrid, node.state().cluster) == (1, "c1")
    assert (disk["ssvrid"], node.state().disks[0].pdskid) == (1, 2)


def test_a_restarted_agent_is_adopted_with_the_same_boot_id(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    manager.answers["registerStorageServer"] = 1
    manager.faults["registerPhysicalDisk"] = [errno.EEXIST]
    manager.answers["listPhysicalDisks"] = [{"pdskid": 2, "priority": 1}]
    node.end(signal.SIGKILL)
    node.start()

    wait_until(lambda: len(manager.told("registerPhysicalDisk")) == 2)
    first, second = manager.told("registerStorageServer")
    assert first["boot_id"] == second["boot_id"]
    assert manager.told("notifyFailure") == []
    assert node.registered().disks[0].pdskid == 2


def test_to_an_older_manager_a_restart_that_was_not_noticed_is_reported_first(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    node.stop()
    manager.faults["registerStorageServer"] = [errno.EEXIST]
    manager.answers["listStorageServers"] = [{"ssvrid": 1, "ip_data": node.settings["addresses"]}]
    before = len(manager.calls)
    node.start()

    wait_until(lambda: len(manager.told("registerPhysicalDisk")) == 2)
    names = [name for name, _ in manager.calls[before:]]
    assert names == [
        "vastsky.clusterInfo",
        "registerStorageServer",
        "listStorageServers",
        "notifyFailure",
        "registerStorageServer",
        "registerPhysicalDisk",
    ]
    assert manager.told("notifyFailure") == [
        {"ver": 5, "target": 2, "targetid": 1, "reason": "restarted"}
    ]


def test_an_agent_that_forgot_its_number_finds_it_at_an_older_manager_by_its_addresses(
    make_node: Callable[[], Any], manager: Any, wait_until: Callable[..., Any]
) -> None:
    node = make_node()
    manager.faults["registerStorageServer"] = [errno.EEXIST]
    manager.answers["listStorageServers"] = [
        {"ssvrid": 7, "ip_data": ["10.0.0.1", "10.0.0.2"]},
        {"ssvrid": 8, "ip_data": node.settings["addresses"]},
    ]
    node.start()

    told = wait_until(lambda: manager.told("notifyFailure"))
    assert told[0]["targetid"] == 8


def test_a_lost_answer_for_a_disk_is_looked_up(
    make_node: Callable[[], Any], manager: Any, wait_until: Callable[..., Any]
) -> None:
    node = make_node()
    manager.faults["registerPhysicalDisk"] = [errno.EEXIST]
    manager.answers["listPhysicalDisks"] = [
        {"pdskid": 44, "local_path": str(node.disk_path), "priority": 1}
    ]
    node.start()

    assert node.registered().disks[0].pdskid == 44


@pytest.mark.parametrize("code", [errno.ENOSPC, 500, errno.EBUSY])
def test_a_refusal_is_tried_again(make_node: Callable[[], Any], manager: Any, code: int) -> None:
    node = make_node()
    manager.faults["registerPhysicalDisk"] = [code, code]
    node.start()

    assert node.registered().disks[0].pdskid


@pytest.mark.parametrize(
    "answer", [0, {}, {"cluster": "", "incarnation": 1}, {"cluster": "c1", "incarnation": "x"}]
)
def test_nonsense_from_the_manager_is_outlived(
    make_node: Callable[[], Any], manager: Any, wait_until: Callable[..., Any], answer: Any
) -> None:
    node = make_node()
    good = manager.answers["vastsky.clusterInfo"]
    manager.answers["vastsky.clusterInfo"] = answer
    node.start()
    wait_until(lambda: len(manager.told("vastsky.clusterInfo")) >= 2)
    assert manager.told("registerStorageServer") == []
    assert not node.disk_path.exists()

    manager.answers["vastsky.clusterInfo"] = good
    assert node.registered()


def test_a_node_of_another_cluster_does_not_register(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    node.end()
    manager.answers["vastsky.clusterInfo"] = {"cluster": "c2", "incarnation": 1}
    asked = len(manager.told("vastsky.clusterInfo"))
    node.start()

    wait_until(lambda: len(manager.told("vastsky.clusterInfo")) >= asked + 2)
    assert len(manager.told("registerStorageServer")) == 1


def test_an_agent_nobody_asks_registers_again(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    assert len(manager.told("registerStorageServer")) == 1

    wait_until(lambda: len(manager.told("registerStorageServer")) == 2, 20)


def test_a_head_registers_too_and_reports_its_own_restart_to_an_older_manager(
    head: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    assert manager.told("registerHeadServer")[0]["ip_data"] == head.settings["addresses"]
    manager.faults["registerHeadServer"] = [errno.EEXIST]
    manager.answers["listHeadServers"] = [{"hsvrid": 1, "ip_data": head.settings["addresses"]}]
    head.end()
    head.start()

    told = wait_until(lambda: manager.told("notifyFailure"))
    assert (told[0]["target"], told[0]["reason"]) == (1, "restarted")


@pytest.mark.parametrize("code", [errno.EEXIST, errno.EACCES, errno.EAGAIN])
def test_a_refused_registration_is_tried_again_and_no_failure_of_anybody(
    node: Any, manager: Any, wait_until: Callable[..., Any], code: int
) -> None:
    manager.answers["vastsky.clusterInfo"] |= {"tells_nodes_apart": True}
    manager.answers["listStorageServers"] = [{"ssvrid": 1, "ip_data": node.settings["addresses"]}]
    node.end()
    manager.faults["registerStorageServer"] = [code, code]
    node.start()

    wait_until(lambda: len(manager.told("registerStorageServer")) == 4)
    assert manager.told("notifyFailure") == []


def test_a_node_is_the_same_at_every_start_and_at_other_addresses(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    was = node.state().node_uuid
    first, *_ = manager.told("registerStorageServer")
    assert (first["node_uuid"], first["ssvrid"]) == (was, 0)

    node.end()
    node.move("127.0.88.1", "127.0.88.2")
    node.start()

    wait_until(lambda: len(manager.told("registerStorageServer")) == 2)
    again = manager.told("registerStorageServer")[1]
    assert (again["node_uuid"], again["ssvrid"]) == (was, 1)
    assert again["ip_data"] == ["127.0.88.1", "127.0.88.2"]
    assert node.state().node_uuid == was


def test_a_node_without_its_state_folder_is_another_one(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    was = node.state().node_uuid
    node.stop()
    shutil.rmtree(node.settings["state_dir"])
    node.start()

    wait_until(lambda: len(manager.told("registerStorageServer")) == 2)
    again = manager.told("registerStorageServer")[1]
    assert again["node_uuid"] not in ("", was)
    assert again["ssvrid"] == 0


def test_an_order_for_another_node_is_not_obeyed(node: Any) -> None:
    was = node.state().node_uuid
    where, port = node.settings["addresses"], node.settings["port"]

    with pytest.raises(AgentUnreachable, match=f"another node answers there: this is node {was}"):
        StorageAgent(where, port, node_uuid="somebody-else").state()
    assert StorageAgent(where, port, node_uuid=was).state().ssvrid == 1


def test_the_data_server_follows_its_agent_to_other_addresses(
    node: Any, wait_until: Callable[..., Any]
) -> None:
    boot, server = node.state().boot_id, node.data_server_pid
    node.end()
    node.start()
    assert (node.state().boot_id, node.data_server_pid) == (boot, server)

    node.end()
    node.move(node.settings["addresses"][0], "127.0.88.2")
    node.start()

    assert node.state().boot_id != boot
    for address in node.settings["addresses"]:
        socket.create_connection((address, node.settings["data_port"]), 2).close()


def test_a_disk_added_to_the_file_is_taken_in_on_sighup(
    node: Any, wait_until: Callable[..., Any]
) -> None:
    node.add_disk("disk-2.img", create_gb=3)
    node.write_config()
    node.process.send_signal(signal.SIGHUP)

    wait_until(lambda: len(node.state().disks) == 2)
    assert len(node.registered().disks) == 2


def test_a_broken_file_on_sighup_changes_nothing(node: Any, wait_until: Callable[..., Any]) -> None:
    node.config.write_text("port = ")
    node.process.send_signal(signal.SIGHUP)

    wait_until(lambda: "agent.toml" in node.log.read_text())
    assert len(node.state().disks) == 1
    assert "Traceback" not in node.log.read_text()
    node.write_config()


def test_a_vanished_disk_is_reported_and_comes_back(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    aside = node.disk_path.with_name("aside")
    node.disk_path.rename(aside)

    told = wait_until(lambda: manager.told("notifyFailure"))
    assert [(note["target"], note["targetid"]) for note in told] == [(3, 2)]
    assert node.state().disks[0].error

    aside.rename(node.disk_path)
    wait_until(lambda: not node.state().disks[0].error)
    wait_until(lambda: len(manager.told("registerPhysicalDisk")) == 2)
    assert len(manager.told("notifyFailure")) == 1


def test_a_disk_that_was_not_there_at_the_start_is_taken_in_once_it_is(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    name = node.state().disks[0].disk
    aside = node.disk_path.with_name("aside")
    node.end()
    node.disk_path.rename(aside)
    node.start()
    wait_until(lambda: "is gone" in node.log.read_text())
    assert node.state().disks == ()

    aside.rename(node.disk_path)

    wait_until(lambda: [disk.disk for disk in node.state().disks] == [name])
    wait_until(lambda: len(manager.told("registerPhysicalDisk")) == 2)
    assert manager.told("notifyFailure") == []


def test_a_blank_disk_in_the_place_of_one_that_is_known_is_not_taken_in(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    node.end()
    node.disk_path.unlink()
    node.start()
    wait_until(lambda: "is gone" in node.log.read_text())

    with node.disk_path.open("wb") as disk:
        disk.truncate(3 << 30)

    wait_until(lambda: "bytes was here" in node.log.read_text())
    assert node.state().disks == ()


def test_a_notification_waits_for_a_manager_that_refuses_for_now(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    manager.faults["notifyFailure"] = [500, 500]
    os.unlink(node.disk_path)  # noqa: PTH108

    wait_until(lambda: len(manager.told("notifyFailure")) == 3)


def test_only_a_server_that_has_all_our_addresses_is_us_to_an_older_manager() -> None:
    rows = [{"id": 3, "ip_data": ["a", "b"]}, {"id": 4, "ip_data": ["c", "d"]}]

    assert find_own(rows, "id", ("d", "c")) == 4
    for addresses in [("d", "x"), ("a", "d"), ("z",)]:
        with pytest.raises(NotYet):
            find_own(rows, "id", addresses)
