"""The commands around a running cluster, as make calls them."""

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

from deploy.local import processes
from deploy.local.place import ROOT, choose
from deploy.local.rpc_calls import RpcCalls
from tests.cluster.conftest import free_port


def test_power_on_of_a_node_that_runs_says_so_and_starts_nothing(tmp_path: Path) -> None:
    place = choose(str(tmp_path), str(free_port()))
    node = place.node("storage-2")

    try:
        with socket.create_server((node.addresses[0], node.port)):
            done = _command("power-on", "storage-2", home=place.home, port=place.port)
    finally:
        processes.end(partial(processes.marked, place.home), grace=5)

    assert (done.returncode, done.stdout) == (0, "storage-2 runs already\n")
    assert not place.log("storage-2").exists()


def test_a_volume_can_be_made_as_soon_as_a_fresh_cluster_is_ready(tmp_path: Path) -> None:
    port = free_port()
    call = RpcCalls(f"http://127.0.0.1:{port}/RPC2")
    environment = {**os.environ, "VASTSKY_HOME": str(tmp_path), "PORT": str(port)}
    run = subprocess.Popen(
        [sys.executable, "-m", "deploy.local", "run"],
        cwd=ROOT,
        env=environment | {"DATABASE_URL": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout
        assert any(line.startswith("READY") for line in run.stdout)
        assert call("createLogicalVolume", lvolname="db", capacity=20)
    finally:
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=30)


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
