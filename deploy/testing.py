"""`make test`: everything on SQLite, then what uses a database once more on PostgreSQL.

PostgreSQL and Redis come from Debian's packages where we may install them. Words given in PYTEST
go to pytest; DATABASES=sqlite leaves PostgreSQL out.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from deploy import postgres
from deploy.local import broker
from deploy.local.place import Unusable

ROOT = Path(__file__).resolve().parent.parent
ONCE = ("tests/agents", "tests/engine", "tests/cluster")
"""They use no database, or one of their own."""


def main() -> int:
    """Run the tests on each database; the first failure's status."""
    wanted = os.environ.get("DATABASES", "sqlite postgresql").split()
    _see_to_packages(wanted)
    statuses = [_run("SQLite", {"DATABASE_URL": ""}, [])] if "sqlite" in wanted else []
    if "postgresql" in wanted and (folder := postgres.binaries()):
        ignored = [f"--ignore={folder}" for folder in ONCE]
        with postgres.server(folder) as url:
            statuses.append(_run("PostgreSQL", {"DATABASE_URL": url}, ignored))
    return max(statuses, default=1)


def _run(database: str, environment: dict[str, str], options: list[str]) -> int:
    print(f"Tests on {database}", flush=True)
    words = shlex.split(os.environ.get("PYTEST", "--quiet"))
    command = [sys.executable, "-m", "pytest", *words, *options]
    inherited = {k: v for k, v in os.environ.items() if k not in ("VASTSKY_HOME", "PORT")}
    return subprocess.run(command, cwd=ROOT, env=inherited | environment, check=False).returncode


def _see_to_packages(wanted: list[str]) -> None:
    """Install the Debian packages that are missing, if we may; else say what to type."""
    missing = ["postgresql"] if "postgresql" in wanted and not postgres.binaries() else []
    try:
        broker.server_binary()
    except Unusable:
        missing.append("redis-server")
    wishes = [] if Path("/usr/bin/chromium").exists() else ["chromium"]
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    may = not sudo or bool(shutil.which("sudo") and not _status([*sudo, "true"]))
    if may and shutil.which("apt-get"):
        _install(missing + wishes, sudo)
    elif missing:
        names = " ".join(missing)
        sys.exit(
            f"The tests need {names}, and this user may not install packages. Either install them"
            f" (Debian: sudo apt-get install {names}) or test on SQLite alone: make test"
            " DATABASES=sqlite"
        )
    elif wishes:
        print("Without Debian's chromium the console is not tested in a browser.", flush=True)


def _install(packages: list[str], sudo: list[str]) -> None:
    if not packages:
        return
    names = " ".join(packages)
    print(f"Installing {names} ...", flush=True)
    options = ["--yes", "--quiet", "--no-install-recommends"]
    quietly = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if _status([*quietly, "update"]) or _status([*quietly, "install", *options, *packages]):
        sys.exit(f"apt-get could not install {names}")


def _status(command: list[str]) -> int:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
