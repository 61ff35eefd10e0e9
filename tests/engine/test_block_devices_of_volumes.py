"""Volumes that are block devices: names, epochs, processes that are replaced, who uses them.

Engine, processes and storage are real; the kernel is played where this machine's has no nbd.
"""

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.engines.base import DeviceAccess, EngineError
from agents.engines.devices.device_head import DeviceHead
from agents.engines.devices.devices import Devices, Terms
from agents.engines.devices.links import Links
from agents.engines.devices.negotiate import negotiate
from agents.engines.devices.reconnector import Reconnector
from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.engines.userspace.nbd.messages import READ_ONLY
from agents.ondisk import GB
from deploy.local.nbd import NbdClient
from tests.engine.conftest import MakeLab
from tests.engine.fake_kernel import FakeKernel
from tests.engine.lab import VOLUME, Lab, wait_until

FIRST, SECOND = 1000, 1001
MakeHead = Callable[..., DeviceHead]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel(tmp_path)
    fake.install(monkeypatch)
    return fake


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return make_lab()


@pytest.fixture
def names(tmp_path: Path) -> Path:
    return tmp_path / "vas"


@pytest.fixture
def make_head(lab: Lab, kernel: FakeKernel, names: Path) -> MakeHead:
    """Make the head's agent's side anew, as an agent does that starts."""

    def make(
        *, timeout: float = 20, make_devices: bool = True, revives: bool = False
    ) -> DeviceHead:
        run_dir = lab.folder / "h"
        engine = UserspaceHead(run_dir, run_dir, run_dir / "sockets", replica_timeout=1.0)
        devices = Devices(run_dir, Terms(DeviceAccess(), 100))
        links = Links(run_dir, run_dir / "sockets", names)
        revive = engine.revive if revives else refuse
        reconnector = Reconnector(devices, timeout, revive)
        head = DeviceHead(engine, devices, links, reconnector, make_devices=make_devices)
        head.start()
        lab.head = head  # type: ignore[assignment]  # it is a HeadEngine, too
        return head

    return make


def reconnecting() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("reconnect")]


def refuse(lvolid: int) -> None:
    raise EngineError(errno.EAGAIN, f"group {lvolid} cannot be brought back just now")


@pytest.fixture
def head(make_head: MakeHead) -> DeviceHead:
    return make_head()


def kill_process(lab: Lab) -> None:
    """Kill the volume's process; it has let go of its files when this returns."""
    pid = lab.head_pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def node(kernel: FakeKernel, index: int = FIRST) -> str:
    return str(kernel.dev / f"nbd{index}")


def reads(kernel: FakeKernel, index: int = FIRST) -> bool:
    try:
        return kernel.read(index, 4096) == bytes(4096)
    except OSError:
        return False


