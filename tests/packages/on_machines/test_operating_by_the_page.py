"""docs/operate.md, typed as it stands: a cluster of an older release is upgraded and looked after.

One cluster lives through all tests of this file, in their order. Somebody writes to its volume.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.engines.kernel.hands_off import LVM_CONF
from agents.version import VERSION
from deploy.packages.debian import debian_version
from tests.packages.calls import Calls
from tests.packages.machines import Hall, Machine, running, six
from tests.packages.on_machines.conftest import OLDER_NUMBER
from tests.packages.page import PROMPT, sections
from tests.packages.typist import Typist

ROOT = Path(__file__).parents[3]
PAGE, INSTALL, HA = (ROOT / f"docs/{name}.md" for name in ("operate", "install", "ha"))
TYPED = (
    "Upgrading",
    "Going back",
    "Nodes and disks",
    "Backup and restore",
    "Certificates",
    "Ports and firewall",
    "Taking a machine out",
)
WRITER = (ROOT / "tests/packages/writer.py", ROOT / "deploy/local/nbd.py")
WRITE = "systemd-run --unit=writer -p StandardOutput=truncate:/root/written python3 /root/writer.py"
PROCESSES = "vastsky-web vastsky-worker vastsky-beat"
ENGINES = {"head": "'^vas-'", "storage": "-f '[d]ata_server_process'"}
THEIRS = "devices {\n\tscan_lvs = 0\n}\n"
ANSWERED = "vastsky cluster show > /dev/null 2>&1"
"""A manager that was started takes a moment."""
PATHS_DOWN = "event list --kind path_down"
HIGH = 1
"""How far a server in service is trusted."""
WAIT_SECONDS = 300.0


@dataclass(slots=True)
class Site:
    """A cluster, who types there, and who writes to its volume."""

    hall: Hall
    typist: Typist
    packages: list[Path]
    spare: Machine

    def __getitem__(self, name: str) -> Machine:
        return self.typist.machines[name]

    def bring(self, machine: str, packages: list[Path]) -> None:
        """Put packages, and no others, where the page takes them from."""
        folder = self[machine].inside("/root")
        for old in folder.glob("*.deb"):
            old.unlink()
        for package in packages:
            shutil.copy(package, folder)

    def begin_to_write(self) -> None:
        for file in WRITER:
            shutil.copy(file, self["head-1"].inside("/root"))
        self["head-1"].run(f"{WRITE} /dev/vas/first")

    def end_writing(self) -> None:
        """See that no write failed, and that every block is what was written last."""
        head = self["head-1"]
        head.run("systemctl stop writer")
        told = head.inside("/root/written").read_text()
        assert told, head.run("journalctl -u writer --no-pager | tail -20")
        print(f"writer: {told}")
        written = json.loads(told)
        assert written["writes"] > 100
        assert written["wrong"] == []

    def engines(self) -> dict[str, set[str]]:
        """Say which processes of each node move bytes."""
        return {name: _engine(self[name]) for name in self.typist.named("every-node")}

    def await_release(self, name: str, release: str) -> None:
        """Wait, as the page says, until a node is in service with a release, and in sync."""
        self["manager-1"].run(f"until {ANSWERED}; do sleep 1; done")
        wanted = {"name": name, "version": release, "priority": HIGH, "resync": 0}
        _until(lambda: any(wanted.items() <= server.items() for server in self.ask("server list")))

    def await_nodes(self, manager: str, script: str) -> None:
        """Wait, as the page says, until recovery calls no node silent before it is applied."""
        if script.endswith("recover --apply"):
            ask = "vastsky-manage recover | grep -w silent || true"
            _until(lambda: not self[manager].run(ask))

    def ask(self, command: str) -> Any:
        """Ask the manager for what is of interest to programs."""
        return json.loads(self["manager-1"].run(f"vastsky {command} --json"))


@pytest.fixture(scope="module")
def site(
    base: Path,
    packages: list[Path],
    older_packages: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Install the older release by its page, and begin to write."""
    machines = six()
    machines[2].disks += 1
    spare = Machine("storage-5", ("10.1.0.25", "10.2.0.25"), disks=1)
    with running(base, [*machines, spare], tmp_path_factory.mktemp("site")) as hall:
        one = Site(hall, Typist(machines), packages, spare)
        for machine in machines:
            one.bring(machine.name, older_packages)
        one.typist.type(INSTALL)
        one.begin_to_write()
        yield one


