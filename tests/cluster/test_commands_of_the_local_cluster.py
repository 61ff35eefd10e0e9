"""The commands around a running cluster, as make calls them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from deploy.local import processes
from deploy.local.calls import Calls
from deploy.local.place import ROOT, choose
from tests.cluster.conftest import free_port


def test_power_on_of_a_node_that_runs_says_so_and_starts_nothing(tmp_path: Path) -> None:
    place = choose(str(tmp_path), str(free_port()))
    node = place.node("storage-2")

    try:
        with socket.create_server((node.addresses[0], node.port)):
            done = _command("power-on", "storage-2", home=place.home, port=place.port)
    finally:
        processes.end(partial(processes.marked, place.home), patience=5)

    assert (done.returncode, done.stdout) == (0, "storage-2 runs already\n")
    assert not place.log("storage-2").exists()


def test_a_volume_can_be_made_as_soon_as_a_fresh_cluster_is_ready_and_a_later_start_is_quick(
    tmp_path: Path,
) -> None:
    home, port = tmp_path, free_port()
    call = Calls(f"http://127.0.0.1:{port}/RPC2")

    assert _ready(home, port, lambda: call("createLogicalVolume", lvolname="db", capacity=20)) < 60
    assert _ready(home, port, lambda: call("listLogicalVolumes")) < 8


def _ready(home: Path, port: int, use: Callable[[], Any]) -> float:
    """Start all, use it at the very line that says READY, stop; the seconds that this line took."""
    began = time.monotonic()
    environment = {**os.environ, "VASTSKY_HOME": str(home), "PORT": str(port), "DATABASE_URL": ""}
    run = subprocess.Popen(
        [sys.executable, "-m", "deploy.local", "run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout
        assert any(line.startswith("READY") for line in run.stdout)
        seconds = time.monotonic() - began
        use()
    finally:
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=30)
    return seconds


def _command(*words: str, home: Path, port: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VASTSKY_HOME": str(home), "PORT": str(port)}
    return subprocess.run(
        [sys.executable, "-m", "deploy.local", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