def test_its_names_lead_to_a_device_of_its_size_and_epoch(
    head: DeviceHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    lab.attach(epoch=3)

    assert {link.name: str(link.readlink()) for link in names.iterdir()} == {
        "vol": node(kernel),
        f"lvol-{VOLUME:08x}": node(kernel),
    }
    (made,) = kernel.made
    assert made.size == GB
    assert made.backend.startswith("vastsky epoch 3 group lvol-00000007 device lvol-00000007")
    assert reads(kernel)
    assert (kernel.sys / f"nbd{FIRST}/queue/io_timeout").read_text() == "1000\n"


def test_a_detach_leaves_neither_device_nor_name(
    head: DeviceHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    lab.attach()

    head.detach(VOLUME)

    assert [*names.iterdir(), *kernel.sys.iterdir(), *head.groups()] == []


def test_a_snapshot_is_a_device_of_its_own_and_cannot_be_written(
    head: DeviceHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    lab.attach()

    head.snapshot(VOLUME, lab.store_spec())

    assert str((names / "snap").readlink()) == node(kernel, SECOND)
    assert [bool(made.flags & READ_ONLY) for made in kernel.made] == [False, True]
    head.unsnapshot(VOLUME, 9)
    assert not (names / "snap").is_symlink()
    head.detach(VOLUME)


def test_a_device_is_given_to_the_process_that_takes_the_place_of_its_own(
    head: DeviceHead, lab: Lab, kernel: FakeKernel
) -> None:
    lab.attach()
    kill_process(lab)
    kernel.dead.put(FIRST)
    assert not reads(kernel)

    head.revive(VOLUME)

    wait_until(lambda: reads(kernel))
    assert len(kernel.made) == 1


def test_a_process_that_died_is_replaced_before_anybody_else_has_noticed(
    make_head: MakeHead, lab: Lab, kernel: FakeKernel
) -> None:
    make_head(revives=True)
    lab.attach()
    kill_process(lab)

    kernel.dead.put(FIRST)

    wait_until(lambda: reads(kernel))


def test_a_connection_that_ended_unheard_is_noticed(
    head: DeviceHead, lab: Lab, kernel: FakeKernel
) -> None:
    lab.attach()
    kill_process(lab)
    wait_until(lambda: not head.groups()[0].alive)
    head._engine.revive(VOLUME)

    def looked_after() -> bool:
        head.groups()
        return reads(kernel)

    wait_until(looked_after)


def test_no_device_of_an_epoch_that_is_over_is_under_a_name(
    head: DeviceHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    lab.attach(epoch=1)
    kernel.opened.add(FIRST)

    lab.attach(epoch=2, events=1)

    assert str((names / "vol").readlink()) == node(kernel, SECOND)
    assert not reads(kernel, FIRST)
    assert reads(kernel, SECOND)
    kernel.close(FIRST)
    assert [made.index for made in kernel.made] == [FIRST, SECOND]


def test_a_process_serves_the_device_of_its_own_epoch_only(head: DeviceHead, lab: Lab) -> None:
    lab.attach(epoch=2)
    socket = str(lab.folder / "h" / f"v{VOLUME:08x}.sock")

    negotiate(socket, "epoch/2", 5).connection.close()
    with pytest.raises(FileNotFoundError):
        negotiate(socket, "epoch/1", 5)


def test_an_agent_that_comes_back_goes_on_with_its_devices_and_ends_those_of_others(
    head: DeviceHead, make_head: MakeHead, lab: Lab, kernel: FakeKernel
) -> None:
    lab.attach(epoch=2)
    stale = kernel.made[0].backend.replace("epoch 2", "epoch 1")
    connection = negotiate(stale.rpartition(" ")[2], "", 5).connection
    kernel.connect(type(kernel.made[0])(SECOND, stale, GB, 0, 1), connection)
    connection.close()

    make_head()

    assert reads(kernel, FIRST)
    assert not (kernel.sys / f"nbd{SECOND}").exists()


def test_a_fenced_volume_fails_and_its_device_goes_once_it_is_closed(
    head: DeviceHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    lab.attach()
    kernel.opened.add(FIRST)

    kernel.dead.put(FIRST)
    head.cut(VOLUME, 1)

    wait_until(lambda: not reconnecting())
    assert not reads(kernel)
    assert list(names.iterdir()) == []
    assert head.detach(VOLUME) == ()
    kernel.close(FIRST)
    assert list(kernel.sys.iterdir()) == []


def test_a_device_without_a_process_is_given_up_in_time_and_its_name_comes_back(
    make_head: MakeHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    head = make_head(timeout=0.5)
    lab.attach()
    kernel.opened.add(FIRST)
    kill_process(lab)
    kernel.dead.put(FIRST)
    wait_until(lambda: FIRST not in kernel._connections)

    head.groups()
    assert list(names.iterdir()) == []

    head.revive(VOLUME)
    head.groups()

    assert str((names / "vol").readlink()) == node(kernel, SECOND)
    assert reads(kernel, SECOND)


def test_what_is_attached_as_a_socket_is_one_until_its_next_attach(
    make_head: MakeHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    make_head(make_devices=False)
    lab.attach(epoch=1)
    assert (names / "vol").is_socket()

    head = make_head()
    kill_process(lab)
    wait_until(lambda: not head.groups()[0].alive)
    head.revive(VOLUME)
    lab.attach(epoch=1)  # the manager may say it again
    head.groups()
    with NbdClient(names / "vol") as client:
        assert client.read(0, 512) == bytes(512)
    assert kernel.made == []

    wait_until(lambda: head.groups()[0].devices[0].clients == 0)
    head.detach(VOLUME)
    assert list(names.iterdir()) == []
    lab.attach(epoch=2, events=1)
    assert str((names / "vol").readlink()) == node(kernel)


def test_a_refused_detach_says_by_what_and_leaves_everything_as_it_was(
    head: DeviceHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    lab.attach()
    kernel.opened.add(FIRST)

    with pytest.raises(EngineError, match="volume 7 is in use as /dev/nbd1000: ") as refusal:
        head.detach(VOLUME)

    assert refusal.value.errno == errno.EBUSY
    assert str((names / "vol").readlink()) == node(kernel)
    assert reads(kernel)


def test_a_client_of_the_socket_holds_the_volume_and_the_device_is_made_again(
    head: DeviceHead, lab: Lab, kernel: FakeKernel, names: Path
) -> None:
    lab.attach()
    with NbdClient(lab.folder / "h" / "sockets" / "vol"):
        with pytest.raises(EngineError, match="is open by 1 clients"):
            head.detach(VOLUME)
        assert str((names / "vol").readlink()) == node(kernel)
        assert reads(kernel)
