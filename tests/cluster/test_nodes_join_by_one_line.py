"""`vastsky-node join STRING` against a real manager over TLS: first look, then trust, then join."""

import shutil
import socket
import stat
from pathlib import Path

import pytest

from agents import join_string
from agents.join_string import JoinString
from agents.node.config import StorageConfig, load_config
from agents.node.manager_client import ManagerClient
from tests.cluster.joinable import ADDRESS, Machine, Manager, Relay
from vastsky_site.access import certificates

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the command openssl")


def test_a_machine_is_a_node_after_one_line(manager: Manager, machine: Machine, name: str) -> None:
    done = machine.join(manager.invite(name))

    assert done.returncode == 0, done.stdout + done.stderr
    config = load_config(StorageConfig, machine.folder / "config" / "storage.toml")
    assert [disk.path for disk in config.disks] == [str(machine.disk)]
    client = ManagerClient(config.manager_endpoints, config.token_name, config.token_file)
    assert client.table("vastsky.clusterInfo")["cluster"]
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (machine.folder / "config").iterdir()
    }
    assert modes == {
        "node.key": 0o600,
        "token": 0o600,
        "storage.toml": 0o600,
        "node.pem": 0o644,
        "authority.pem": 0o644,
    }


def test_a_node_whose_answer_was_lost_joins_again(
    manager: Manager, machine: Machine, name: str
) -> None:
    string = manager.invite(name)
    assert machine.join(string).returncode == 0
    for lost in ("node.pem", "token", "storage.toml", "authority.pem"):
        (machine.folder / "config" / lost).unlink()

    assert machine.join(string).returncode == 0
    other = Machine(machine.folder.with_name("other"))
    assert other.join(string).returncode == 1


def test_a_node_gets_another_key_while_its_agents_have_their_ports(
    manager: Manager, machine: Machine, name: str
) -> None:
    machine.join(manager.invite(name))
    key, token = (machine.folder / "config" / file for file in ("node.key", "token"))
    old_token = token.read_text()
    string = manager.invite(name, what="rekey")
    key.unlink()

    with socket.create_server((machine.addresses[0], 8884)):
        done = machine.join(string)

    assert done.returncode == 0, done.stdout
    assert key.exists()
    assert token.read_text() != old_token
    assert machine.node("check").returncode == 0


def test_a_manager_with_another_key_hears_no_secret(
    manager: Manager, machine: Machine, name: str
) -> None:
    string = join_string.parse(manager.invite(name))
    elsewhere = JoinString(string.urls, b"\1" * 32, string.secret)

    done = machine.join(str(elsewhere))

    assert done.returncode == 1
    assert "another key" in done.stderr
    assert machine.written() == set()
    assert machine.join(str(string)).returncode == 0


def test_who_relays_the_right_authority_and_has_no_key_of_it_hears_no_secret(
    manager: Manager, machine: Machine, name: str, tmp_path: Path
) -> None:
    """He tells the authority's certificate, which anybody can have, over a TLS of his own."""
    certificates.issue(tmp_path / "his", "thief", [ADDRESS])
    said = (manager.home / "tls" / "authority.pem").read_text()
    string = join_string.parse(manager.invite(name))
    with Relay(tmp_path / "his", said) as relay:
        done = machine.join(str(JoinString((relay.url,), string.fingerprint, string.secret)))

    assert done.returncode == 1
    assert "certificate" in done.stderr
    assert string.secret.hex() not in relay.heard


def test_a_disk_with_data_of_others_is_refused_before_anything_is_sent(
    manager: Manager, machine: Machine, name: str
) -> None:
    with machine.disk.open("r+b") as disk:
        disk.seek(1080)
        disk.write(b"\x53\xef")
    string = manager.invite(name)

    done = machine.join(string)

    assert done.returncode == 1
    assert "an ext file system" in done.stdout
    assert machine.written() == set()
    assert machine.join(string, "--head").stdout.count("ext file system") == 0


def test_a_string_that_was_not_copied_whole_is_told(machine: Machine) -> None:
    string = JoinString((f"https://{ADDRESS}:1",), b"\0" * 32, b"\0" * 18)

    done = machine.join(str(string)[:-3])

    assert done.returncode == 2
    assert "copy all of it" in done.stderr


def test_a_node_looks_after_itself(manager: Manager, machine: Machine, name: str) -> None:
    assert machine.join(manager.invite(name)).returncode == 0
    before = (machine.folder / "config" / "node.pem").read_bytes()

    assert machine.node("renew").stdout == ""
    assert "valid until" in machine.node("renew", "--now").stdout
    assert (machine.folder / "config" / "node.pem").read_bytes() != before
    (machine.folder / "config" / "node.key").chmod(0o644)
    found = machine.node("check")

    assert "chmod 600" in found.stdout + found.stderr


def test_an_agent_asks_the_next_manager_where_the_first_is_away(
    manager: Manager, machine: Machine, name: str
) -> None:
    away = f"https://{ADDRESS}:1"
    string = manager.invite(name, "--url", away, "--url", manager.url)

    done = machine.join(string)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{away} cannot be reached" in done.stdout
    config = load_config(StorageConfig, machine.folder / "config" / "storage.toml")
    client = ManagerClient(config.manager_endpoints, config.token_name, config.token_file)
    assert client.table("vastsky.clusterInfo")["cluster"]
