"""A head process that answers no more: it is told from its files, ended after a while, revived."""

import errno
import os
import signal
import time
from typing import Any

import pytest

from agents.engines.base import EngineError
from agents.engines.userspace.head.group_device import GroupDevice
from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.engines.userspace.head.state_file import saved_device
from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.live_replica import INSYNC, LiveReplica
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.mirror.write_intent import WriteIntentBitmap
from agents.engines.userspace.nbd.client_connection import LOST
from agents.engines.userspace.process import control, dialogue
from agents.ondisk import GB
from agents.protocol import DeviceSpec, MirrorSpec
from deploy.local.nbd import NbdClient
from tests.engine.conftest import MakeFolder, MakeLab
from tests.engine.lab import TIMEOUT, VOLUME, wait_until

AT_ONCE = 300


def test_a_process_that_hangs_is_ended_and_revived(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, b"x" * 4096)
    agent = UserspaceHead(*lab.head_folders, replica_timeout=TIMEOUT, hung_seconds=3)
    assert agent.groups()[0].alive
    pid = lab.head_pid
    os.kill(pid, signal.SIGSTOP)

    wait_until(lambda: not agent.groups()[0].alive)
    agent.revive(VOLUME)

    assert lab.head_pid != pid
    with NbdClient(lab.device) as client:
        assert client.read(0, 4096) == b"x" * 4096


def test_a_process_that_is_back_in_time_goes_on(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    agent = UserspaceHead(*lab.head_folders, replica_timeout=TIMEOUT, hung_seconds=4)
    pid = lab.head_pid
    for _ in range(3):
        os.kill(pid, signal.SIGSTOP)
        agent.groups()
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.2)
        assert agent.groups()[0].alive

    assert lab.head_pid == pid


def test_a_process_whom_too_many_ask_already_is_one_that_does_not_answer(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    path = str(lab.folder / "h" / f"h{VOLUME:08x}.ctl")
    os.kill(lab.head_pid, signal.SIGSTOP)
    started = time.monotonic()
    for _ in range(AT_ONCE):
        with pytest.raises(EngineError) as refused:
            control.ask(path, dialogue.TellState(), dialogue.GroupReply, "it", 0.001)
        assert refused.value.errno == errno.ETIMEDOUT

    assert time.monotonic() - started < 30
    assert [group.alive for group in lab.head.groups()] == [True]
    os.kill(lab.head_pid, signal.SIGCONT)


class Owner:
    """As much of a group as a mirror needs that is being parted from."""

    epoch = 1
    timeout = storage_wait = 1.0

    def save(self) -> Future:
        saved = Future()
        saved()
        return saved

    def log(self, text: str) -> None:
        del text


class Silent:
    """A connection whose server answers nothing any more."""

    closed = False

    def __init__(self) -> None:
        self.pending: list[Any] = []

    def submit(self, *request: Any) -> None:
        self.pending.append(request[-1])

    def goodbye(self) -> None:
        for done in self.pending:
            done(LOST, None)


@pytest.mark.parametrize("work", ["flush", "mark"])
def test_what_is_under_way_when_a_group_ends_is_not_tried_for_ever(
    make_folder: MakeFolder, work: str
) -> None:
    bitmap = WriteIntentBitmap(str(make_folder() / "intent"), GB, 1, "boot")
    mirror = LiveMirror(Owner(), 100, GB, 0, bitmap.part(0, GB))  # type: ignore[arg-type]
    mirror.replicas = [LiveReplica(dextid, (), 1, "x", INSYNC) for dextid in (1, 2)]
    for replica in mirror.replicas:
        replica.connection = Silent()  # type: ignore[assignment]
    mirror.refresh()
    device = GroupDevice(
        saved_device(DeviceSpec(1, ("v",), 1, (MirrorSpec(100, 1, 0, dirty=False, replicas=()),)))
    )
    device.volume, device.joined = Volume(1, [mirror]), True
    task = LoopTask(mirror.flush_replicas() if work == "flush" else mirror.mark(clean=True))
    ended: list[bool] = []
    task.when_ended(lambda: ended.append(True))

    device.part()

    assert ended == [True]
