"""What a machine needs is looked at before it joins, and afterwards by `vastsky-node check`."""

import shutil
import socket

import pytest

from agents.node.config import EngineKind, HeadConfig, load_config
from tests.cluster.joinable import ADDRESS, PORTS, Machine, Manager, Relay
from vastsky_site.access import certificates

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the command openssl")
KERNEL_WITHOUT_TARGETS = """\
#!/bin/sh
case "$*" in *target*) echo "modprobe: FATAL: Module $2 not found" >&2; exit 1; esac
"""
"""A modprobe of a kernel that has all modules but those of iSCSI targets."""
LACKS = "this kernel has no target_core_mod, target_core_iblock, iscsi_target_mod, which"


def test_a_port_that_the_manager_calls_has_to_be_free_and_no_other_one(
    manager: Manager, machine: Machine
) -> None:
    string = manager.string_of_nobody()

    with socket.create_server((machine.addresses[1], PORTS["storage"])):
        refused = machine.join(string)
    with socket.create_server((machine.addresses[1], 8883)):
        looked_at = machine.join(string)

    assert f"port 9883 of {machine.addresses[1]} cannot be had" in refused.stdout
    assert (looked_at.stdout.count("cannot be had"), "is wrong" in looked_at.stderr) == (0, True)


def test_an_older_manager_that_tells_no_ports_means_those_of_old(
    manager: Manager, machine: Machine
) -> None:
    tls = manager.home / "tls"
    certificates.issue(tls, "older", [ADDRESS])
    with (
        Relay(tls, (tls / "authority.pem").read_text(), name="older") as older,
        socket.create_server((machine.addresses[0], 8883)),
    ):
        done = machine.join(manager.string_of_nobody(older.url))

    assert f"port 8883 of {machine.addresses[0]} cannot be had" in done.stdout


def test_an_agent_at_another_port_than_the_manager_calls_is_told(
    manager: Manager, machine: Machine, name: str
) -> None:
    machine.join(manager.invite(name))
    machine.say("storage", "port = 8883")

    found = machine.node("check")

    assert found.returncode == 1
    assert "calls storage agents at port 9883, and here port 8883 is set" in found.stdout


def test_what_the_kernel_engine_lacks_is_named_where_it_is_chosen(
    manager: Manager, machine: Machine
) -> None:
    machine.install("modprobe", KERNEL_WITHOUT_TARGETS)
    string, storage = manager.string_of_nobody(), ("--storage", "--disk", str(machine.disk))

    refused = machine.join(string, *storage, "--engine=kernel")
    looked_at = machine.join(string, *storage)

    assert refused.stdout.count(LACKS) == 1
    assert f"{machine.disk} is a file: the kernel engine exports block devices" in refused.stdout
    assert (looked_at.stdout.count(LACKS), "is wrong" in looked_at.stderr) == (0, True)


def test_a_node_that_chose_the_kernel_engine_is_looked_at_for_it(
    manager: Manager, machine: Machine, name: str
) -> None:
    machine.install("modprobe", KERNEL_WITHOUT_TARGETS)
    machine.install("iscsiadm", "of which it is enough that it is there")
    joined = machine.join(manager.invite(name), "--head", "--engine=kernel")
    with_tools = machine.node("check")
    (machine.folder / "bin" / "iscsiadm").unlink()
    without = machine.node("check")

    assert (joined.returncode, with_tools.returncode) == (0, 0), joined.stdout + with_tools.stdout
    config = load_config(HeadConfig, machine.folder / "config" / "head.toml")
    assert (config.engine, config.port) == (EngineKind.KERNEL, PORTS["head"])
    is_installed = bool(shutil.which("iscsiadm"))
    assert ("apt install open-iscsi" in without.stdout) != is_installed


def test_a_single_network_is_advice(manager: Manager, machine: Machine, name: str) -> None:
    del machine.addresses[1]
    assert machine.join(manager.invite(name)).returncode == 0

    found = machine.node("check")

    assert (found.returncode, found.stdout.count("one network only")) == (0, 1)


def test_each_agent_is_looked_at_by_its_own_settings(
    manager: Manager, machine: Machine, name: str
) -> None:
    roles = ("--head", "--storage", "--disk", str(machine.disk))
    assert machine.join(manager.invite(name), *roles).returncode == 0
    config = machine.folder / "config"
    config.rename(elsewhere := machine.folder / "files")
    config.mkdir()
    for role, more in (("head", 'device = "socket"\n'), ("storage", "")):
        text = (elsewhere / f"{role}.toml").read_text()
        (config / f"{role}.toml").write_text(more + text.replace(str(config), str(elsewhere)))
    found = machine.node("check")
    assert (found.returncode, found.stdout) == (0, "")

    machine.disk.unlink()
    (machine.folder / "state").write_text("no folder")
    with socket.create_server((machine.addresses[1], 8884)):
        found = machine.node("check")

    assert found.returncode == 1
    lines = found.stdout.splitlines()
    told = [line.partition(" (while")[0] for line in lines if not line.startswith(" ")]
    assert told == [
        f"{machine.folder}/state/head cannot be written",
        f"{machine.folder}/state/storage cannot be written",
        f"port 8884 of {machine.addresses[1]} cannot be had: Address already in use",
        f"{machine.disk}: No such file or directory",
    ]


@pytest.mark.parametrize("whose", ["ours", "his"])
def test_who_answers_at_an_agents_port_is_told(
    manager: Manager, machine: Machine, name: str, whose: str
) -> None:
    del machine.addresses[1]
    machine.join(manager.invite(name))
    folder = machine.folder / whose
    if whose == "his":
        certificates.issue(folder, "node", machine.addresses)
    else:
        shutil.copytree(machine.folder / "config", folder)
    (machine.folder / "state" / "storage").mkdir(parents=True)  # it was started

    with Relay(folder, "", name="node", place=(machine.addresses[0], PORTS["storage"])):
        found = machine.node("check")

    told = found.stdout.count("is not this node's storage agent")
    assert (found.returncode, told) == ((1, 1) if whose == "his" else (0, 0))
