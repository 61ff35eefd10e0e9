"""head.toml and storage.toml as examples: every key, what it means, and its default.

`python -m vastsky_site.node_examples deploy/packages/node/examples` writes them for the package.
"""

import sys
import textwrap
from dataclasses import fields
from pathlib import Path

from agents.node.config import HeadConfig, StorageConfig
from vastsky_site import node_settings
from vastsky_site.node_settings import BOTH, DISK, HEAD, STORAGE

WIDTH = 88
BEGINNING = """\
# The settings of a {role} agent, all keys. `vastsky-node join` writes a file like this.
# A line that begins with # and a key shows the default.
"""
OWN = {"head": HEAD, "storage": STORAGE}
PORTS = {
    role: next(one.default for one in fields(config) if one.name == "port")
    for role, config in (("head", HeadConfig), ("storage", StorageConfig))
}
DISKS = "disks"
"""A key whose value is a block of its own for each disk."""
FILLED = {
    "manager": '"https://10.1.0.1:8881/RPC2"',
    "addresses": '["10.1.0.11", "10.2.0.11"]',
    "state_dir": '"/var/lib/vastsky/{role}"',
    "run_dir": '"/run/vastsky/{role}"',
    "token_name": '"node-1"',
    "token_file": '"/etc/vastsky/token"',
    "tls_certificate": '"/etc/vastsky/node.pem"',
    "tls_key": '"/etc/vastsky/node.key"',
    "tls_authority": '"/etc/vastsky/authority.pem"',
    "path": '"/dev/disk/by-id/..."',
}
"""What has no default, or what nobody leaves at it: as `vastsky-node join` writes it."""


def example(role: str) -> str:
    """Write the settings of a "head" or "storage" agent with all keys there are."""
    parts = [BEGINNING.format(role=role)]
    for kind in (BOTH, OWN[role]):
        parts += [_entry(kind, *row, role) for row in node_settings.rows(kind) if row[0] != DISKS]
    if role == "storage":
        parts.append(f"# {node_settings.MEANINGS[STORAGE][DISKS]} One block for each.\n[[disks]]\n")
        parts += [_entry(DISK, *row, role) for row in node_settings.rows(DISK)]
    return "\n".join(parts)


def _entry(kind: str, name: str, default: str, meaning: str, role: str) -> str:
    lines = textwrap.wrap(f"{meaning} ({node_settings.kind_of(kind, name)})", WIDTH)
    if name in FILLED:
        line = f"{name} = {FILLED[name].format(role=role)}"
    else:
        line = f"#{name} = {PORTS[role] if name == 'port' else default}"
    return "".join(f"# {text}\n" for text in lines) + f"{line}\n"


if __name__ == "__main__":
    for one in OWN:
        (Path(sys.argv[1]) / f"{one}.toml").write_text(example(one))
