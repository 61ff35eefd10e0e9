"""smartd of Debian, SMART of disks and the kernel's log, on disks that have all three.

Two disks that nobody else uses are taken in by the page and go again: an ATA one and an NVMe one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agents.client import AgentUnreachable, Fault, StorageAgent
from agents.protocol import SmartFigures, Target
from deploy.local import observe
from tests.lab import standing
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.inventory import STORAGE_PORT
from tests.lab.place import BAD_SECTOR, TELLING, TELLING_GB

ATA, NVME = "/dev/sda", "/dev/nvme0n1"
LOW, FAULTY = 2, 5
SETTINGS = "/var/lib/vastsky/agent.toml"
AGENT = "pkill -f '[m] agents storage'"
MONITOR_LOG, SMARTD_LOG = "/run/monitor.log", "/run/smartd.log"
INSTALL = f"""
modprobe -a sd_mod ata_piix nvme && udevadm settle
mkdir -p /etc/vastsky /etc/smartmontools/run.d
ln -sf {SETTINGS} /etc/vastsky/storage.toml
printf '#!/bin/sh\\ncd /src && exec python3 -m agents.vastsky_node "$@"\\n' > /usr/bin/vastsky-node
cp /src/deploy/packages/node/smartd-warning /etc/smartmontools/run.d/50vastsky
chmod 755 /usr/bin/vastsky-node /etc/smartmontools/run.d/50vastsky
sed 's/^DEVICESCAN .*/& -M test/' /etc/smartd.conf > /run/smartd.conf
cp {SETTINGS} /run/before.toml
sed -i '/^disks = /a {{ path = "{ATA}" }}, {{ path = "{NVME}" }},' {SETTINGS}
"""
"""What the packages of nodes and smartmontools put there, `-M test`, and the disks."""
REMOVE = f"""
pkill smartd; pkill -f '[v]astsky_node monitor'
test ! -e /run/before.toml || cp /run/before.toml {SETTINGS}
rm -rf /var/lib/vastsky/monitor /run/before.toml /etc/vastsky/storage.toml
{AGENT}
"""
UNPLUG = "modprobe -r nvme ata_piix"
UNRELIABLE, WARM = 0x04, 0x02
"""Bits of NVMe's critical warning."""


@pytest.fixture
def guest(lab: VirtualLab) -> Iterator[Guest]:
    """A storage server with smartd, monitor and two disks more."""
    one = lab.guests[TELLING]
    with taken_in(lab, one):
        yield one
    observe.wait(lambda: bool(figures(lab, one)), "its agent answers again", TIMEOUT)


@contextmanager
def taken_in(lab: VirtualLab, guest: Guest) -> Iterator[None]:
    try:
        guest.run(INSTALL, timeout=TIMEOUT)
        guest.begin("vastsky-node monitor", MONITOR_LOG)
        guest.run(AGENT)
        observe.wait(lambda: {ATA, NVME} <= rows(lab, guest).keys(), "they are known", TIMEOUT)
        observe.wait(lab.is_zeroed, "they are zeroed", TIMEOUT)
        yield
    finally:
        guest.set_hardware("nvme", "smart_critical_warning", 0)
        guest.attempt(REMOVE)
        for path in (ATA, NVME):
            if row := rows(lab, guest).get(path):
                if row["priority"] != FAULTY:
                    lab.call("notifyFailure", target=int(Target.DISK), targetid=row["pdskid"])
                lab.call("deletePhysicalDisk", pdskid=row["pdskid"])
        observe.wait(lambda: not guest.attempt(UNPLUG).status, "nobody has them", TIMEOUT)


def rows(lab: VirtualLab, guest: Guest) -> dict[str, dict[str, object]]:
    """Tell what the manager knows of a server's disks, by their paths."""
    number = standing.server(lab, guest)
    return {row["local_path"]: row for row in lab.call("listPhysicalDisks", ssvrid=number)}


def figures(lab: VirtualLab, guest: Guest) -> dict[str, SmartFigures]:
    """Tell what the disks said of themselves last, as the node tells it; none while it starts."""
    agent = StorageAgent(guest.machine.addresses, STORAGE_PORT, identity=lab.identity, timeout=30)
    try:
        return {disk.local_path: disk.smart for disk in agent.state().disks}
    except (AgentUnreachable, Fault):
        return {}


def heard(guest: Guest, log: str, text: str) -> None:
    """Wait until a log has a text."""
    observe.wait(lambda: not guest.attempt(f"grep -q '{text}' {log}").status, text, TIMEOUT)


def start_smartd(guest: Guest) -> None:
    """Start smartd, which has told nothing yet, and wait until the manager answers its tests."""
    guest.run("while pkill smartd; do sleep 0.2; done; rm -f /var/lib/smartmontools/*.state")
    guest.begin("smartd -d -n -c /run/smartd.conf", SMARTD_LOG)
    answered = f"grep -c 'the manager answers' {SMARTD_LOG} || true"
    observe.wait(lambda: guest.run(answered) == "2", "the manager answers smartd", TIMEOUT)


def say(guest: Guest, bits: int) -> None:
    """Let the NVMe disk say something of itself when it is asked."""
    guest.set_hardware("nvme", "smart_critical_warning", bits)


def test_what_disks_smartd_and_the_kernel_say_reaches_the_manager(
    lab: VirtualLab, guest: Guest
) -> None:
    disk = rows(lab, guest)[NVME]
    assert (disk["priority"], disk["available"]) == (observe.HIGH, TELLING_GB - 1)

    # The figures, which an agent asks for as it starts; one that is too warm does not fail.
    say(guest, WARM)
    guest.run(AGENT)
    wanted = {ATA: SmartFigures(1, 31, 0), NVME: SmartFigures(1, 50, wear=0)}
    observe.wait(lambda: wanted.items() <= figures(lab, guest).items(), "figures", TIMEOUT)
    start_smartd(guest)
    heard(guest, SMARTD_LOG, "smartd: /dev/nvme0: Health: .*Temperature")
    assert rows(lab, guest)[NVME]["priority"] == observe.HIGH

    # A sector that cannot be read.
    guest.attempt(f"dd if={NVME} of=/dev/null bs=4k skip={BAD_SECTOR >> 3} count=1 iflag=direct")
    observe.wait(lambda: rows(lab, guest)[NVME]["priority"] == LOW, "GB 1 is out", TIMEOUT)
    assert rows(lab, guest)[NVME]["available"] == TELLING_GB - 2

    # About to fail, while smartd runs.
    say(guest, 0)
    start_smartd(guest)
    say(guest, UNRELIABLE)
    guest.run("pkill -USR1 smartd")
    observe.wait(lambda: rows(lab, guest)[NVME]["priority"] == FAULTY, "it failed", TIMEOUT)
    assert rows(lab, guest)[ATA]["priority"] == observe.HIGH
