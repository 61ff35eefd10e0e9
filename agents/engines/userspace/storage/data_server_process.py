"""The data server of a storage agent: serves leases on all its addresses until it is ended."""

import errno
import json
import os
import sys
from collections.abc import Sequence
from functools import partial

from agents.engines.base import DataServerFigures, DiskFigures, EngineError, Lease
from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.nbd.handshake import ExportTable
from agents.engines.userspace.nbd.messages import ServedDevice
from agents.engines.userspace.nbd.server import Listener
from agents.engines.userspace.nbd.tally import RequestTally
from agents.engines.userspace.process import dialogue, memory, spawn
from agents.engines.userspace.process.control import ControlSocket
from agents.engines.userspace.storage.leased_range import LeasedRange
from agents.engines.userspace.storage.served_disk import ServedDisk
from agents.struct_codec import from_struct

CHECK_SECONDS = 1.0


class DataServer:
    """The leases that are served. A fresh process serves none."""

    def __init__(self, reactor: Reactor, instance: str = "") -> None:
        self._reactor = reactor
        self._leases: dict[str, Lease] = {}
        self._devices: dict[str, LeasedRange] = {}
        self._ending: dict[str, LeasedRange] = {}
        self._disks: dict[str, ServedDisk] = {}
        self._tallies: dict[str, RequestTally] = {}
        # Names are secrets: none is ever listed.
        self.exports = ExportTable(
            self._devices.get, list, bounded=False, instance=instance, tally=self._tally
        )
        reactor.every(CHECK_SECONDS, self._check_disks)

    async def perform(
        self, order: dialogue.Order
    ) -> list[dialogue.ServedLease] | DataServerFigures | None:
        """Carry out one order of the agent."""
        self._check_disks()  # what was put at a disk's path a moment ago is meant by the order
        match order:
            case dialogue.TellLeases():
                return [self._served(lease) for lease in self._leases.values()]
            case dialogue.TellFigures():
                return self._figures()
            case dialogue.ServeLeases():
                for lease in order.leases:
                    self._export(lease)
            case dialogue.DropLeases():
                await self._drop(order.names)
            case dialogue.EndServer():
                await self._drop(tuple(self._leases))
                self._reactor.after(0, self._reactor.stop)
            case _:
                raise EngineError(errno.EINVAL, "not an order for a data server")
        return None

    def _served(self, lease: Lease) -> dialogue.ServedLease:
        device = self._devices.get(lease.name)
        clients = 0 if device is None else self.exports.clients(device)
        return dialogue.ServedLease(
            lease.name,
            lease.path,
            lease.offset,
            lease.size,
            lease.meta_offset,
            lease.dextid,
            lease.lvolid,
            lease.epoch,
            clients,
        )

    def _tally(self, device: ServedDevice) -> RequestTally:
        """Count by disk: a server has few of them, and thousands of leases."""
        path = device.disk.path if isinstance(device, LeasedRange) else ""
        tally = self._tallies.get(path)
        if tally is None:  # to make one takes as long as a request
            tally = self._tallies[path] = RequestTally()
        return tally

    def _figures(self) -> DataServerFigures:
        disks = (DiskFigures(path, tally.figures()) for path, tally in self._tallies.items())
        return DataServerFigures(len(self.exports.connections), tuple(disks))

    def _export(self, lease: Lease) -> None:
        name = lease.name
        if name in self._ending:
            raise EngineError(errno.EBUSY, f"extent {lease.dextid} is still being dropped")
        served = self._leases.get(name)
        if served is not None:
            if served != lease:
                raise EngineError(errno.EEXIST, f"extent {lease.dextid} is served as another range")
            return
        disk = self._open(lease.path)
        self.exports.lost.discard(name)
        disk.leases += 1
        self._leases[name] = lease
        self._devices[name] = LeasedRange(
            self._reactor, disk, lease.offset, lease.size, lease.meta_offset
        )

    def _open(self, path: str) -> ServedDisk:
        disk = self._disks.get(path)
        if disk is None or disk.error:
            try:
                disk = ServedDisk(self._reactor, path)
            except OSError as error:
                raise EngineError(error.errno or errno.EIO, f"{path}: {error.strerror}") from None
            self._disks[path] = disk
        return disk

    async def _drop(self, names: Sequence[str]) -> None:
        """Unexport first, then end the connections, then wait for what threads still write.

        Until then the leases are still told, and whoever drops them again waits as well.
        """
        dropped = {name: self._devices.pop(name) for name in names if name in self._devices}
        self._ending.update(dropped)
        for device in dropped.values():
            self.exports.disconnect(device)
        for device in [self._ending[name] for name in names if name in self._ending]:
            idle = Future()
            device.when_idle(partial(idle, 0, None))
            await idle
        for name, device in dropped.items():
            del self._ending[name], self._leases[name]
            self._let_go(device.disk)

    def _let_go(self, disk: ServedDisk) -> None:
        disk.leases -= 1
        if not disk.leases:
            if self._disks.get(disk.path) is disk:
                del self._disks[disk.path]
            disk.close()

    def _check_disks(self) -> None:
        for disk in {device.disk for device in self._devices.values()}:
            disk.check()
        # Whoever uses such a disk has to begin anew, with a mark that is read and a new descriptor.
        # Nobody was evicted: a head that took it so would give up the good replicas, too, and so it
        # would if another disk's extents, at the path that was this one's, took their place.
        if lost := [name for name, device in self._devices.items() if device.disk.lost]:
            self.exports.lost.update(lost)
            LoopTask(self._drop(lost))


def main() -> None:
    """Run as the process that `spawn.start` began."""
    arguments = from_struct(dialogue.DataServerArguments, json.loads(sys.argv[3]))
    report = spawn.settle(int(sys.argv[2]), arguments.log)
    instance = os.urandom(8).hex()
    if not spawn.take_lock(arguments.lock, dialogue.LockHolder(os.getpid(), instance)):
        error = EngineError(errno.EBUSY, "a data server runs already")
        report(dialogue.error_reply(error))
        return
    memory.keep_for_payloads()
    memory.serve_writeback()
    memory.lock_pages()
    reactor = Reactor()
    server = DataServer(reactor, instance)
    try:
        for address in arguments.addresses:
            Listener(reactor, (address, arguments.port), server.exports)
        control = spawn.listen(arguments.control)
    except OSError as failure:
        where = f"{', '.join(arguments.addresses)} port {arguments.port}"
        error = EngineError(failure.errno or errno.EIO, f"{where}: {failure.strerror}")
        report(dialogue.error_reply(error))
        return
    ControlSocket(reactor, control, server.perform)
    report(dialogue.value_reply(instance))
    reactor.run()
