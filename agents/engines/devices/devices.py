"""The devices of a head: made, given a new connection, taken down, each in one step."""

import contextlib
import errno
import itertools
import logging
import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from agents.engines.base import DeviceAccess, EngineError
from agents.engines.devices import block_device, nbd_module
from agents.engines.devices.block_device import BlockDevice
from agents.engines.devices.device_identity import DeviceIdentity
from agents.engines.devices.negotiate import Negotiated, negotiate
from agents.engines.devices.users import holders, openers

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
CLOSING_SECONDS = 5.0
"""Who merely looks at a device, as udev does, has closed it by then."""
POLL_SECONDS = 0.02
TRIES = 16
TAKEN = frozenset({errno.EBUSY, errno.EEXIST, errno.EINVAL})


class Disconnected(OSError):
    """The kernel gave the device up for good; it is there until it is closed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How devices are made. `dead_seconds`: for how long requests wait for a new connection."""

    access: DeviceAccess
    dead_seconds: int


class Devices:
    """Those whose volumes have their sockets in one folder."""

    def __init__(self, run_dir: Path, terms: Terms) -> None:
        self._run_dir = run_dir
        self._terms = terms
        self._choosing = threading.Lock()
        self._gone: set[BlockDevice] = set()

    def all(self) -> list[BlockDevice]:
        """List those that may still be of use; one that was given up lasts until it is closed."""
        found = block_device.found(self._run_dir)
        self._gone.intersection_update(found)
        return [device for device in found if device not in self._gone]

    def has(self, device: BlockDevice) -> bool:
        """Tell whether a device may still be of use."""
        return device not in self._gone and device.is_there()

    def make(self, identity: DeviceIdentity) -> BlockDevice:
        """Make the device of a volume whose process runs."""
        negotiated = negotiate(identity.socket, identity.export, HANDSHAKE_SECONDS)
        with negotiated.connection, self._choosing:
            device = BlockDevice(self._connect(identity, negotiated), identity)
        self._gone.discard(device)  # one before it may have been the same
        try:
            self._check(device)
        except (OSError, EngineError):
            self.drop(device)
            raise
        logger.info("%s is /dev/%s", identity.name, device.name)
        return device

    def _connect(self, identity: DeviceIdentity, negotiated: Negotiated) -> int:
        """Have the kernel make a device; gives its number.

        A number that is just being given back is left out. One that is busy is tried again: the
        kernel makes it known before it is connected, and somebody may look at it in between.
        """
        tries = itertools.islice(block_device.free_indexes(), TRIES)
        wanted = nbd_module.Connect(
            index=next(tries),
            backend=str(identity),
            size=negotiated.size,
            flags=negotiated.flags,
            dead_seconds=self._terms.dead_seconds,
        )
        deadline = time.monotonic() + CLOSING_SECONDS
        while True:
            try:
                nbd_module.connect(wanted, negotiated.connection)
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
                    continue
                following = next(tries, 0)
                if error.errno not in TAKEN or not following:
                    raise
                wanted = replace(wanted, index=following)
            else:
                return wanted.index

    def adopt(self, device: BlockDevice) -> None:
        """Go on with a device that an earlier agent made, and may have been about to take down."""
        if self._go_once_closed(device, wanted=False):
            self._check(device)

    def _check(self, device: BlockDevice) -> None:
        if not device.is_there():
            text = f"{device.name} does not tell its backend: Linux 5.14 or newer is wanted"
            raise EngineError(errno.EOPNOTSUPP, text)
        device.resend_soon()
        self._terms.access.apply(device.node)
        device.announce()

    def reconnect(self, device: BlockDevice) -> None:
        """Connect a device to the process of its epoch again; Disconnected if it is too late."""
        identity = device.identity
        negotiated = negotiate(identity.socket, identity.export, HANDSHAKE_SECONDS)
        with negotiated.connection as connection:
            try:
                nbd_module.reconnect(device.index, str(identity), connection)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._gone.add(device)
                raise Disconnected(errno.ENODEV, f"{device.name} is given up") from None

    def take_down(self, device: BlockDevice) -> None:
        """Take a device down if nobody uses it; EBUSY with the users otherwise.

        Opened exclusively here, nobody can mount it meanwhile, and the kernel decides at its last
        close: between the look and the end there is no moment in which it could be opened.
        """
        _check_unheld(device)
        try:
            opened = os.open(device.node, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EBUSY:
                self.drop(device)  # nothing that can be opened is left
                return
            raise _in_use(device, holders(device)) from None
        try:
            self._go_once_closed(device, wanted=True)
        finally:
            os.close(opened)
        if not device.await_end(CLOSING_SECONDS) and self._go_once_closed(device, wanted=False):
            raise _in_use(device, [*holders(device), *openers(device)])

    def _go_once_closed(self, device: BlockDevice, *, wanted: bool) -> bool:
        """Have the device go at its last close, or not; False if it is given up already."""
        try:
            nbd_module.disconnect_once_closed(device.index, str(device.identity), wanted=wanted)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._gone.add(device)
            return False
        return True

    def take_down_dead(self, device: BlockDevice) -> None:
        """Take a device down that has no process: to open it would wait for one."""
        _check_unheld(device)
        deadline = time.monotonic() + CLOSING_SECONDS
        while said := list(openers(device)):
            if time.monotonic() > deadline:
                raise _in_use(device, said)
            time.sleep(POLL_SECONDS)
        self.drop(device)

    def drop(self, device: BlockDevice) -> None:
        """Take a device down whoever uses it: they get EIO, and it goes once they close it."""
        if device.is_there():
            self._gone.add(device)
            with contextlib.suppress(OSError):
                nbd_module.disconnect(device.index)


def _check_unheld(device: BlockDevice) -> None:
    """Look what is built on a device; EBUSY if anything is."""
    said = holders(device)
    if said:
        raise _in_use(device, said)


def _in_use(device: BlockDevice, said: list[str]) -> EngineError:
    why = ", ".join(said) or "something has it open"
    text = f"volume {device.identity.lvolid} is in use as /dev/{device.name}: {why}"
    return EngineError(errno.EBUSY, text)
