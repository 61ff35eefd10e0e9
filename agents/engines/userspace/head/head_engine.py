"""The head agent's handle on attached groups, each a process of its own."""

import contextlib
import errno
import shutil
import threading
from pathlib import Path
from typing import Any

from agents.boot import boot_id
from agents.engines.base import EngineError
from agents.engines.userspace.head import publish, state_file
from agents.engines.userspace.head.fork_server import Template
from agents.engines.userspace.loop.tasks import Fault
from agents.engines.userspace.process import control, spawn
from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    DeviceState,
    GroupState,
    ReplicaReport,
    ReplicaSpec,
    ReplicaState,
    from_struct,
    to_struct,
)

START_SECONDS = 30.0
STATE_SECONDS = 2.0
ORDER_SECONDS = 20.0


class UserspaceHead:
    """HeadEngine of the embedded engine."""

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        links_dir: Path,
        rebuild_mib_per_s: int = 0,
        replica_timeout: float = 5.0,
    ) -> None:
        self._groups = state_dir.absolute() / "groups"
        self._run_dir = run_dir.absolute()
        self._links_dir = links_dir.absolute()
        self._rebuild_mib_per_s = rebuild_mib_per_s
        self._replica_timeout = replica_timeout
        self._changing: dict[int, threading.RLock] = {}
        if len(self._control(0)) > spawn.LONGEST_SOCKET_PATH:
            raise EngineError(errno.ENAMETOOLONG, f"run_dir is too long for sockets: {run_dir}")
        for folder in (self._groups, self._run_dir, self._links_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self._template = Template()

    def links(self) -> Path:
        """Name the folder of the published devices (the node's /dev/vas)."""
        return self._links_dir

    def groups(self) -> list[GroupState]:
        """Tell every group that runs, or that ran and was not detached."""
        found = []
        for folder in sorted(self._groups.iterdir()):
            kept = state_file.read_record(str(folder))
            if kept is None:
                continue
            alive = self._is_alive(kept["lvolid"])
            if alive or not kept["ended"]:
                found.append(self._state(kept, alive=alive))
        return found

    def attach(self, order: AttachOrder) -> tuple[ReplicaReport, ...]:
        """Assemble a group and publish its devices; the same epoch again changes nothing."""
        with self._alone(order.lvolid):
            return self._attach(order)

    def _attach(self, order: AttachOrder) -> tuple[ReplicaReport, ...]:
        lvolid = order.lvolid
        kept = state_file.read_record(str(self._folder(lvolid)))
        alive = spawn.lock_holder(self._lock(lvolid)) is not None
        if kept is not None and (alive or not kept["ended"]):
            if kept["epoch"] > order.epoch:
                raise EngineError(errno.ESTALE, f"group {lvolid} is at epoch {kept['epoch']}")
            if kept["epoch"] == order.epoch:
                if not alive:
                    self.revive(lvolid)
                return _replicas(self._ask(lvolid, {"do": "state"}, ORDER_SECONDS)["copies"])
            self._clear(lvolid, kept)
        self._write_order(order)
        try:
            return _replicas(self._start(lvolid, revive=False))
        except EngineError:
            self._end_record(lvolid)
            raise

    def revive(self, lvolid: int) -> None:
        """Start a dead group's process again, in the same epoch and with the copies it had."""
        with self._alone(lvolid):
            self._revive(lvolid)

    def _revive(self, lvolid: int) -> None:
        kept = state_file.read_record(str(self._folder(lvolid)))
        if kept is None or kept["ended"]:
            raise EngineError(errno.ENOENT, f"no group {lvolid} was attached here")
        if spawn.lock_holder(self._lock(lvolid)) is None:
            self._start(lvolid, revive=True)

    def detach(self, lvolid: int) -> tuple[ReplicaReport, ...]:
        """Take a group down and close its replicas cleanly; EngineError EBUSY while in use."""
        with self._alone(lvolid):
            return self._detach(lvolid)

    def _detach(self, lvolid: int) -> tuple[ReplicaReport, ...]:
        kept = state_file.read_record(str(self._folder(lvolid)))
        if kept is None:
            return ()
        if spawn.lock_holder(self._lock(lvolid)) is None:
            if not kept["ended"]:
                self._clear(lvolid, kept)
            return ()
        result = self._ask(lvolid, {"do": "detach"}, ORDER_SECONDS)
        if not spawn.await_end(self._lock(lvolid), ORDER_SECONDS):
            spawn.kill(self._lock(lvolid))
        if result["clean"]:
            shutil.rmtree(self._folder(lvolid))
        self._unlink_control(lvolid)
        return _replicas(result["copies"])

    def snapshot(self, lvolid: int, device: DeviceSpec) -> None:
        """Freeze the origin's content as a new read-only device."""
        order = {"do": "snapshot", "device": to_struct(device)}
        self._ask(lvolid, order, ORDER_SECONDS)

    def unsnapshot(self, lvolid: int, snapshot: int) -> None:
        """Take a snapshot device away; EBUSY while it is open."""
        self._ask(lvolid, {"do": "unsnapshot", "snapshot": snapshot}, ORDER_SECONDS)

    def rebuild(self, lvolid: int, mirrorid: int, replica: ReplicaSpec, replaces: int) -> None:
        """Start to bring a copy into sync; its progress is in `groups`."""
        order = {
            "do": "rebuild",
            "mirrorid": mirrorid,
            "leg": to_struct(replica),
            "replaces": replaces,
        }
        self._ask(lvolid, order, ORDER_SECONDS)

    def cancel(self, lvolid: int, dextid: int) -> None:
        """Stop the rebuild of a replica."""
        self._ask(lvolid, {"do": "cancel", "dextid": dextid}, ORDER_SECONDS)

    def stop(self) -> None:
        """End every group's process without detaching; `revive` brings each back."""
        for folder in self._groups.iterdir():
            spawn.kill(str(folder / "lock"))

    # -- the process

    def _alone(self, lvolid: int) -> threading.RLock:
        """Keep others away while a group is between dead and alive: its record says less then."""
        return self._changing.setdefault(lvolid, threading.RLock())

    def _start(self, lvolid: int, *, revive: bool) -> Any:
        folder = self._folder(lvolid)
        arguments = {
            "folder": str(folder),
            "run_dir": str(self._run_dir),
            "links_dir": str(self._links_dir),
            "lock": self._lock(lvolid),
            "log": str(folder / "log"),
            "control": self._control(lvolid),
            "boot_id": boot_id(),
            "rebuild_mib_per_s": self._rebuild_mib_per_s,
            "leg_timeout": self._replica_timeout,
            "revive": revive,
        }
        try:
            return self._template.start(arguments, START_SECONDS)
        except Fault as fault:
            spawn.kill(self._lock(lvolid))
            raise EngineError(fault.errno, str(fault)) from None

    def _ask(self, lvolid: int, order: dict[str, Any], timeout: float) -> Any:
        try:
            return control.ask(self._control(lvolid), order, timeout)
        except Fault as fault:
            raise EngineError(fault.errno, str(fault)) from None
        except control.NoProcess:
            raise EngineError(errno.ENOENT, f"group {lvolid} does not run here") from None
        except TimeoutError:
            raise EngineError(errno.ETIMEDOUT, f"group {lvolid} does not answer") from None

    def _state(self, kept: dict[str, Any], *, alive: bool) -> GroupState:
        lvolid = kept["lvolid"]
        devices = [
            {"lvolid": device["lvolid"], "clients": 0, "broken": device.get("broken", False)}
            for device in kept["devices"]
        ]
        replicas = state_file.replica_states(kept, alive=alive)
        if alive:
            # One that hangs or is just ending is told from its record.
            with contextlib.suppress(EngineError):
                state = self._ask(lvolid, {"do": "state"}, STATE_SECONDS)
                devices, replicas = state["devices"], state["copies"]
        return GroupState(
            lvolid,
            kept["epoch"],
            alive,
            tuple(from_struct(DeviceState, device) for device in devices),
            _replicas(replicas),
        )

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
        return self._groups / f"{lvolid:08x}"

    def _lock(self, lvolid: int) -> str:
        return str(self._folder(lvolid) / "lock")

    def _control(self, lvolid: int) -> str:
        return str(self._run_dir / f"h{lvolid:08x}.ctl")

    def _unlink_control(self, lvolid: int) -> None:
        Path(self._control(lvolid)).unlink(missing_ok=True)

    def _write_order(self, order: AttachOrder) -> None:
        folder = self._folder(order.lvolid)
        folder.mkdir(exist_ok=True)
        struct = to_struct(order)
        kept = {
            "version": state_file.VERSION,
            "lvolid": order.lvolid,
            "epoch": order.epoch,
            "ended": False,
            "devices": struct["devices"],
        }
        for device in kept["devices"]:
            for mirror in device["mirrors"]:
                for replica in mirror["legs"]:
                    replica["why"] = ""
        state_file.write_record(str(folder), kept)

    def _end_record(self, lvolid: int) -> None:
        """Keep the folder, for its intent map, but as that of a group that is no more."""
        kept = state_file.read_record(str(self._folder(lvolid)))
        if kept is not None:
            kept["ended"] = True
            state_file.write_record(str(self._folder(lvolid)), kept)

    def _clear(self, lvolid: int, kept: dict[str, Any]) -> None:
        """Clear away a group whose process died, or whose epoch is over."""
        spawn.kill(self._lock(lvolid))
        for device in kept["devices"]:
            path = publish.socket_path(str(self._run_dir), device["lvolid"])
            publish.remove_links(str(self._links_dir), device["labels"], path)
            Path(path).unlink(missing_ok=True)
        self._unlink_control(lvolid)
        self._end_record(lvolid)


def _replicas(states: list[dict[str, Any]]) -> tuple[ReplicaReport, ...]:
    return tuple(
        ReplicaReport(**{**state, "state": ReplicaState(state["state"])}) for state in states
    )
