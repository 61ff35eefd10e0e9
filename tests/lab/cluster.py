"""The lab itself: a manager on this machine, and guests that are its nodes."""

import signal
import subprocess  # noqa: TC003 - not in strings
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import tomli_w

from agents.identity import Identity
from deploy.local import observe, processes
from deploy.local.place import Place
from tests.cluster.secure_manager import SecureManager
from tests.lab import network
from tests.lab.guest import Guest, GuestFailed
from tests.lab.guest_commands import CommandFailed
from tests.lab.place import (
    DEVICES,
    DISK_GB,
    DISKS,
    MACHINES,
    MANAGER,
    MANAGER_PORT,
    NETWORKS,
    RUN,
    TELLING_GB,
    GuestSpec,
    address,
)
from tests.lab.tools import run

POLICY = {
    "VASTSKY_RECONCILE_SECONDS": "4",
    "VASTSKY_SWEEP_GRACE_SECONDS": "10",
    "VASTSKY_AGENT_TIMEOUT": "8",
    "VASTSKY_SUSPECT_SECONDS": "12",
    "VASTSKY_OFFLINE_SECONDS": "30",
    "VASTSKY_GRACE_SECONDS": "5",
}
"""Guests without KVM are some ten times slower than machines: no haste as in other tests."""
TIMEOUT = 300
"""Seconds for what takes 20 where nothing else runs on the machine."""
ZERO_SECONDS = 6
"""The most that a GB takes, of each disk at once."""
KEPT = "/var/lib/vastsky"
STATE_MB = {"head": 8 << 10, "storage": 48}
"""Of the disk for what nodes keep; on a head's, scenarios make storage servers of their own."""
ALL_UP = (2, 4, 4 * DISKS)


