"""vastsky-client: the command vastsky, the 13 of 2010, and the Python client."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from deploy.packages import pinned
from deploy.packages.debian import ROOT, Package, put, put_tree

OWN = "usr/lib/vastsky/client"
PYTHON_CLIENT = "usr/lib/python3/dist-packages/vastsky_client"
TABLES = "rich=="
"""What the command vastsky draws tables with; the Python client needs nothing but Python."""
COMPLETIONS = {
    "BASH": "bash-completion/completions/vastsky",
    "ZSH": "zsh/vendor-completions/_vastsky",
    "FISH": "fish/vendor_completions.d/vastsky.fish",
}


def _lay_out(tree: Path) -> None:
    put_tree(ROOT / "client/vastsky_client", tree / PYTHON_CLIENT)
    (tree / PYTHON_CLIENT / "install.py").unlink()
    pinned.fill(tree / OWN, [line for line in pinned.requirements() if line.startswith(TABLES)])
    for name in ("vastsky", "vas"):
        put(CLIENT.folder / name, tree / "usr/bin" / name, 0o755)
    for command in _commands():
        (tree / "usr/bin" / command).symlink_to("vas")
    for name, place in COMPLETIONS.items():
        path = tree / "usr/share" / place
        path.parent.mkdir(parents=True)
        path.write_text(_completion(tree, name))


def _commands() -> list[str]:
    """Name the 13 commands, which are one program under many names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    scripts = project["scripts"]
    return [name for name, run in scripts.items() if run == scripts["vas"] and name != "vas"]


def _completion(tree: Path, name: str) -> str:
    path = os.pathsep.join(str(tree / part) for part in (OWN, Path(PYTHON_CLIENT).parent))
    program = f"from vastsky_client.command.shells import {name}; print({name}, end='')"
    command = [sys.executable, "-B", "-c", program]
    return subprocess.run(
        command, env={"PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


CLIENT = Package("vastsky-client", "client", _lay_out, pages=("vastsky.md", "commands.md"))
