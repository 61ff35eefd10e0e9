"""A manager of a test's own: its web server as a process, in a folder and on a port of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class OwnManager:
    """Where a manager lives, and what is done to it. Several may share a database."""

    def __init__(self, home: Path, database: str) -> None:
        self._home = home
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._environment = {
            **{name: value for name, value in os.environ.items() if "VASTSKY" not in name},
            "VASTSKY_HOME": str(home),
            "VASTSKY_SECRET_KEY": "the same for all who share a database, 0123456789-0123456789",
            "DATABASE_URL": database,
        }

    def manage(self, *words: str) -> str:
        """Run `manage.py`; what it says."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self._environment,
            check=True,
            timeout=120,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    @contextmanager
    def serving(self, *options: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Let the web server run; it may be killed meanwhile."""
        with (self._home / "log").open("w") as log:
            web = subprocess.Popen(
                [sys.executable, "-m", "vastsky_site.serve", "--port", str(self.port), *options],
                cwd=ROOT,
                env={**self._environment, **settings},
                stdout=log,
                stderr=log,
            )
            try:
                self._wait_until_up(web)
                yield web
            finally:
                web.send_signal(signal.SIGTERM)
                web.wait(timeout=20)

    def _wait_until_up(self, web: subprocess.Popen[bytes]) -> None:
        for _ in range(600):
            assert web.poll() is None
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the web server did not come up")
