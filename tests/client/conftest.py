"""The real commands as processes of their own, against a manager that listens on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

VAS = Path(__file__).resolve().parents[2] / "client" / "vas"
VASTSKY = VAS.with_name("vastsky")
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def run_command(*words: str, url: str) -> Done:
    environment = {**os.environ, "VAS_URL": url}
    return subprocess.run(
        [sys.executable, str(VAS), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def run(live_server: LiveServer) -> Run:
    """Run a command; how it ended."""

    def command(*words: str) -> Done:
        return run_command(*words, url=f"{live_server.url}/RPC2")

    return command


@pytest.fixture
def vas(run: Run) -> Callable[..., list[str]]:
    """Run a command that must succeed in silence on stderr; its lines."""

    def command(*words: str) -> list[str]:
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return command


def run_vastsky(*words: str, managers: str, **more: str) -> Done:
    """Run the command `vastsky` with a home of nobody; how it ended."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "VASTSKY_MANAGERS": managers,
        **more,
    }
    return subprocess.run(
        [sys.executable, str(VASTSKY), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def vastsky(live_server: LiveServer) -> Run:
    """Run the command `vastsky` against a manager; how it ended."""

    def command(*words: str, **more: str) -> Done:
        return run_vastsky(*words, **{"managers": live_server.url, **more})

    return command


@pytest.fixture
def told(vastsky: Run) -> Callable[..., Any]:
    """Run `vastsky` so that it must succeed; its answer, read from `--json`."""

    def command(*words: str) -> Any:
        done = vastsky(*words, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return command


class Impostor(HTTPServer):
    """A web server that answers everything alike and remembers who came."""

    status = 200
    body = b""
    hangs_up = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}/RPC2"
        self.credentials: list[str | None] = []
        self.bodies: list[bytes] = []


class Answer(BaseHTTPRequestHandler):
    server: Impostor

    def do_POST(self) -> None:
        self.server.credentials.append(self.headers["Authorization"])
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.hangs_up:
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    with Impostor() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
