"""Linux's own iSCSI target (LIO), told what to do through configfs.

    core/iblock_0/BACKSTORE                  a block device that may be exported
    iscsi/IQN/tpgt_1/np/ADDRESS:PORT         where the target listens
    iscsi/IQN/tpgt_1/lun/lun_N/device        a unit: a link to a backstore
    iscsi/IQN/tpgt_1/acls/INITIATOR/lun_N    the unit, for the one initiator that is let in

Each function may be repeated: what is there stays.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import iscsi_names

ROOT = Path("/sys/kernel/config/target")
ATTRIBUTES = {"authentication": "1", "generate_node_acls": "0", "cache_dynamic_acls": "0"}
ACTIVE = "InitiatorName:"
"""How the kernel begins to tell of a session; without one it says that there is none."""


@dataclass(frozen=True, slots=True)
class IscsiTarget:
    """The target of one epoch of a group: who is let in, with which secret, and where."""

    lvolid: int
    epoch: int
    secret: str
    portals: tuple[str, ...]


class Targets:
    """The targets of this machine; a test gives another root than configfs."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def export(self, target: IscsiTarget, backstore: str, device: str, serial: str) -> None:
        """Serve a device as a unit of a target."""
        with _explained(f"the export of {backstore}"):
            self._make_backstore(backstore, device, serial)
            group = self._make_target(target)
            number = self._unit_of(group, backstore)
            if number is None:
                number = self._free_unit(group, iscsi_names.unit(int(serial[:8], 16)))
            unit, name = (
                group / "lun" / f"lun_{number}",
                iscsi_names.initiator(target.lvolid, target.epoch),
            )
            unit.mkdir(exist_ok=True)
            _link(unit / "device", self._backstore(backstore))
            mapped = group / "acls" / name / f"lun_{number}"
            mapped.mkdir(exist_ok=True)
            _link(mapped / "device", unit)
            _set(group / "enable", "1")

    def withdraw(self, lvolid: int, epoch: int, backstores: Sequence[str]) -> None:
        """Serve these no more; the target goes with its last unit.

        To remove a unit waits for what is in flight on it: on return nothing of it can land.
        """
        group = self._group(lvolid, epoch)
        with _explained(f"the end of {len(backstores)} exports of group {lvolid}"):
            for backstore in backstores:
                self._remove_unit(group, backstore)
            if group.is_dir() and not any((group / "lun").glob("lun_*")):
                self._remove_target(group)
            for backstore in backstores:
                with suppress(FileNotFoundError):
                    self._backstore(backstore).rmdir()

    def is_served(self, lvolid: int, epoch: int, backstore: str) -> bool:
        """Tell whether a backstore is a unit of that target, and the target is open."""
        group = self._group(lvolid, epoch)
        with suppress(OSError):
            enabled = (group / "enable").read_text().strip() == "1"
            return enabled and self._unit_of(group, backstore) is not None
        return False

    def is_used(self, lvolid: int, epoch: int) -> bool:
        """Tell whether a head is logged in to a target."""
        access = self._group(lvolid, epoch) / "acls" / iscsi_names.initiator(lvolid, epoch)
        with suppress(OSError):
            return ACTIVE in (access / "info").read_text()
        return False

    def _backstore(self, name: str) -> Path:
        return self._root / "core" / "iblock_0" / name

    def _group(self, lvolid: int, epoch: int) -> Path:
        return (
            self._root
            / "iscsi"
            / iscsi_names.target(lvolid, epoch)
            / f"tpgt_{iscsi_names.PORTAL_GROUP}"
        )

    def _make_backstore(self, name: str, device: str, serial: str) -> None:
        backstore = self._backstore(name)
        backstore.mkdir(parents=True, exist_ok=True)
        if _read(backstore / "enable") != "1":
            _set(backstore / "control", f"udev_path={device}")
            _set(backstore / "enable", "1")
            _set(backstore / "wwn" / "vpd_unit_serial", serial)
            # Initiators then read its name as the disk's model, by which others can leave it alone.
            _set(backstore / "attrib" / "emulate_model_alias", "1")

    def _make_target(self, target: IscsiTarget) -> Path:
        group = self._group(target.lvolid, target.epoch)
        group.mkdir(parents=True, exist_ok=True)
        access = group / "acls" / iscsi_names.initiator(target.lvolid, target.epoch)
        if not access.is_dir():
            for name, value in ATTRIBUTES.items():
                _set(group / "attrib" / name, value)
            access.mkdir()
            _set(access / "auth" / "userid", iscsi_names.USER)
            _set(access / "auth" / "password", target.secret)
        for portal in target.portals:
            (group / "np" / portal).mkdir(exist_ok=True)
        return group

    def _unit_of(self, group: Path, backstore: str) -> int | None:
        for number, link in _units(group):
            if link.resolve().name == backstore:
                return number
        return None

    def _free_unit(self, group: Path, number: int) -> int:
        """Choose a unit's number: this one or the next one that is free."""
        taken = {number for number, _ in _units(group)}
        if len(taken) > iscsi_names.LARGEST_UNIT:
            raise EngineError(errno.ENOSPC, "a target has no room for more units")
        while number in taken:
            number = iscsi_names.unit(number + 1)
        return number

    def _remove_unit(self, group: Path, backstore: str) -> None:
        number = self._unit_of(group, backstore) if group.is_dir() else None
        if number is None:
            return
        for access in (group / "acls").iterdir():
            _remove_linked(access / f"lun_{number}")
        _remove_linked(group / "lun" / f"lun_{number}")

    def _remove_target(self, group: Path) -> None:
        _set(group / "enable", "0")
        for folder in ("acls", "np"):
            for inside in (group / folder).iterdir():
                inside.rmdir()
        group.rmdir()
        group.parent.rmdir()


def _units(group: Path) -> Iterator[tuple[int, Path]]:
    for unit in (group / "lun").glob("lun_*"):
        for link in unit.iterdir():
            if link.is_symlink():
                yield int(unit.name.removeprefix("lun_")), link


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(target)


def _remove_linked(folder: Path) -> None:
    """Remove a folder of configfs, whose files are the kernel's, and the link in it."""
    if not folder.is_dir():
        return
    for inside in folder.iterdir():
        if inside.is_symlink():
            inside.unlink()
    folder.rmdir()


def _set(file: Path, value: str) -> None:
    """Write a value as configfs wants it: in one piece, to a file that is there."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text().strip()
    return ""


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        raise EngineError(
            error.errno or errno.EIO, f"{what}: the kernel says {error.strerror}{where}"
        ) from None