def test_every_section_that_has_something_typed_is_typed_here() -> None:
    found = [
        title
        for title, lines in sections(PAGE).items()
        if any(PROMPT.fullmatch(line) for line in lines)
    ]
    assert sorted(found) == sorted(TYPED)


def test_an_upgrade_by_the_page_is_noticed_by_nobody_who_writes(
    site: Site, older_packages: list[Path]
) -> None:
    kept = {name: _settings(machine) for name, machine in site.typist.machines.items()}
    engines = site.engines()

    told = _upgrade(site)

    assert "vastsky-manager: what runs is the older release" in told
    cluster = site.ask("cluster show")
    assert cluster["version"] == VERSION
    assert cluster["agents"] == [{"version": VERSION, "count": 5}]
    site["manager-1"].run("vastsky-manage migrate --check")
    assert {name: _settings(machine) for name, machine in site.typist.machines.items()} == kept
    now = site.engines()
    assert {name: engines[name] & now[name] for name in now} == engines
    site.end_writing()
    assert site["manager-1"].run("vastsky-manage fsck") == ""

    site.bring("manager-1", older_packages)
    refused = site["manager-1"].run("! apt install ./vastsky-manager_*.deb")
    assert "downgrade" in refused.lower()
    assert debian_version(VERSION) in site["manager-1"].run("dpkg-query -W vastsky-manager")
    site.bring("manager-1", site.packages)


def test_who_goes_back_by_the_page_keeps_what_came_since(
    site: Site, older_packages: list[Path]
) -> None:
    site.begin_to_write()
    site["manager-1"].run("vastsky volume create later 1 && vastsky volume attach later head-1")
    site.bring("manager-1", older_packages)

    site.typist.type(PAGE, "Going back", site.await_nodes)

    assert site.ask("cluster show")["version"] == OLDER_NUMBER
    assert {one["lvolname"] for one in site.ask("volume list")} == {"first", "later"}
    site["manager-1"].run("vastsky volume detach later && vastsky volume delete later")
    _upgrade(site)
    assert site.ask("cluster show")["version"] == VERSION
    site.end_writing()


def test_the_machines_listen_on_the_ports_of_the_page_and_on_no_others(site: Site) -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| (\d+)/tcp \|", PAGE.read_text(), re.MULTILINE)
    for name in ("manager-1", "head-1", "storage-1"):
        listening = site[name].run("ss -Hltn")
        others = {
            port
            for address, port in re.findall(r"LISTEN +\d+ +\d+ +(\S+):(\d+)", listening)
            if not address.startswith(("127.", "[::1]"))
        }
        kind = name.partition("-")[0]
        assert others == {port for to, port in rows if to.startswith(kind)}, listening


def test_nodes_and_disks_come_and_go_by_the_page(site: Site) -> None:
    site.typist.machines["storage-5"] = site.spare
    site.begin_to_write()

    def before(_: str, script: str) -> None:
        if script == "vastsky server fail storage-4":
            site.hall.cut_power(site.typist.machines.pop("storage-4"))
        elif script == "vastsky volume detach first":
            site.end_writing()

    site.typist.type(PAGE, "Nodes and disks", before)

    site.hall.cut_power(site.typist.machines.pop("storage-2"))
    site.begin_to_write()
    servers = site.ask("server list --kind storage")
    assert {one["name"] for one in servers} == {"storage-1", "storage-3", "storage-5"}
    disks = {(one["ssvrname"], one["local_path"][-1]) for one in site.ask("disk list")}
    kept = {("storage-1", "B"), ("storage-1", "C"), ("storage-3", "B"), ("storage-5", "A")}
    assert disks == kept
    assert site.ask("scrub differences") == []
    assert site["manager-1"].run("vastsky-manage fsck") == ""


