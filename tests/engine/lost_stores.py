"""A snapshot whose store can be lost, and what can be done to it."""

import errno
import json
import os
import signal
import threading
from contextlib import AbstractContextManager, nullcontext

from agents.protocol import DeviceState, ReplicaReport
from deploy.local.nbd import NbdClient, NbdError
from tests.engine.conftest import MakeLab
from tests.engine.lab import TIMEOUT, VOLUME, Lab, wait_until

OLD, NEW = b"old." * 1024, b"new." * 1024
STORE_TIMEOUT = 3 * TIMEOUT
"""For how long an origin waits for a store."""


def with_snapshot(make_lab: MakeLab) -> Lab:
    """An origin on servers 0 and 1, written, and then a snapshot whose store is on 2 and 3."""
    lab = make_lab(servers=4)
    lab.attach(servers=(0, 1))
    with NbdClient(lab.device) as client:
        client.write(0, OLD)
    lab.head.snapshot(VOLUME, lab.store_spec(servers=(2, 3)))
    return lab


def lose_store(lab: Lab) -> None:
    """Kill the store's servers, then the head's process, as one power cut does."""
    os.kill(lab.head_pid, signal.SIGSTOP)
    for server in (2, 3):
        lab.stores[server].kill()
    kill_head(lab)


def kill_head(lab: Lab) -> None:
    os.kill(lab.head_pid, signal.SIGKILL)
    wait_until(lambda: not lab.head.groups()[0].alive)


def bring_store_back(lab: Lab) -> None:
    for server in (2, 3):
        lab.stores[server].restart()
    lab.store_spec(servers=(2, 3))


def record(lab: Lab) -> dict[int, dict[str, object]]:
    """Read the devices that the group's state file names."""
    path = lab.folder / "h" / "groups" / f"{VOLUME:08x}" / "group.json"
    return {device["lvolid"]: device for device in json.loads(path.read_text())["devices"]}


def told(lab: Lab) -> dict[int, DeviceState]:
    (group,) = lab.head.groups()
    return {device.lvolid: device for device in group.devices}


def read_snapshot(lab: Lab) -> bytes:
    with NbdClient(lab.snapshot_device) as client:
        return client.read(0, len(OLD))


def cannot_be_read(lab: Lab) -> bool:
    try:
        read_snapshot(lab)
    except NbdError as refused:
        return refused.errno == errno.EIO
    return False


def write_in_background(
    lab: Lab, data: bytes, unless: AbstractContextManager[None] | None = None
) -> threading.Thread:
    def write() -> None:
        with unless or nullcontext(), NbdClient(lab.device) as client:
            client.write(0, data)

    writing = threading.Thread(target=write)
    writing.start()
    return writing


def detach(lab: Lab) -> tuple[ReplicaReport, ...]:
    wait_until(lambda: not any(device.clients for device in told(lab).values()))
    return lab.head.detach(VOLUME)
