"""Folders of pinned Python packages, which pip fills and which hold nothing that was not pinned."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

from deploy.packages.debian import ROOT, SOURCES

CONSTRAINTS = SOURCES / "manager" / "constraints.txt"
TARGET = "/usr/bin/python3"
"""The Python for which is installed: Debian's, as packages ask for its very version."""
PIP = (sys.executable, "-m", "pip", "--python", TARGET, "install", "--quiet", "--no-input")
PLAIN = ("--disable-pip-version-check", "--no-compile", "--only-binary", ":all:")


class Unpinned(Exception):
    """pip installed what nobody chose; the text names it."""


def fill(folder: Path, requirements: Iterable[str]) -> None:
    """Install requirements, and what they need in turn, exactly as the constraints say."""
    command = [*PIP, *PLAIN, "--target", str(folder), "--constraint", str(CONSTRAINTS)]
    subprocess.run([*command, *requirements], check=True)
    wrong = installed(folder) - pinned(CONSTRAINTS.read_text())
    if wrong:
        raise Unpinned(f"{CONSTRAINTS.relative_to(ROOT)} lacks {', '.join(sorted(wrong))}")
    # The programs of the packages name the Python that ran pip: nobody needs them.
    shutil.rmtree(folder / "bin", ignore_errors=True)


def requirements(leave_out: str = "-") -> list[str]:
    """Read what requirements.txt wants, but for one package."""
    text = (ROOT / "requirements.txt").read_text()
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(leave_out)]


def installed(folder: Path) -> set[str]:
    """Say what is in a folder, as pip would."""
    found = distributions(path=[str(folder)])
    return {f"{_plain(one.metadata['Name'])}=={one.version}" for one in found}


def pinned(text: str) -> set[str]:
    """Read a file of constraints."""
    lines = [line.strip().partition("==") for line in text.splitlines() if "==" in line]
    return {f"{_plain(name)}=={version}" for name, _, version in lines}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