class VirtualLab:
    """All of it. Whoever makes it is alone in its namespaces, and takes all with it in the end."""

    def __init__(self, image: Path) -> None:
        self.place = Place(RUN / "manager", RUN, MANAGER_PORT)
        at = [address(place, MANAGER) for place, _ in enumerate(NETWORKS)]
        self._manager = SecureManager(self.place, at, POLICY)
        self.guests = {machine.name: Guest(machine, image) for machine in MACHINES}
        self.heads = [guest for guest in self.guests.values() if guest.machine.role == "head"]
        self.storages = [g for g in self.guests.values() if g.machine.role == "storage"]
        self.call = self._manager.call
        self.manage = self._manager.manage
        self._children: list[subprocess.Popen[bytes]] = []

    # -- the beginning and the end ----------------------------------------------------------------

    def start(self) -> None:
        """Start everything; ready once all servers and disks are up and all space is zero."""
        self.place.home.mkdir(mode=0o700, parents=True)
        network.lay_cables()
        tokens = self._manager.prepare({m.name: m.addresses for m in MACHINES})
        with ThreadPoolExecutor(len(MACHINES)) as pool:
            for _ in pool.map(lambda m: self._make_disks(m, tokens[m.name]), MACHINES):
                pass
        for guest in self.guests.values():
            guest.start()
        self._manager.start(self._launch)
        self._write_environment()
        for guest in self.guests.values():
            guest.wait()
        _say("all guests take commands")
        self.await_readiness()

    def stop(self) -> None:
        """End everything that was started."""
        for guest in self.guests.values():
            guest.kill()
        everything = partial(processes.marked, self.place.home)
        for process in everything():
            if process.part in ("beat", "worker", "web"):
                process.send(signal.SIGTERM)
        processes.end(everything, grace=3)
        for child in self._children:
            child.wait(10)

    def _launch(self, part: str, command: Sequence[str]) -> None:
        log, environment = self.place.log(part), self._manager.environment
        self._children.append(
            processes.start(
                command, home=self.place.home, part=part, log=log, environment=environment
            )
        )

    def _make_disks(self, machine: GuestSpec, token: str) -> None:
        """Make a guest's disks: blank ones, and one with what an installation put there."""
        folder = RUN / "made" / machine.name
        folder.mkdir(parents=True)
        for name in (f"{machine.name}.pem", f"{machine.name}.key", "authority.pem"):
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes((self._manager.tls / name).read_bytes())
        (folder / "token").touch(mode=0o600)
        (folder / "token").write_text(token)
        (folder / "agent.toml").write_text(tomli_w.dumps(self._settings(machine)))
        size = f"{STATE_MB[machine.role]}M"
        run("mkfs.ext4", "-q", "-N", "4096", "-J", "size=4", "-d", folder, machine.state, size)
        for disk in machine.disks:
            run("qemu-img", "create", "-q", "-f", "qcow2", disk, f"{DISK_GB}G")
        for disk in machine.telling_disks.values():
            run("qemu-img", "create", "-q", "-f", "qcow2", disk, f"{TELLING_GB}G")

    def _settings(self, machine: GuestSpec) -> dict[str, object]:
        common: dict[str, object] = {
            "manager": self._manager.url,
            "addresses": machine.addresses,
            "engine": machine.engine,
            "state_dir": f"{KEPT}/state",
            "run_dir": "/run/vastsky",
            "token_name": machine.name,
            "token_file": f"{KEPT}/token",
            "tls_certificate": f"{KEPT}/{machine.name}.pem",
            "tls_key": f"{KEPT}/{machine.name}.key",
            "tls_authority": f"{KEPT}/authority.pem",
        }
        if machine.role == "head":
            return common
        disks = [{"path": path} for path in DEVICES]
        return common | {"disks": disks, "patrol_mib_per_s": 1}

    def _write_environment(self) -> None:
        """Leave for a person what `manage.py` has to know."""
        lines = [
            f"export {name}='{value}'\n"
            for name, value in self._manager.environment.items()
            if name.startswith(("VASTSKY", "DATABASE", "REDIS"))
        ]
        lines.append(f"export VAS_URL='{self._manager.private_url}'\n")
        lines.append(f"export SSL_CERT_FILE='{self._manager.tls / 'authority.pem'}'\n")
        (RUN / "manager.sh").write_text("".join(lines))

    @property
    def identity(self) -> Identity:
        """Who the manager is to nodes."""
        tls = self._manager.tls
        return Identity(tls / "manager.pem", tls / "manager.key", tls / "authority.pem")

    def restore(self) -> None:
        """Switch on what is off, and plug in what was pulled."""
        for guest in self.guests.values():
            network.heal(guest.name, *NETWORKS)
            guest.start()
        network.heal("manager", *NETWORKS)
        for guest in self.guests.values():
            guest.wait()

    def cut(self, guest: Guest, *networks: str) -> None:
        """Pull a guest's cables until the lab is restored."""
        network.cut(guest.name, *networks)

    def logs(self) -> list[tuple[str, str]]:
        """Tell the ends of all logs, by name: the manager's, and what guests and agents said."""
        found = [(log.name, _end(log.read_text(errors="replace"))) for log in self._files()]
        for guest in self.guests.values():
            if guest.is_on:
                with suppress(OSError, CommandFailed):
                    found.append((f"{guest.name} agent", guest.run(f"tail -25 {KEPT}/agent.log")))
        return found

    def _files(self) -> list[Path]:
        return sorted([*self.place.log("web").parent.glob("*.log"), *RUN.glob("logs/*.log")])

    def await_readiness(self) -> None:
        """Wait until every server and disk is up, and all space that no volume has is zero."""
        observe.wait(self.is_up, "all servers and disks are up", TIMEOUT)
        observe.wait(self.is_zeroed, "all space is zero", max(TIMEOUT, DISK_GB * ZERO_SECONDS))

    # -- how it stands ----------------------------------------------------------------------------

    def is_up(self) -> bool:
        try:
            return observe.present(self.call) == ALL_UP
        except OSError:
            return False

    def is_zeroed(self) -> bool:
        """Tell whether all space that no volume has can be allocated."""
        return len(set(observe.space(self.call))) == 1


RUNNING = pytest.StashKey[VirtualLab]()
"""Where tests find the lab that is up."""


@contextmanager
def running_lab(image: Path) -> Iterator[VirtualLab]:
    """Start a lab that is ready to be used, and stop it in the end, whatever happened."""
    began = time.monotonic()
    lab = VirtualLab(image)
    try:
        lab.start()
        _say(f"the lab is ready after {time.monotonic() - began:.0f} s")
        yield lab
    except (GuestFailed, observe.Failed):
        # They are about to vanish, and are all that tells why.
        for name, said in lab.logs():
            _say(f"--- {name}\n{said}")
        raise
    finally:
        lab.stop()


def _end(text: str) -> str:
    return "\n".join(text.splitlines()[-25:])


def _say(text: str) -> None:
    print(text, flush=True)
