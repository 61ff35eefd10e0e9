"""A private PostgreSQL for one test run: on a unix socket, its data thrown away afterwards."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

START_SECONDS = 30
HASTE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")
"""Settings of a database whose data nobody will miss."""


def binaries() -> Path | None:
    """Find the newest installed server's folder of binaries (Debian keeps it off PATH)."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    usable = [folder for folder in folders if (folder / "postgres").exists()]
    return usable[-1] if usable else None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a new cluster of databases; its DATABASE_URL."""
    with PostgreSQL(folder) as running:
        yield running.url


class PostgreSQL:
    """A new cluster of databases that runs in a `with`, and can be restarted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Directly under /tmp, whatever TMPDIR says: the path of a socket is short.
        self._home = Path(tempfile.mkdtemp(prefix="vastsky-pg-", dir="/tmp"))
        self._user = _unprivileged()
        self._running = ExitStack()
        self.url = f"postgres://vastsky@/postgres?host={self._home}"

    def __enter__(self) -> Self:
        try:
            if self._user:
                os.chown(self._home, self._user["user"], self._user["group"])
            _initialise(self._folder, self._home, self._user)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        self._running.enter_context(_running(self._folder, self._home, self._user))

    def stop(self) -> None:
        self._running.close()

    def restart(self, away: float = 0.0) -> None:
        """Stop it, and start it again after so many seconds."""
        self.stop()
        time.sleep(away)
        self.start()


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: say who else may."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _initialise(folder: Path, home: Path, user: dict[str, Any]) -> None:
    options = ["--username=vastsky", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run(
        [str(folder / "initdb"), *options, str(home / "data")],
        cwd=home,
        stdout=subprocess.DEVNULL,
        check=True,
        **user,
    )


@contextmanager
def _running(folder: Path, home: Path, user: dict[str, Any]) -> Iterator[None]:
    settings = [word for item in HASTE for word in ("-c", item)]
    place = ["-D", str(home / "data"), "-k", str(home), "-c", "listen_addresses="]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(folder / "postgres"), *place, *settings],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **user,
        )
    try:
        _wait(folder, home, process)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # its "fast" shutdown
        process.wait(30)


def _wait(folder: Path, home: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    ask = [str(folder / "pg_isready"), "--quiet", "--host", str(home)]
    while subprocess.run(ask, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"PostgreSQL did not start:\n{(home / 'log').read_text()}")
        time.sleep(0.1)
