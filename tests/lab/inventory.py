"""What the guests have: devices, links, processes, connections, exports, to compare two moments."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agents.client import StorageAgent
from agents.identity import Identity
from tests.lab.cluster import VirtualLab
from tests.lab.guest import Guest

COLLECT = r"""
ls /dev/vas 2>/dev/null | sed 's/^/link /'
grep -v -x 0 /sys/block/*/size | sed 's/^/device /'
sed 's/^/map /' /sys/block/dm-*/dm/name 2>/dev/null
sed -n 's,^\([^ ]*\) \(/mnt[^ ]*\) .*,mount \1 \2,p' /proc/mounts
grep -Ls '"ended": *true' /var/lib/vastsky/state/groups/*/group.json | sed 's/^/group /'
ls /run/vastsky 2>/dev/null | grep -v '^heads$\|fork' | sed 's/^/run /'
ps -eo comm= | grep '^vas-\|^nbd' | sed 's/^/process /'
cat /sys/class/iscsi_session/session*/targetname 2>/dev/null | sed 's/^/session /'
ls -d /sys/kernel/config/target/iscsi/iqn* /etc/iscsi/nodes/* /etc/iscsi/ifaces/* 2>/dev/null
ls /var/lib/vastsky/state/kernel 2>/dev/null | sed 's/^/group /'
ss -Htn state established '( dport = :8884 )' | sed 's/.*/connection/'
"""
STORAGE_PORT = 8883


@dataclass(frozen=True, slots=True)
class Inventory:
    """What each guest has, in lines; equal where nothing came and nothing went."""

    guests: tuple[tuple[str, tuple[str, ...]], ...]

    def __sub__(self, before: "Inventory") -> list[str]:
        """Tell what is there now and was not before."""
        earlier = dict(before.guests)
        return [
            f"{name}: {line}"
            for name, lines in self.guests
            for line in lines
            if line not in earlier[name]
        ]


def take(lab: VirtualLab) -> Inventory:
    """Look at all guests at once."""
    with ThreadPoolExecutor(len(lab.guests)) as pool:
        found = pool.map(lambda guest: (guest.name, _of(guest, lab.identity)), lab.guests.values())
        return Inventory(tuple(found))


def _of(guest: Guest, identity: Identity) -> tuple[str, ...]:
    lines = guest.run(COLLECT).splitlines()
    if guest.machine.role == "storage":
        addresses = guest.machine.addresses
        agent = StorageAgent(addresses, STORAGE_PORT, identity=identity, timeout=30)
        lines += [f"export {export.dextid}" for export in agent.state().exports]
    return tuple(sorted(lines))
