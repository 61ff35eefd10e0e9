"""The device that users of a volume open, and how it is changed and taken from them."""

import errno
from collections.abc import Callable, Sequence

from agents.engines.base import EngineError
from agents.engines.kernel import device_mapper, iscsi_names
from agents.engines.kernel.device_mapper import Mapped, TablePiece
from agents.engines.kernel.meanwhile import meanwhile
from agents.engines.kernel.mirror import KernelMirror
from agents.ondisk import SECTOR


class VolumeDevice:
    """A volume's mirrors, one after another; with snapshots there is a device between.

    Linux copies what is overwritten only of a device that is the origin of something. Once there
    was a snapshot it stays so until the volume is detached.
    """

    def __init__(self, lvolid: int, epoch: int, mirrors: Sequence[KernelMirror]) -> None:
        self.name = iscsi_names.volume(lvolid, epoch)
        self._below = iscsi_names.origin(lvolid, epoch)
        self._mirrors = mirrors
        self.sectors = sum(mirror.size for mirror in mirrors) // SECTOR

    def lay_origin(self) -> Mapped:
        """Make what snapshots are taken of."""
        return device_mapper.find(self._below) or device_mapper.create(
            self._below, one_after_another(self._mirrors)
        )

    def make(self) -> Mapped:
        """Make it: of the origin, if that was laid."""
        below = device_mapper.find(self._below)
        return device_mapper.create(self.name, self._pieces(below))

    def _pieces(self, below: Mapped | None) -> list[TablePiece]:
        if below is None:
            return one_after_another(self._mirrors)
        return [TablePiece(self.sectors, "snapshot-origin", below.words)]

    def at_an_instant(self, begin: Callable[[], None]) -> None:
        """Begin a snapshot while no write is in flight."""
        self._hold()
        try:
            device_mapper.load(self.name, self._pieces(self.lay_origin()))
            begin()
        finally:
            device_mapper.resume(self.name)

    def _hold(self) -> None:
        try:
            device_mapper.suspend(self.name)
        except EngineError as error:
            if error.errno != errno.EBUSY:
                raise
            device_mapper.suspend(self.name, freeze=False)  # its user has frozen it

    def remove_origin(self) -> None:
        """Take away what snapshots were taken of."""
        device_mapper.remove(self._below)


def one_after_another(mirrors: Sequence[KernelMirror]) -> list[TablePiece]:
    """Describe a device of these."""
    return [
        TablePiece(mirror.size // SECTOR, "linear", f"{mirror.array.words} 0") for mirror in mirrors
    ]


def cut_off(name: str, sectors: int, mirrors: Sequence[KernelMirror]) -> None:
    """Answer all that waits in a device with errors, and all that comes.

    The replicas of its mirrors are broken off already; md has to be told to go on.
    """
    if device_mapper.find(name) is None:
        return
    device_mapper.load(name, [TablePiece(sectors, "error")])

    def go_on() -> None:
        for mirror in mirrors:
            mirror.go_on()

    meanwhile(lambda: device_mapper.suspend(name, flush=False), go_on)
    device_mapper.resume(name)
