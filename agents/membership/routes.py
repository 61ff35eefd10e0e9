"""Which networks of this machine its addresses are in: by the kernel's routes, not by a guess."""

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

ROUTES = Path("/proc/net/route")
DIRECT = "00000000"


def networks_of(addresses: Iterable[str], routes: Path = ROUTES) -> set[IPv4Network]:
    """Give the network of each address; one without a route of its own is a network by itself."""
    reached = _reached_directly(routes)
    return {_smallest(IPv4Address(address), reached) for address in addresses}


def _smallest(address: IPv4Address, networks: list[IPv4Network]) -> IPv4Network:
    around = [network for network in networks if address in network]
    return max(around, key=lambda network: network.prefixlen, default=IPv4Network(address))


def _reached_directly(routes: Path) -> list[IPv4Network]:
    try:
        lines = routes.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [
        IPv4Network(f"{_dotted(row[1])}/{_dotted(row[7])}")
        for row in rows
        if row[2] == DIRECT and row[7] != DIRECT
    ]


def _dotted(word: str) -> str:
    """Read an address as the kernel prints it: a number of this machine's byte order."""
    return socket.inet_ntoa(struct.pack("=L", int(word, 16)))
