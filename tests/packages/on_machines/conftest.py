"""Packages and machines for tests that take minutes; only `make try-packages` collects them."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.packages import machines

ROOT = Path(__file__).parents[3]
NAMES = ("vastsky-manager", "vastsky-node", "vastsky-client")
OLDER = "f9b5a35"
"""A commit whose packages are upgraded: three migrations ago, of the same page of installation."""
OLDER_NUMBER = "5.0.9"
QUICKLY = {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
"""xz takes minutes of a busy machine's processors; what is packed is the same."""

collect_ignore_glob = [] if os.environ.get("TRY_PACKAGES") else ["test_*.py"]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build all packages, as `make deb` does."""
    if why := machines.why_not():
        pytest.exit(f"`make try-packages` {why}", returncode=1)
    return _build(ROOT, tmp_path_factory.mktemp("debs"))


@pytest.fixture(scope="session")
def older_packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build the packages of an older commit, by its own code, under a number that is older."""
    git = ["git", "-C", str(ROOT)]
    if subprocess.run([*git, "cat-file", "-e", f"{OLDER}^{{commit}}"], check=False).returncode:
        pytest.skip(f"this clone has no commit {OLDER}: an upgrade needs the whole history")
    packed = subprocess.run([*git, "archive", OLDER], stdout=subprocess.PIPE, check=True).stdout
    tree = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")
    (tree / "agents/version.py").write_text(f'"""The number."""\n\nVERSION = "{OLDER_NUMBER}"\n')
    return _build(tree, tmp_path_factory.mktemp("older-debs"))


@pytest.fixture(scope="session")
def base(packages: list[Path]) -> Path:
    """The root that all machines start from; the packages lie in /root."""
    return machines.root(packages)


def _build(tree: Path, folder: Path) -> list[Path]:
    command = [sys.executable, "deploy/packages/build.py", ",".join(NAMES), str(folder)]
    environment = os.environ | QUICKLY
    subprocess.run(
        command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=600
    )
    return sorted(folder.glob("*.deb"))
