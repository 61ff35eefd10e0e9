"""Gives devices whose volume's process ended a connection to the one that takes its place."""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable

from agents.engines.devices.block_device import BlockDevice
from agents.engines.devices.devices import Devices, Disconnected
from agents.engines.devices.nbd_module import DeadLinks
from agents.errors import AgentError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.05
LONGEST_PAUSE = 5.0


class Reconnector:
    """Hears from the kernel which connections ended, and tries each device by itself.

    `timeout`: after so many seconds without a process a device is given up, and with it what
    waits for it; its users get EIO. `revive` starts a group's process anew: whoever watches the
    groups would do that within a second or so, here it is done at once.
    """

    def __init__(self, devices: Devices, timeout: float, revive: Callable[[int], None]) -> None:
        self._devices = devices
        self._timeout = timeout
        self._revive = revive
        self._lock = threading.Lock()
        self._asked: dict[BlockDevice, bool] = {}

    def start(self) -> None:
        """Listen from now on."""
        links = DeadLinks()
        threading.Thread(target=self._listen, args=(links,), name="links", daemon=True).start()

    def look_after(self, devices: Iterable[BlockDevice]) -> None:
        """See that these are connected; one that is already is left as it is."""
        for device in devices:
            with self._lock:
                begun = device in self._asked
                self._asked[device] = True
            if not begun:
                name = f"reconnect-{device.name}"
                threading.Thread(target=self._run, args=(device,), name=name, daemon=True).start()

    def _listen(self, links: DeadLinks) -> None:
        while True:
            try:
                indexes = set(links.wait())
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.look_after(self._devices.all())
                continue
            dead = [device for device in self._devices.all() if device.index in indexes]
            self.look_after(dead)

    def _run(self, device: BlockDevice) -> None:
        """Bring a device back, anew if its connection ended again meanwhile."""
        while self._is_asked(device):
            try:
                self._bring_back(device)
            except Exception:
                logger.exception("%s: not reconnected", device.name)
                time.sleep(1)

    def _is_asked(self, device: BlockDevice) -> bool:
        with self._lock:
            if self._asked[device]:
                self._asked[device] = False
                return True
            del self._asked[device]
            return False

    def _bring_back(self, device: BlockDevice) -> None:
        begun = revival = time.monotonic()
        pause = RETRY_SECONDS
        while self._devices.has(device):
            try:
                self._devices.reconnect(device)
            except Disconnected as error:
                logger.warning("%s", error)
                return
            except OSError:
                if time.monotonic() - begun > self._timeout:
                    self._give_up(device)
                    return
                if time.monotonic() >= revival:
                    self._start_process(device)  # not yet dead, or without storage: once more later
                    pause = min(2 * pause, LONGEST_PAUSE)
                    revival = time.monotonic() + pause
                time.sleep(RETRY_SECONDS)
            else:
                logger.info("%s is connected, after %.1f s", device.name, time.monotonic() - begun)
                return

    def _start_process(self, device: BlockDevice) -> None:
        try:
            self._revive(device.identity.group)
        except AgentError as error:
            logger.info("%s has no process: %s", device.name, error)

    def _give_up(self, device: BlockDevice) -> None:
        logger.error("%s has had no process for %.0f s: given up", device.name, self._timeout)
        self._devices.drop(device)