def test_with_the_firewalls_of_the_page_all_goes_on_and_what_is_closed_is_told(
    site: Site,
) -> None:
    manager, storage = site["manager-1"], site["storage-1"]
    told_before = len(site.ask(PATHS_DOWN))

    site.typist.type(PAGE, "Ports and firewall")

    manager.run("vastsky volume create walled 1 && vastsky volume attach walled head-1")
    manager.run("vastsky volume detach walled && vastsky volume delete walled")
    with _closed(storage, "10.1.0.21", 8883):
        told = manager.run("! vastsky-manage check --deploy --fail-level WARNING 2>&1")
    assert "storage-1 cannot be reached at 10.1.0.21:8883: no answer" in told
    with _closed(manager, "10.1.0.1", 8881):
        told = storage.run("! vastsky-node check")
    assert "https://10.1.0.1:8881 cannot be reached" in told
    assert "https://10.2.0.1:8881" not in told
    assert len(site.ask(PATHS_DOWN)) == told_before
    with _closed(storage, "10.1.0.21", 8884):
        _until(lambda: len(site.ask(PATHS_DOWN)) > told_before)
    assert "storage-1" in json.dumps(site.ask(PATHS_DOWN)[0])


def test_a_manager_that_burnt_down_is_restored_by_the_page(site: Site) -> None:
    old = site["manager-1"]

    def before(name: str, script: str) -> None:
        if script.startswith("apt install"):
            # The backup does not know of it: the nodes do.
            old.run("vastsky volume create second 1 && vastsky volume attach second head-1")
            site.typist.machines[old.name] = _replace(site, old)
        site.await_nodes(name, script)

    site.typist.type(PAGE, "Backup and restore", before)

    assert {(one["lvolname"], one["hsvrid"]) for one in site.ask("volume list")} == {
        ("first", 1),
        ("second", 1),
    }
    site.end_writing()


def test_certificates_are_renewed_by_the_page_while_all_goes_on(site: Site) -> None:
    site.begin_to_write()
    serial = "openssl x509 -noout -serial -in"
    manager = f"{serial} /var/lib/vastsky/manager/tls/manager.pem"
    node = f"{serial} /etc/vastsky/node.pem"
    key = "sha256sum /etc/vastsky/node.key /etc/vastsky/token"
    before = site["manager-1"].run(manager), site["storage-1"].run(node), site["storage-5"].run(key)

    site.typist.type(PAGE, "Certificates")

    after = site["manager-1"].run(manager), site["storage-1"].run(node), site["storage-5"].run(key)
    assert all(one != other for one, other in zip(before, after, strict=True))
    site.await_release("storage-5", VERSION)
    # With it the manager gives orders to nodes.
    site["manager-1"].run("vastsky volume detach second && vastsky volume delete second")
    site["manager-1"].run("vastsky-manage check --deploy --fail-level WARNING")


