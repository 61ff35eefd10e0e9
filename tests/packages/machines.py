"""Debian machines as namespaces: systemd, two networks, disks of loop devices; root is needed.

A machine is an overlay over one root that debootstrap made once and that is kept in the user's
cache. Nothing of this machine's network is reached from there, and nothing there sets its clock.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.packages.keyboard import typed_at

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vastsky-packages"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
BASE = "python3,systemd,systemd-sysv,iproute2,iputils-ping,procps,hostname,kmod,ca-certificates"
ALSO = ("smartmontools", "nftables")
"""What a page has people install besides our packages."""
UNATTENDED = 'APT::Get::Assume-Yes "true";\nDPkg::Options { "--force-confold"; };\n'
CGROUPS = Path("/sys/fs/cgroup/systemd")
BOOT = Path(__file__).parent / "boot.sh"
TOOLS = ("debootstrap", "dpkg-deb", "unshare", "nsenter", "ip", "losetup", "setpriv", "lintian")
NAMESPACES = ("mount", "pid", "uts", "ipc", "net", "cgroup")
ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
SETTLED = """\
while [ -n "$(systemctl list-jobs --no-legend 2>/dev/null)" ]; do sleep 0.2; done
while pg_lsclusters --no-header 2>/dev/null | grep -qv online; do sleep 0.2; done"""
"""PostgreSQL is started some seconds after its package is installed, on a busy machine."""
STARTED = "systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'"
READY_SECONDS = 60.0
DISK_BYTES = 4 << 30
"""A disk is zeroed as a whole, and then takes as much room here as it is large."""

T = TypeVar("T")


@dataclass(slots=True)
class Machine:
    """One machine: its name, its address in each network, how many disks it has."""

    name: str
    addresses: tuple[str, ...]
    disks: int = 0
    pid: int = field(default=0, init=False)

    def run(self, script: str, typed: str = "", seconds: float = 600) -> str:
        """Run what root types at a shell; what it prints. AssertionError if it fails."""
        # A person is slower than systemd, which starts what apt installs behind its back.
        script = f"{SETTLED}\n{script}"
        shell = ["/usr/bin/env", "-i", *ENVIRONMENT, "/bin/bash", "-c", f"cd; umask 022\n{script}"]
        command = ["nsenter", "--target", str(self.pid), "--all", *shell]
        status, told = typed_at(command, typed, seconds)
        assert status == 0, f"{self.name}: status {status}\n{script}\n{told}"
        return told

    def inside(self, path: str) -> Path:
        """Say where a file of this machine's is, seen from outside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def wait(self) -> None:
        """Wait until systemd has started what it starts."""
        self.run(f"until {STARTED}; do sleep 0.2; done", seconds=READY_SECONDS)


def six() -> list[Machine]:
    """The machines of docs/install.md."""
    return [
        Machine("manager-1", ("10.1.0.1", "10.2.0.1")),
        Machine("head-1", ("10.1.0.11", "10.2.0.11")),
        *(Machine(f"storage-{n}", (f"10.1.0.2{n}", f"10.2.0.2{n}"), disks=2) for n in (1, 2, 3, 4)),
    ]


