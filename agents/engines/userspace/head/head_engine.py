"""The head agent's handle on attached groups, each a process of its own."""

import errno
import logging
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import TypeVar

from agents.boot import boot_id
from agents.engines.base import DeviceAccess, DeviceFigures, EngineError
from agents.engines.userspace.head import published_device, state_file
from agents.engines.userspace.head.fork_server import ForkServer
from agents.engines.userspace.head.hang_watch import HUNG_SECONDS, HangWatch
from agents.engines.userspace.head.state_file import SavedGroup
from agents.engines.userspace.process import control, dialogue, spawn
from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    DeviceState,
    GroupState,
    ReplicaDigests,
    ReplicaReport,
    ReplicaSpec,
    VerifyOrder,
    VerifyReply,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

START_SECONDS = 30.0
STATE_SECONDS = 2.0
ORDER_SECONDS = 20.0
KEPT_SECONDS = 7 * 86400.0
"""For which the bitmap of what ended uncleanly is kept; with it the next attach here is quicker."""


class UserspaceHead:
    """HeadEngine of the embedded engine."""

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        links_dir: Path,
        rebuild_mib_per_s: int = 0,
        replica_timeout: float = 5.0,
        storage_wait: float = 60.0,
        access: DeviceAccess | None = None,
        hung_seconds: float = HUNG_SECONDS,
    ) -> None:
        self._groups = state_dir.absolute() / "groups"
        self._run_dir = run_dir.absolute()
        self._links_dir = links_dir.absolute()
        self._rebuild_mib_per_s = rebuild_mib_per_s
        self._replica_timeout = replica_timeout
        self._storage_wait = storage_wait
        self._access = access or DeviceAccess()
        self._changing: dict[int, threading.RLock] = {}
        self._figures: dict[int, tuple[DeviceFigures, ...]] = {}
        if len(self._control(0)) > spawn.LONGEST_SOCKET_PATH:
            raise EngineError(errno.ENAMETOOLONG, f"run_dir is too long for sockets: {run_dir}")
        for folder in (self._groups, self._run_dir, self._links_dir):
            # The folder of links is for users and has the mode that the administrator's umask says.
            mode = 0o777 if folder == links_dir else 0o700
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        self._fork_server = ForkServer()
        self._hangs = HangWatch(hung_seconds)
        for folder in self._groups.glob("[0-9a-f]" * len(_name(0))):
            self._remove_unborn(int(folder.name, 16))

    def start(self) -> None:
        """Do nothing: the processes go on by themselves."""

    def groups(self) -> list[GroupState]:
        """Tell every group that runs, or that ran and was not detached."""
        found, figures = [], dict[int, tuple[DeviceFigures, ...]]()
        for folder in sorted(self._groups.iterdir()):
            saved = state_file.read_state(str(folder))
            if saved is None:
                continue
            alive = self._is_alive(saved.lvolid)
            if alive or not saved.ended:
                found.append(self._state(saved, figures, alive=alive))
            elif _age(folder) > KEPT_SECONDS:
                self._forget(saved.lvolid)
        self._figures = figures
        return found

    def figures(self) -> list[DeviceFigures]:
        """Tell what was counted of devices when the groups were told last."""
        return [one for devices in self._figures.values() for one in devices]

    def attach(self, order: AttachOrder) -> tuple[ReplicaReport, ...]:
        """Assemble a group and publish its devices; the same epoch again changes nothing."""
        with self._alone(order.lvolid):
            return self._attach(order)

    def _attach(self, order: AttachOrder) -> tuple[ReplicaReport, ...]:
        lvolid = order.lvolid
        saved = state_file.read_state(str(self._folder(lvolid)))
        alive = spawn.lock_holder(self._lock(lvolid)) is not None
        if saved is not None and (alive or not saved.ended):
            if saved.epoch > order.epoch:
                raise EngineError(errno.ESTALE, f"group {lvolid} is at epoch {saved.epoch}")
            if saved.epoch == order.epoch:
                if not alive:
                    self.revive(lvolid)
                return self._ask(lvolid, dialogue.TellState(), dialogue.GroupReply).replicas
            self._clear(lvolid, saved)
        self._folder(lvolid).mkdir(mode=0o700, exist_ok=True)
        try:
            state_file.write_state(str(self._folder(lvolid)), state_file.saved_group(order, saved))
        except OSError:
            self._remove_unborn(lvolid)
            raise
        try:
            return self._start(lvolid, revive=False)
        except EngineError:
            self._end_state(lvolid)
            raise

    def revive(self, lvolid: int) -> None:
        """Start a dead group's process again, in the same epoch and with the replicas it had."""
        with self._alone(lvolid):
            self._revive(lvolid)

    def _revive(self, lvolid: int) -> None:
        saved = state_file.read_state(str(self._folder(lvolid)))
        if saved is None or saved.ended:
            raise EngineError(errno.ENOENT, f"no group {lvolid} was attached here")
        if spawn.lock_holder(self._lock(lvolid)) is None:
            self._start(lvolid, revive=True)

    def detach(self, lvolid: int) -> tuple[ReplicaReport, ...]:
        """Take a group down and close its replicas cleanly; EngineError EBUSY while in use."""
        with self._alone(lvolid):
            return self._detach(lvolid)

    def _detach(self, lvolid: int) -> tuple[ReplicaReport, ...]:
        saved = state_file.read_state(str(self._folder(lvolid)))
        if saved is None:
            return ()
        if spawn.lock_holder(self._lock(lvolid)) is None:
            if not saved.ended:
                self._clear(lvolid, saved)
            return _distrusted_of(saved)
        taken_down = self._ask(lvolid, dialogue.TakeDown(), dialogue.TakenDown)
        if not spawn.await_end(self._lock(lvolid), ORDER_SECONDS):
            spawn.kill(self._lock(lvolid))
        if taken_down.clean:
            shutil.rmtree(self._folder(lvolid))
        self._unlink_control(lvolid)
        return taken_down.replicas

    def cut(self, lvolid: int, epoch: int) -> None:
        """End a group at once: its process, whoever is connected, sockets and links.

        An order to a process that hangs is waited for, so the process ends before its turn comes.
        """
        if self._is_over(lvolid, epoch):
            spawn.kill(self._lock(lvolid))
        with self._alone(lvolid):
            saved = self._is_over(lvolid, epoch)
            if saved is not None:
                self._clear(lvolid, saved)

    def _is_over(self, lvolid: int, epoch: int) -> SavedGroup | None:
        saved = state_file.read_state(str(self._folder(lvolid)))
        return None if saved is None or saved.epoch > epoch else saved

    def snapshot(self, lvolid: int, device: DeviceSpec) -> None:
        """Freeze the origin's content as a new read-only device."""
        self._ask(lvolid, dialogue.TakeSnapshot(device), NoneType)

    def unsnapshot(self, lvolid: int, snapshot: int) -> None:
        """Take a snapshot device away; EBUSY while it is open."""
        self._ask(lvolid, dialogue.RemoveSnapshot(snapshot), NoneType)
        # An engine of an older version may have forgotten it, and have left links to nothing.
        path = published_device.socket_path(str(self._run_dir), snapshot)
        published_device.remove_all_links(str(self._links_dir), path)

    def rebuild(self, lvolid: int, mirrorid: int, replica: ReplicaSpec, replaces: int) -> None:
        """Start to bring a replica into sync; its progress is in `groups`."""
        self._ask(lvolid, dialogue.StartRebuild(mirrorid, replica, replaces), NoneType)

    def relocate(self, lvolid: int, epoch: int, replicas: Sequence[ReplicaSpec]) -> None:
        """Note where a dead group's replicas are now, for its revival; one that runs knows.

        EngineError EAGAIN while it is on its way: that may take as long as nobody answers.
        """
        alone = self._alone(lvolid)
        if not alone.acquire(blocking=False):
            raise EngineError(errno.EAGAIN, f"group {lvolid} is being started or taken down")
        try:
            self._relocate(lvolid, epoch, replicas)
        finally:
            alone.release()

    def _relocate(self, lvolid: int, epoch: int, replicas: Sequence[ReplicaSpec]) -> None:
        folder = str(self._folder(lvolid))
        saved = state_file.read_state(folder)
        if saved is None or saved.ended or saved.epoch != epoch:
            raise EngineError(errno.ENOENT, f"no group {lvolid} of epoch {epoch} was attached here")
        moved = state_file.relocated_group(saved, replicas)
        if moved != saved and spawn.lock_holder(self._lock(lvolid)) is None:
            state_file.write_state(folder, moved)

    def cancel(self, lvolid: int, dextid: int) -> None:
        """Stop the rebuild of a replica."""
        self._ask(lvolid, dialogue.StopRebuild(dextid), NoneType)

    def verify(self, order: VerifyOrder) -> tuple[ReplicaDigests, ...]:
        """Tell what a few blocks are on each replica in sync; mend them if the order says so."""
        try:
            reply = self._ask(order.lvolid, dialogue.VerifyBlocks(order), VerifyReply)
        except EngineError as error:
            if error.errno == errno.EINVAL:  # what an older process says to any new order
                raise EngineError(errno.ENOSYS, f"group {order.lvolid}: {error}") from None
            raise
        return reply.replicas

    def stop(self) -> None:
        """End every group's process without detaching; `revive` brings each back."""
        for folder in self._groups.iterdir():
            spawn.kill(str(folder / "lock"))

    # -- the process

    def _alone(self, lvolid: int) -> threading.RLock:
        """Keep others away while a group is between dead and alive: its file says less then."""
        return self._changing.setdefault(lvolid, threading.RLock())

    def _start(self, lvolid: int, *, revive: bool) -> tuple[ReplicaReport, ...]:
        folder = self._folder(lvolid)
        arguments = dialogue.HeadArguments(
            folder=str(folder),
            run_dir=str(self._run_dir),
            links_dir=str(self._links_dir),
            lock=self._lock(lvolid),
            log=str(folder / "log"),
            control=self._control(lvolid),
            boot_id=boot_id(),
            rebuild_mib_per_s=self._rebuild_mib_per_s,
            replica_timeout=self._replica_timeout,
            storage_wait=self._storage_wait,
            access=self._access,
            revive=revive,
        )
        try:
            return self._fork_server.start(arguments, START_SECONDS)
        except EngineError:
            spawn.kill(self._lock(lvolid))
            raise

    def _ask(
        self,
        lvolid: int,
        order: dialogue.GroupOrder,
        kind: type[T],
        timeout: float = ORDER_SECONDS,
    ) -> T:
        try:
            return control.ask(self._control(lvolid), order, kind, f"group {lvolid}", timeout)
        except control.NoProcess:
            raise EngineError(errno.ENOENT, f"group {lvolid} does not run here") from None

    def _state(
        self, saved: SavedGroup, figures: dict[int, tuple[DeviceFigures, ...]], *, alive: bool
    ) -> GroupState:
        lvolid = saved.lvolid
        devices = tuple(DeviceState(one.lvolid, 0, broken=one.broken) for one in saved.devices)
        replicas = state_file.replica_reports(saved, alive=alive)
        if alive:
            # One that hangs or is just ending is told from its state file.
            reply = self._tell_state(lvolid)
            if reply is not None:
                devices, replicas = reply.devices, reply.replicas
                figures[lvolid] = reply.figures
        return GroupState(lvolid, saved.epoch, alive, devices, replicas)

    def _tell_state(self, lvolid: int) -> dialogue.GroupReply | None:
        """Ask a process how it is; one that hangs for too long is ended, to be revived."""
        try:
            reply = self._ask(lvolid, dialogue.TellState(), dialogue.GroupReply, STATE_SECONDS)
        except EngineError as error:
            if error.errno == errno.ETIMEDOUT and self._hangs.is_hung(lvolid):
                logger.warning("group %d: its process hangs, and is ended", lvolid)
                self._hangs.answered(lvolid)
                spawn.kill(self._lock(lvolid))
            return None
        self._hangs.answered(lvolid)
        return reply

    def _is_alive(self, lvolid: int) -> bool:
        """Tell whether a group runs; one that is just being started or taken down does."""
        alone = self._alone(lvolid)
        if not alone.acquire(blocking=False):
            return True
        try:
            return spawn.lock_holder(self._lock(lvolid)) is not None
        finally:
            alone.release()

    # -- files

    def _folder(self, lvolid: int) -> Path:
        return self._groups / _name(lvolid)

    def _lock(self, lvolid: int) -> str:
        return str(self._folder(lvolid) / "lock")

    def _control(self, lvolid: int) -> str:
        return str(self._run_dir / f"h{lvolid:08x}.ctl")

    def _unlink_control(self, lvolid: int) -> None:
        Path(self._control(lvolid)).unlink(missing_ok=True)

    def _remove_unborn(self, lvolid: int) -> None:
        """Remove the folder of a group whose first state could not be written."""
        if not (self._folder(lvolid) / state_file.FILE).exists():
            shutil.rmtree(self._folder(lvolid), ignore_errors=True)

    def _end_state(self, lvolid: int) -> None:
        """Keep the folder, for its write-intent bitmap, but as that of a group that is no more."""
        saved = state_file.read_state(str(self._folder(lvolid)))
        if saved is not None:
            state_file.write_state(str(self._folder(lvolid)), replace(saved, ended=True))

    def _forget(self, lvolid: int) -> None:
        """Remove what was kept of a group that is no more, unless it comes back just now."""
        alone = self._alone(lvolid)
        if not alone.acquire(blocking=False):
            return
        try:
            saved = state_file.read_state(str(self._folder(lvolid)))
            if saved is not None and saved.ended and spawn.lock_holder(self._lock(lvolid)) is None:
                shutil.rmtree(self._folder(lvolid))
        finally:
            alone.release()

    def _clear(self, lvolid: int, saved: SavedGroup) -> None:
        """Clear away a group whose process died, or whose epoch is over."""
        spawn.kill(self._lock(lvolid))
        for device in saved.devices:
            path = published_device.socket_path(str(self._run_dir), device.lvolid)
            published_device.remove_links(str(self._links_dir), device.labels, path)
            Path(path).unlink(missing_ok=True)
        self._unlink_control(lvolid)
        self._end_state(lvolid)


def _age(folder: Path) -> float:
    """Tell how long ago a group's state was last saved, in seconds."""
    try:
        return time.time() - (folder / state_file.FILE).stat().st_mtime
    except OSError:
        return 0.0


def _name(lvolid: int) -> str:
    return f"{lvolid:08x}"


def _distrusted_of(saved: SavedGroup) -> tuple[ReplicaReport, ...]:
    """Report the replicas of a group's broken snapshots: its process may not have told anybody."""
    broken = tuple(device for device in saved.devices if device.broken)
    reports = state_file.replica_reports(replace(saved, devices=broken), alive=False)
    for device in broken:
        reports = state_file.distrusted(device, reports)
    return reports
