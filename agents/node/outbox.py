"""Notifications for the manager: each is kept until the manager has taken it."""

import errno
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from agents.node.manager_client import Fault, ManagerClient, NoManager
from agents.protocol import Target

logger = logging.getLogger(__name__)

LIMIT = 10_000
RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 5.0
INTERNAL = 500


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification; two with equal keys say the same."""

    key: tuple[Any, ...]
    method: str
    struct: dict[str, Any] = field(compare=False)


class Outbox:
    """Sends notifications until the manager takes them. A full outbox drops the newest.

    Neither that nor the end of the agent loses anything: the agent finds what is still so, and
    tells it again.
    """

    def __init__(self, manager: ManagerClient) -> None:
        self._manager = manager
        self._notes: dict[tuple[Any, ...], Notification] = {}
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Count what the manager has not taken yet."""
        with self._changed:
            return len(self._notes)

    def failure(self, target: Target, targetid: int, reason: str = "") -> None:
        """Tell that a disk or a replica failed."""
        struct = {"target": int(target), "targetid": targetid, "reason": reason}
        self._put(Notification((target, targetid), "notifyFailure", struct))

    def bad_blocks(self, pdskid: int, blocks: list[int]) -> None:
        """Tell which GB of a disk cannot be used."""
        struct = {"pdskid": pdskid, "blocks": blocks}
        self._put(Notification(("bad", pdskid, *blocks), "notifyBadBlocks", struct))

    def shredded(self, dextid: int, eventid: int) -> None:
        """Tell that an extent is zero now."""
        struct = {"dextid": dextid, "eventid": eventid}
        self._put(Notification(("shred", dextid), "notifyShredFinished", struct))

    def start(self) -> None:
        """Begin to tell, in a thread of its own."""
        threading.Thread(target=self._run, name="outbox", daemon=True).start()

    def _put(self, note: Notification) -> None:
        with self._changed:
            if note.key in self._notes:
                return
            if len(self._notes) >= LIMIT:
                logger.error("outbox is full; not told: %s %s", note.method, note.struct)
                return
            self._notes[note.key] = note
            self._changed.notify()

    def _run(self) -> None:
        pause = RETRY_SECONDS
        while True:
            with self._changed:
                while not self._notes:
                    self._changed.wait()
                note = next(iter(self._notes.values()))
            if self._tell(note):
                pause = RETRY_SECONDS
                with self._changed:
                    del self._notes[note.key]
            else:
                self._put_back(note)
                time.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_SECONDS)

    def _put_back(self, note: Notification) -> None:
        """Send the others first: the manager may refuse just this one."""
        with self._changed:
            self._notes[note.key] = self._notes.pop(note.key)

    def _tell(self, note: Notification) -> bool:
        """Tell one thing; False if it is to be told again."""
        try:
            self._manager.call(note.method, **note.struct)
        except NoManager as error:
            logger.warning("%s %s not told yet: %s", note.method, note.struct, error)
            return False
        except Fault as fault:
            logger.warning("%s %s refused: %d %s", note.method, note.struct, fault.errno, fault)
            return fault.errno not in (INTERNAL, errno.EAGAIN)
        except Exception:
            logger.exception("%s %s cannot be told", note.method, note.struct)
            return True
        logger.info("%s %s told", note.method, note.struct)
        return True