def why_not() -> str:
    """Say what is missing here; nothing if machines can be had."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        return f"needs {', '.join(missing)}"
    if os.geteuid() != 0:
        return "needs root"
    return "" if CGROUPS.is_dir() else f"needs {CGROUPS} (control groups, version 1)"


def root(packages: Sequence[Path]) -> Path:
    """Make the root that all machines start from, and have apt fetch what our packages need."""
    made = CACHE / SUITE
    if not made.exists():
        draft = CACHE / f"{SUITE}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        _do("debootstrap", "--variant=minbase", f"--include={BASE}", SUITE, str(draft), MIRROR)
        draft.rename(made)
    shutil.copy("/etc/resolv.conf", made / "etc/resolv.conf")
    (made / "etc/apt/apt.conf.d/90-unattended").write_text(UNATTENDED)
    for old in (made / "root").glob("*.deb"):
        old.unlink()
    names = [shutil.copy(package, made / "root") for package in packages]
    inside = [f"/root/{Path(name).name}" for name in names]
    _do("chroot", str(made), "apt-get", "update", "--quiet")
    _do("chroot", str(made), "apt-get", "install", "--download-only", "--quiet", *inside, *ALSO)
    return made


class Hall:
    """Where machines stand and are connected; one may lose its power, another take its place."""

    def __init__(self, base: Path, scratch: Path, hosts: str, switch: int) -> None:
        self._base, self._scratch, self._hosts, self._switch = base, scratch, hosts, switch
        self._ends = dict[str, ExitStack]()
        self._started = 0

    def start(self, machine: Machine) -> None:
        """Give a machine disks, power and an address in each of the networks."""
        number, self._started = self._started, self._started + 1
        folder = self._scratch / f"{number}-{machine.name}"
        folder.mkdir()
        Path(f"{folder}.hosts").write_text(f"127.0.0.1 localhost\n{self._hosts}")
        ends = self._ends[machine.name] = ExitStack()
        disks = [ends.enter_context(_disk(folder, disk)) for disk in range(machine.disks)]
        ends.enter_context(_booted(machine, self._base, folder, disks))
        for network, address in enumerate(machine.addresses):
            _connect(self._switch, machine, f"m{number}n{network}", network, address)

    def cut_power(self, machine: Machine) -> None:
        """End a machine at once, with all that was on it."""
        self._ends.pop(machine.name).close()

    def close(self) -> None:
        """End all machines."""
        with ExitStack() as every:
            for ends in self._ends.values():
                every.push(ends)


@contextmanager
def running(base: Path, machines: Sequence[Machine], scratch: Path) -> Iterator[Hall]:
    """Start machines, each with an address in each of the networks; all is gone afterwards."""
    hosts = "".join(f"{one.addresses[0]} {one.name}\n" for one in machines)
    wanted = sum(machine.disks for machine in machines) * DISK_BYTES
    assert shutil.disk_usage(scratch).free > 1.5 * wanted, f"{scratch} has no room for the disks"
    with (
        _switch(len(machines[0].addresses)) as switch,
        closing(Hall(base, scratch, hosts, switch)) as hall,
    ):
        for machine in machines:
            hall.start(machine)
        for machine in machines:
            machine.wait()
        yield hall


@contextmanager
def _switch(networks: int) -> Iterator[int]:
    """Hold a network namespace with one bridge for each network; the id of who holds it."""
    with _process(["unshare", "--net", "sleep", "infinity"]) as holder:
        time.sleep(0.5)
        for network in range(networks):
            _in_net(holder, f"ip link add br{network} type bridge")
            _in_net(holder, f"ip link set br{network} up")
        yield holder


@contextmanager
def _disk(folder: Path, number: int) -> Iterator[str]:
    """Make a blank disk."""
    path = Path(f"{folder}-{number}.disk")
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    loop = _do("losetup", "--find", "--show", str(path)).strip()
    try:
        yield loop
    finally:
        _do("losetup", "--detach", loop)
        path.unlink()


@contextmanager
def _booted(machine: Machine, base: Path, folder: Path, disks: list[str]) -> Iterator[None]:
    spaces = [f"--{space}" for space in NAMESPACES]
    boot = ["sh", str(BOOT), machine.name, str(base), str(folder), *disks]
    command = ["unshare", *spaces, "--fork", "--kill-child", *boot]
    with (
        _group(folder.name) as group,
        _process(
            ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command],
            Path(f"{folder}.console"),
        ) as pid,
    ):
        children = Path(f"/proc/{pid}/task/{pid}/children")
        machine.pid = int(_until(lambda: children.read_text().split())[0])
        _until(lambda: Path(f"/proc/{machine.pid}/comm").read_text() == "systemd\n")
        yield


@contextmanager
def _group(name: str) -> Iterator[Path]:
    """Hold a control group; it can be removed once the last process of the machine is gone."""
    group = CGROUPS / f"vastsky-{os.getpid()}-{name}"
    group.mkdir()
    try:
        yield group
    finally:
        _until(lambda: _removed(group))


def _removed(group: Path) -> bool:
    with suppress(OSError):
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()
    return not group.exists()


@contextmanager
def _process(command: list[str], log: Path = Path(os.devnull)) -> Iterator[int]:
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def _connect(switch: int, machine: Machine, link: str, network: int, address: str) -> None:
    _in_net(switch, f"ip link add {link} type veth peer name net{network} netns {machine.pid}")
    _in_net(switch, f"ip link set {link} master br{network} up")
    _in_net(machine.pid, f"ip addr add {address}/24 dev net{network}")
    _in_net(machine.pid, f"ip link set net{network} up")


def _until(ask: Callable[[], T]) -> T:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if found := ask():
            return found
        time.sleep(0.05)
    raise AssertionError("a machine did not start, or did not end")


def _in_net(pid: int, command: str) -> None:
    _do("nsenter", "--target", str(pid), "--net", *command.split())


def _do(*command: str) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, env=environment, umask=0o022, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
    return done.stdout
