"""A storage server whose kernel exports extents over iSCSI, beside its data server.

Each lease is a device of the device mapper, the extent and then its mark, and a unit of the target
of its group and epoch. The data server of the embedded engine serves the same leases over NBD:
other storage servers copy from it, and heads of the embedded engine work with it. One epoch has one
head, so only one of the two is written through; both lay the bytes down in the same way.
"""

import errno
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from agents.engines.base import DataServerFigures, EngineError, Lease, LeaseUse, StorageEngine
from agents.engines.kernel import device_mapper, iscsi_names
from agents.engines.kernel.device_mapper import TablePiece
from agents.engines.kernel.export_file import ExportFile
from agents.engines.kernel.targets import IscsiTarget, Targets
from agents.ondisk import MARK_BYTES, SECTOR

FILE = "exports.json"


def kernel_exports(run_dir: Path) -> int:
    """Tell how many extents this machine's kernel exports, as far as an agent had it do so."""
    return len(ExportFile(run_dir / FILE).leases)


class KernelStorage:
    """StorageEngine that serves every lease twice: through the kernel and through a data server."""

    def __init__(
        self,
        data_server: StorageEngine,
        targets: Targets,
        run_dir: Path,
        portals: Sequence[str],
    ) -> None:
        self._data_server = data_server
        self._targets = targets
        self._portals = tuple(portals)
        self._exports = ExportFile(run_dir / FILE)
        self._exports.begin()
        self._changing = threading.Lock()
        self._served_by = ""
        self.port = data_server.port

    def ensure_running(self) -> str:
        """Have a data server that serves what the kernel does; which life of the exports it is.

        A data server that died takes no exports with it: its successor is told of them again.
        """
        instance = self._data_server.ensure_running()
        with self._changing:
            if instance != self._served_by:
                self._data_server.export(self._exports.leases)
                self._served_by = instance
        return self._exports.instance

    def leases(self) -> list[LeaseUse]:
        """Tell what is served right now, and by how many heads and copiers it is used."""
        uses = self._data_server.leases()
        known = {use.lease.name for use in uses}
        uses += [LeaseUse(one, 0) for one in self._exports.leases if one.name not in known]
        used = {group: self._targets.is_used(*group) for group in {_group(u.lease) for u in uses}}
        return [LeaseUse(use.lease, use.clients + used[_group(use.lease)]) for use in uses]

    def figures(self) -> DataServerFigures | None:
        """Tell what the data server counted; what goes through the kernel is not among it."""
        return self._data_server.figures()

    def export(self, leases: Sequence[Lease]) -> None:
        """Serve these too; a lease that is served already stays as it is."""
        with self._changing:
            for path in {lease.path for lease in leases}:
                require_block_device(path)
            _forget_cached(leases)
            self._exports.add(leases)
            for lease in leases:
                self._export(lease)
            self._data_server.export(leases)

    def drop(self, names_of_leases: Sequence[str]) -> None:
        """Serve these no more. On return no head can write to them, and nothing is in flight."""
        with self._changing:
            gone = set(names_of_leases)
            leases = [lease for lease in self._exports.leases if lease.name in gone]
            self._data_server.drop(names_of_leases)
            by_group = defaultdict(list)
            for lease in leases:
                by_group[_group(lease)].append(_device(lease))
            for (lvolid, epoch), devices in by_group.items():
                self._targets.withdraw(lvolid, epoch, devices)
            for lease in leases:
                device_mapper.remove(_device(lease))
            _forget_cached(leases)
            self._exports.remove(gone)

    def stop(self) -> None:
        """End all exports, and the data server."""
        self.drop([lease.name for lease in self._exports.leases])
        self._data_server.stop()

    def _export(self, lease: Lease) -> None:
        device = _device(lease)
        if self._targets.is_served(*_group(lease), device):
            return
        made = device_mapper.find(device) or device_mapper.create(device, _pieces(lease))
        secret = iscsi_names.parse_export(lease.name).secret
        target = IscsiTarget(lease.lvolid, lease.epoch, secret, self._portals)
        serial = iscsi_names.serial(lease.dextid, lease.lvolid, lease.epoch)
        self._targets.export(target, device, made.node, serial)


def _group(lease: Lease) -> tuple[int, int]:
    return lease.lvolid, lease.epoch


def _device(lease: Lease) -> str:
    return iscsi_names.exported(lease.dextid, lease.epoch)


def _pieces(lease: Lease) -> tuple[TablePiece, TablePiece]:
    """Lay the extent and its mark behind each other, as the data server does."""
    return (
        TablePiece(lease.size // SECTOR, "linear", f"{lease.path} {lease.offset // SECTOR}"),
        TablePiece(MARK_BYTES // SECTOR, "linear", f"{lease.path} {lease.meta_offset // SECTOR}"),
    )


def require_block_device(path: str) -> None:
    """Refuse a file: the kernel exports none."""
    if not stat.S_ISBLK(Path(path).stat().st_mode):
        raise EngineError(
            errno.ENOTBLK,
            f"{path} is a file: the kernel engine exports block devices;"
            ' for files say engine = "userspace"',
        )


def _forget_cached(leases: Iterable[Lease]) -> None:
    """Write out and forget what this machine has of these extents in memory.

    What a head writes over iSCSI goes past that memory, in which the data server would later find
    what was there before, or from which older bytes would be written over newer ones.
    """
    for lease in leases:
        try:
            descriptor = os.open(lease.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # the disk is gone, and with it all that it served
        try:
            os.fdatasync(descriptor)
            for at, size in ((lease.offset, lease.size), (lease.meta_offset, MARK_BYTES)):
                os.posix_fadvise(descriptor, at, size, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
