"""The lab's networks: three switches, a cable from each to every machine, and pulling them.

They are made in the network namespace of the calling process, which has no way out.
"""

import subprocess

from tests.lab.place import MACHINES, MANAGER, NETWORKS, GuestSpec, address

LONG = 24
PROTECT = (
    "net.ipv4.conf.all.arp_ignore=1",
    "net.ipv4.conf.all.arp_announce=2",
    "net.ipv6.conf.all.disable_ipv6=1",
    "net.ipv6.conf.default.disable_ipv6=1",
)
"""Each network stays on its own wires, and nobody asks the others for anything."""


def lay_cables() -> None:
    """Make the switches, the manager's cables and addresses, and a tap for each guest's card."""
    for setting in PROTECT:
        name, _, value = setting.partition("=")
        with open("/proc/sys/" + name.replace(".", "/"), "w") as file:  # noqa: PTH123
            file.write(value)
    lines = ["link set lo up"]
    for place, network in enumerate(NETWORKS):
        lines += [
            f"link add {network} type bridge stp_state 0 forward_delay 0",
            f"link set {network} up",
            f"link add {_port('manager', place)} type veth peer name manager{place}",
            f"link set {_port('manager', place)} master {network} up",
            f"address add {address(place, MANAGER)}/{LONG} dev manager{place}",
            f"link set manager{place} up",
        ]
        for machine in MACHINES:
            lines += [
                f"tuntap add {_port(machine.name, place)} mode tap",
                f"link set {_port(machine.name, place)} master {network} up",
            ]
    # The lab's own addresses are on the first network, too, but are nobody's in the cluster.
    lines += [
        f"address add {GuestSpec('manager', MANAGER).control}/{LONG} dev manager0",
    ]
    ip(*lines)


def ip(*lines: str) -> None:
    """Tell the kernel something about its networks, all of it in one process."""
    done = subprocess.run(
        ["ip", "-batch", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if done.returncode:
        raise OSError(f"ip: {done.stderr.strip()}")


def cut(name: str, *networks: str) -> None:
    """Pull a machine's cables; neither end is told. `manager` is a machine, too."""
    ip(*(f"link set {_port(name, NETWORKS.index(network))} nomaster" for network in networks))


def heal(name: str, *networks: str) -> None:
    """Plug a machine's cables in again."""
    ip(*(f"link set {_port(name, NETWORKS.index(n))} master {n}" for n in networks))


def hide(machine: GuestSpec) -> None:
    """Let the manager and a machine hear no more of each other; the machines still do."""
    ip(*(f"route add blackhole {one}/32" for one in _known(machine)))


def show(machine: GuestSpec) -> None:
    """Undo `hide`."""
    ip(*(f"route del blackhole {one}/32" for one in _known(machine)))


def tap(machine: GuestSpec, place: int) -> str:
    """Name the end of a cable that a guest's card is plugged into."""
    return _port(machine.name, place)


def _known(machine: GuestSpec) -> list[str]:
    return [address(place, machine.number) for place, _ in enumerate(NETWORKS)]


def _port(name: str, place: int) -> str:
    return f"{name}.{place}"
