"""Packages and machines for tests that take minutes; only `make try-packages` collects them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import machines

ROOT = Path(__file__).parents[3]
NAMES = ("vastsky-manager", "vastsky-node", "vastsky-client")

collect_ignore_glob = [] if os.environ.get("TRY_PACKAGES") else ["test_*.py"]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build all packages, as `make deb` does."""
    if why := machines.why_not():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("debs")
    command = [sys.executable, "deploy/packages/build.py", ",".join(NAMES), str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=600)
    return sorted(folder.glob("*.deb"))


@pytest.fixture(scope="session")
def base(packages: list[Path]) -> Path:
    """The root that all machines start from; the packages lie in /root."""
    return machines.root(packages)
