"""vastsky-node: the agents, their units, the command by which a machine joins."""

from pathlib import Path

from deploy.packages.debian import ROOT, Package, put, put_tree, put_units

SMARTD = "etc/smartmontools/run.d/50vastsky"
"""Debian's smartd runs what is in that folder, under names without dots, for each warning."""


def _lay_out(tree: Path) -> None:
    put_tree(ROOT / "agents", tree / "usr/lib/vastsky/node/agents")
    put(NODE.folder / NODE.name, tree / "usr/bin" / NODE.name, 0o755)
    put(NODE.folder / "smartd-warning", tree / SMARTD, 0o755)
    put_units(NODE.folder, tree)
    put_tree(NODE.folder / "examples", tree / "usr/share/doc" / NODE.name / "examples")


NODE = Package("vastsky-node", "node", _lay_out, pages=("join.md", "disks.md", "settings.md"))
