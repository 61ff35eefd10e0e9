"""`vastsky-node join STRING` against a real manager over TLS: first look, then trust, then join."""

import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from agents import join_string
from agents.join_string import JoinString
from agents.node.config import StorageConfig, load_config
from agents.node.manager_client import ManagerClient
from agents.ondisk import GB
from vastsky_site.access import certificates

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the command openssl")
ADDRESS = "127.0.0.1"
numbers = itertools.count(1)


class Manager:
    """A manager's web process over TLS, with a database of its own."""

    def __init__(self, home: Path) -> None:
        self.home, tls = home, home / "tls"
        certificates.issue(tls, "manager", [ADDRESS], may_call=True)
        with socket.create_server((ADDRESS, 0)) as probe:
            self.url = f"https://{ADDRESS}:{probe.getsockname()[1]}"
        kept = {name: value for name, value in os.environ.items() if "VASTSKY" not in name}
        self.env = kept | {
            "VASTSKY_HOME": str(home),
            "DATABASE_URL": "",
            "VASTSKY_TLS_CERTIFICATE": str(tls / "manager.pem"),
            "VASTSKY_TLS_KEY": str(tls / "manager.key"),
            "VASTSKY_TLS_AUTHORITY": str(tls / "authority.pem"),
            "VASTSKY_MANAGER_URLS": self.url,
            "VASTSKY_RPC_TRUSTED_NETWORKS": "10.255.255.255/32",
        }
        self.manage("migrate", "--verbosity=0")
        files = ["--certificate", str(tls / "manager.pem"), "--key", str(tls / "manager.key")]
        port = self.url.rpartition(":")[2]
        self.web = subprocess.Popen(
            [sys.executable, "-m", "vastsky_site.serve", "--port", port, *files], env=self.env
        )
        self._wait(int(port))

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((ADDRESS, port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the manager does not listen")

    def manage(self, *words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(command, env=self.env, check=True, capture_output=True, timeout=120)
        return done.stdout.decode()

    def invite(self, name: str, *words: str, what: str = "add") -> str:
        (line,) = [
            line
            for line in self.manage("node", what, name, *words).splitlines()
            if line.startswith("vastsky-node join")
        ]
        return line.split()[2]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    manager = Manager(tmp_path_factory.mktemp("manager"))
    yield manager
    manager.web.send_signal(signal.SIGTERM)
    manager.web.wait(timeout=20)


class Machine:
    """A machine that is to be a node: its folders, a disk, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.disk = folder, folder / "disk.img"
        folder.mkdir(exist_ok=True)
        number = next(numbers)
        self.addresses = [f"127.30.{number}.1", f"127.31.{number}.1"]
        with self.disk.open("wb") as disk:
            disk.truncate(4 * GB)

    def node(self, *words: str) -> subprocess.CompletedProcess[str]:
        places = [f"--{one}-dir={self.folder / one}" for one in ("config", "state", "run")]
        command = [sys.executable, "-m", "agents.vastsky_node", *places, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def join(self, string: str, *words: str) -> subprocess.CompletedProcess[str]:
        wanted = words or ("--storage", "--disk", str(self.disk))
        return self.node("join", string, *(f"--address={one}" for one in self.addresses), *wanted)

    def written(self) -> set[str]:
        config = self.folder / "config"
        return {path.name for path in config.iterdir()} if config.exists() else set()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture
def name() -> str:
    """A name that no other node has."""
    return f"node-{next(numbers)}"


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
    with _Relay(tmp_path / "his", said) as relay:
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

    with _Relay(folder, "", name="node", place=(machine.addresses[0], 8883)):
        found = machine.node("check")

    told = found.stdout.count("is not this node's storage agent")
    assert (found.returncode, told) == ((1, 1) if whose == "his" else (0, 0))


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


class _Relay:
    """Answers each connection with the same text, and remembers what it was told."""

    def __init__(
        self,
        folder: Path,
        authority: str,
        name: str = "thief",
        place: tuple[str, int] = (ADDRESS, 0),
    ) -> None:
        self.heard = ""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        body = json.dumps({"authority": authority, "cluster": "c", "time": time.time()})
        self._answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        self._listener = socket.create_server(place)
        self.url = f"https://{ADDRESS}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(raw, server_side=True) as sock:
                    sock.settimeout(1)
                    request = sock.recv(65536)
                    if request.startswith(b"POST"):
                        request += sock.recv(65536)  # the body comes apart from the headers
                    self.heard += request.decode()
                    sock.sendall(self._answer)
            except OSError:
                continue
