"""A head's agent and three storage processes in one guest, whose volumes are block devices.

The agent is a real one, told what to do as the manager does; there is no manager here. Standard
library only, for guests have nothing else.
"""

import contextlib
import itertools
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agents.client import AgentUnreachable, Fault, HeadAgent
from agents.engines.devices import block_device, nbd_module
from agents.engines.userspace.process import spawn
from agents.engines.userspace.storage import storage_engine
from agents.protocol import (
    AttachOrder,
    DetachOrder,
    DeviceSpec,
    HeadState,
    Progress,
    Report,
    SnapshotOrder,
    UnsnapshotOrder,
)
from tests.engine.lab import VOLUME, Lab

ROOT = Path(__file__).parents[3]
LINKS = Path("/dev/vas")
NAME = LINKS / "vol"
MOUNTED = Path("/mnt/volume")
PORT = 8882
ADDRESS = "127.0.0.9"
PATIENT = 240
WRITER = Path(__file__).with_name("steady_writer.py")


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def run(*words: object) -> str:
    """Run a command; what it says. One that fails is an AssertionError with all it said."""
    done = subprocess.run(
        list(map(str, words)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not done.returncode, f"{words}: {done.stdout}"
    return done.stdout


@contextlib.contextmanager
def a_file_system(device: Path, kind: str = "ext4") -> Iterator[None]:
    quick = ["-E", "nodiscard", "-J", "size=8"] if kind == "ext4" else ["-K"]
    run(f"mkfs.{kind}", "-q", *quick, device)
    MOUNTED.mkdir(exist_ok=True)
    run("mount", device, MOUNTED)
    yield
    run("umount", MOUNTED)


def error_of_a_read(opened: int) -> int:
    """Read from a device that was opened with O_DIRECT; 0, or the errno with which that failed."""
    try:
        with mmap.mmap(-1, 4096) as page:
            os.readv(opened, [page])
    except OSError as error:
        return error.errno or 0
    return 0


class GuestHead:
    """A volume of 1 GB on three replicas, and the agent of the head on which it is used."""

    def __init__(self, **settings: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="v", dir=os.environ.get("FOLDER")))
        storage_engine.START_SECONDS = PATIENT  # guests are slow
        self.lab = Lab(self.folder)
        self.run_dir = self.folder / "r"
        self.agent = HeadAgent((ADDRESS,), PORT, PATIENT)
        self._settings = settings
        self._events = itertools.count(1)
        self._agent: subprocess.Popen[bytes] | None = None
        try:
            self.start_agent()
        except BaseException:
            self.close()
            raise

    # -- the agent

    def start_agent(self, **settings: object) -> None:
        self._settings |= settings
        told = {
            "manager": "http://127.0.0.1:9/RPC2",
            "state_dir": str(self.folder / "h"),
            "run_dir": str(self.run_dir),
            "links_dir": str(LINKS),
            **self._settings,
        }
        lines = [f"addresses = ['{ADDRESS}']", *(f"{key} = {word!r}" for key, word in told.items())]
        config = self.folder / "agent.toml"
        config.write_text("\n".join(lines) + "\n")
        with (self.folder / "agent.log").open("ab") as log:
            self._agent = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log)
        wait_until(self.state, "the agent answers")

    def kill_agent(self) -> None:
        if self._agent is not None:
            self._agent.kill()
            self._agent.wait()

    def stop_engine(self) -> None:
        """End the volumes' processes as who updates them does; the agent must be dead."""
        run(*self.command, "--stop-engine")

    @property
    def command(self) -> list[str]:
        """The agent's command line."""
        config = str(self.folder / "agent.toml")
        return [sys.executable, "-m", "agents", "head", "--config", config]

    def state(self) -> HeadState | None:
        try:
            return self.agent.state()
        except (AgentUnreachable, Fault):  # not yet
            return None

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def close(self) -> None:
        """End all that was started."""
        self.kill_agent()
        self.stop_engine()
        for device in block_device.found(self.run_dir):
            nbd_module.disconnect(device.index)
        for store in self.lab.stores:
            store.kill()

    # -- orders

    def attach(self, epoch: int = 1, snapshots: tuple[DeviceSpec, ...] = ()) -> Path:
        """Attach the volume; the node that its name leads to."""
        for server in range(3):
            self.lab.export(server, epoch)
        events = 0 if epoch == 1 else 1
        mirrors = self.lab.mirrors(epoch, (0, 1, 2), events, dirty=False)
        order = self.lab.order(epoch, mirrors, snapshots)
        event = next(self._events)
        told = AttachOrder(event, 1, 1, VOLUME, epoch, order.devices)
        self._done(self.agent.attach(told))
        return NAME.resolve()

    def detach(self, epoch: int = 1, *, force: bool = False) -> None:
        event = next(self._events)
        self._done(self.agent.detach(DetachOrder(event, 1, 1, VOLUME, epoch, force)))

    def refusal(self) -> str:
        """Ask for a detach that must be refused; what is said."""
        event = next(self._events)
        report = self.agent.detach(DetachOrder(event, 1, 1, VOLUME, 1))
        assert report.progress is Progress.FAILED, report
        assert report.errno == 16, report
        return report.message

    def snapshot(self) -> Path:
        event = next(self._events)
        spec = self.lab.store_spec()
        self._done(self.agent.snapshot(SnapshotOrder(event, 1, 1, VOLUME, 1, spec)))
        return (LINKS / "snap").resolve()

    def unsnapshot(self) -> None:
        event = next(self._events)
        self._done(self.agent.unsnapshot(UnsnapshotOrder(event, 1, 1, VOLUME, 1, 9)))

    def _done(self, report: Report) -> None:
        deadline = time.monotonic() + PATIENT
        while report.progress is Progress.RUNNING and time.monotonic() < deadline:
            time.sleep(0.1)
            report = self.agent.report(report.eventid, report.order)
        assert report.progress is Progress.DONE, (report.errno, report.message, self.log())

    # -- the volume's process

    @property
    def process(self) -> int:
        """The process of the volume; 0 while there is none."""
        lock = self.folder / f"h/groups/{VOLUME:08x}/lock"
        holder = spawn.lock_holder(str(lock))
        return holder.pid if holder else 0

    def kill_process(self) -> None:
        os.kill(self.process, signal.SIGKILL)


class Writer:
    """A process that writes block after block with O_SYNC, and tells the longest time of one."""

    def __init__(self, path: Path) -> None:
        self.stop_file = Path(tempfile.mkdtemp()) / "stop"
        command = [sys.executable, str(WRITER), str(path), str(self.stop_file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: path.exists() and path.stat().st_size, "the writer has begun")

    def stop(self, seconds: float = 120) -> tuple[int, float, str]:
        """Let it end; how many blocks it wrote, the longest time of one, its error."""
        self.stop_file.touch()
        told, _ = self._process.communicate(timeout=seconds)
        count, longest, error = told.split(" ", 2)
        return int(count), float(longest), error.strip()