def test_one_of_two_managers_is_stopped_and_nobody_misses_it(site: Site) -> None:
    second = Machine("manager-2", ("10.1.0.2", "10.2.0.2"))
    site.hall.start(second)
    second.wait()
    site.typist.machines[second.name] = second
    site.bring(second.name, site.packages)

    def before(_: str, script: str) -> None:
        if script.startswith("tar -x"):
            kept = site["manager-1"].inside("/root/second.tar.gz").read_bytes()
            second.inside("/root/second.tar.gz").write_bytes(kept)

    site.typist.type(HA, "A second manager, by packages", before)
    for name in site.typist.named("every-node"):
        site.await_release(name, VERSION)
    first = site["manager-1"]
    first.run("until vastsky plan volume 1; do sleep 1; done")
    calls = Calls(second)
    calls.begin("third", "head-1")

    first.run(f"systemctl stop {PROCESSES}")
    calls.go_on()
    told = site["storage-1"].run("! vastsky-node check")
    assert "10.1.0.1:8881 cannot be reached" in told
    assert "10.1.0.2:8881" not in told
    first.run("vastsky volume list")
    first.run(f"systemctl start {PROCESSES}")
    first.run(f"until {ANSWERED} --manager https://10.1.0.1:8881; do sleep 1; done")
    second.run(f"systemctl disable --now {PROCESSES}")
    calls.go_on()
    calls.end()

    assert {one["lvolname"] for one in site.ask("volume list")} == {"first"}
    assert first.run("vastsky-manage fsck") == ""
    site.end_writing()
    site.begin_to_write()


def test_what_is_removed_and_purged_leaves_what_the_page_says(site: Site) -> None:
    head, storage = site["head-1"], site["storage-1"]
    states = "ls /etc/vastsky /var/lib/vastsky"
    kept = head.run(states)
    label = "tail -c 2G /dev/disk/by-id/ata-B | grep -a -c -m 1 VASLABL1"
    assert storage.run(label).strip() == "1"
    # As an agent of the kernel engine leaves it, where somebody else had set something before.
    lvm = storage.inside("/etc/lvm/lvmlocal.conf")
    lvm.parent.mkdir(exist_ok=True)
    lvm.write_text(f"{THEIRS}{LVM_CONF}")

    site.typist.type(PAGE, "Taking a machine out")

    assert head.run(states) == kept
    site.end_writing()
    assert storage.run("ls -d /etc/vastsky /var/lib/vastsky 2>/dev/null || true") == ""
    # Its data server goes on, so systemd does not forget the unit yet.
    units = "--state=active,failed --no-legend 'vastsky-*'"
    assert storage.run(f"systemctl list-units {units}") == ""
    assert storage.run(label).strip() == "1"
    assert lvm.read_text().strip() == THEIRS.strip()
    assert "authority.key" in site["manager-1"].run("ls /var/lib/vastsky/manager/tls")


def _upgrade(site: Site) -> str:
    """Type what the page says, one node after the other; what was printed."""
    last: list[str] = []

    def before(name: str, script: str) -> None:
        if last and (script.startswith("apt") or "show" in script):
            site.await_release(last.pop(), VERSION)
        if script.startswith("apt"):
            site.bring(name, site.packages)
        if "vastsky-node" in script:
            last.append(name)

    return site.typist.type(PAGE, "Upgrading", before)


def _replace(site: Site, old: Machine) -> Machine:
    """Burn a manager down; another machine gets its name, its addresses, and what was kept."""
    kept = old.inside("/root/keep.tar.gz").read_bytes()
    site.hall.cut_power(old)
    new = Machine(old.name, old.addresses)
    site.hall.start(new)
    new.wait()
    new.inside("/root/keep.tar.gz").write_bytes(kept)
    return new


def _engine(machine: Machine) -> set[str]:
    """Name the processes that move bytes: of each attached group, or of all disks."""
    kind = machine.name.partition("-")[0]
    found = set(machine.run(f"pgrep {ENGINES[kind]}").split())
    assert found, machine.name
    return found


@contextmanager
def _closed(machine: Machine, address: str, port: int) -> Iterator[None]:
    """Forget a port in a machine's firewall for a while."""
    machine.run(f"nft insert rule inet filter input ip daddr {address} tcp dport {port} drop")
    yield
    machine.run("systemctl reload nftables")


def _settings(machine: Machine) -> str:
    return machine.run("cd /etc/vastsky && sha256sum * || true")


def _until(ask: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not ask():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(1)
