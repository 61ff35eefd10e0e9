"""`make test`: what uses a database on SQLite and on PostgreSQL, and beside it the rest once.

PostgreSQL and Redis come from Debian's packages where we may install them. Words given in PYTEST
go to pytest; DATABASES=sqlite leaves PostgreSQL out. Up to three tests of a run that fail are tried
once more, by themselves, and named whatever comes of it: four runs on two processors starve what
measures time, and the next to read a failure has to know whether it was that.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy import postgres
from deploy.local import broker
from deploy.local.place import Unusable

ROOT = Path(__file__).resolve().parent.parent
WAITING = ("tests/cluster", "tests/upgrade")
"""They run whole clusters, and mostly wait for these to notice something."""
ONCE = (
    "tests/agents",
    "tests/engine",
    "tests/client",
    "tests/packages",
    "tests/planted",
    "tests/thrash",
    "tests/access/test_managers_count_together.py",
    "tests/access/test_methods_by_role_and_way_in.py",
    "tests/contract/test_database_outages.py",
    "tests/contract/test_rpc_served.py",
    "tests/contract/test_settings.py",
    "tests/console/test_by_keyboard_alone.py",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/*/test_*_in_a_browser.py"))),
)
"""They use no database, one of their own, or it is not the database that they are about."""


WISHES = {
    "chromium": "chromium",
    "fish": "fish",
    "gcc": "gcc",
    "iproute2": "ip",
    "libc6-dev": "gencat",
    "openssl": "openssl",
    "prometheus": "promtool",
    "qemu-utils": "qemu-img",
    "systemd": "systemd-analyze",
    "zsh": "zsh",
}
"""Packages, by a program of theirs, or of one they need, without which some tests are skipped."""


def main() -> int:
    """Run clusters, and nodes, beside the databases, which take turns; the worst status."""
    wanted = os.environ.get("DATABASES", "sqlite postgresql").split()
    _see_to_packages(wanted)
    ignored = [f"--ignore={path}" for path in ONCE + WAITING]
    statuses = []
    with (
        _Run("clusters", "", list(WAITING)) as clusters,
        _Run("nodes, engines and browsers", "", list(ONCE)) as once,
    ):
        if "sqlite" in wanted:
            with _Run("SQLite", "", ignored) as run:
                statuses.append(run.finish())
        if "postgresql" in wanted and (folder := postgres.binaries()):
            with postgres.server(folder) as url, _Run("PostgreSQL", url, ignored) as run:
                statuses.append(run.finish())
        statuses += [once.finish(), clusters.finish()]
    return max(statuses)


TESTS_FAILED = 1
"""What pytest ends with where all tests ran, and some failed."""
FEW = 3
"""More failures than these are no accident."""


class _Run:
    """One pytest under way; what it says is kept until it is its turn to be shown."""

    def __init__(self, name: str, url: str, options: list[str]) -> None:
        self._name = name
        self._home = tempfile.TemporaryDirectory(prefix="vastsky-test-")
        self._output = Path(self._home.name) / "pytest.out"
        self._cache = Path(self._home.name) / "pytest.cache"
        self._environment = {**os.environ, "DATABASE_URL": url, "VASTSKY_HOME": self._home.name}
        self._process = self._start(options)

    def finish(self) -> int:
        """Wait for the end, then show it all; the status."""
        status = self._process.wait()
        print(f"Tests: {self._name}", flush=True)
        print(self._output.read_text(errors="replace"), flush=True)
        failed = self._failed()
        if status != TESTS_FAILED or not 0 < len(failed) <= FEW:
            return status
        self._process = self._start(failed)
        status = self._process.wait()
        if status:
            print(self._output.read_text(errors="replace"), flush=True)
        outcome = "fails again" if status else "passes by itself"
        print(f"{outcome}: {' '.join(failed)}", flush=True)
        return status

    def _start(self, options: list[str]) -> subprocess.Popen[bytes]:
        words = shlex.split(os.environ.get("PYTEST", "--quiet -rs"))
        cache = ["-o", f"cache_dir={self._cache}"]
        with self._output.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", *words, *cache, *options],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _failed(self) -> list[str]:
        """List the tests that failed, as pytest noted them for its --last-failed."""
        noted = self._cache / "v" / "cache" / "lastfailed"
        return list(json.loads(noted.read_text())) if noted.exists() else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, if we were asked to end before it did."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        self._home.cleanup()


def _see_to_packages(wanted: list[str]) -> None:
    """Install the Debian packages that are missing, if we may; else say what to type."""
    missing = ["postgresql"] if "postgresql" in wanted and not postgres.binaries() else []
    try:
        broker.server_binary()
    except Unusable:
        missing.append("redis-server")
    wishes = [package for package, program in WISHES.items() if not shutil.which(program)]
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
        print(f"Without Debian's {' and '.join(wishes)} some tests are skipped.", flush=True)


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
