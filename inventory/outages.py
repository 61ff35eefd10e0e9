"""Errors of the database that pass: it is locked, restarts, or chose to undo a transaction."""

import logging
import time
import traceback
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import TypeVar

from django.db import Error, close_old_connections, connection

from inventory import calls
from inventory.errors import TryAgain

logger = logging.getLogger(__name__)

T = TypeVar("T")

PASSING_SQLITE = {5, 6, 15}
"""BUSY, LOCKED, and PROTOCOL: others come first."""
PASSING_POSTGRESQL = ("08", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03", "57P05")
"""Connection lost; serialization, deadlock; all connections in use; a lock; shutdown and start."""
FIRST_PAUSE, MAX_PAUSE = 0.05, 1.0
_places = BoundedSemaphore(256)
"""Calls that wait for the database at once: each has a thread, and others are to be answered."""

AWAY = "the database is busy or away; nothing was changed: ask again later"
UNSURE = (
    "the connection to the database was lost while the change was being recorded: look whether it"
    " was, before you ask again"
)


def is_passing(error: Error) -> bool:
    """Tell whether the same may well succeed in a moment."""
    cause = error.__cause__ or error
    if (code := getattr(cause, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in PASSING_SQLITE
    if hasattr(cause, "sqlstate"):
        # The driver's own errors have no state: no connection, or one that is lost.
        kind = type(error).__name__
        state = cause.sqlstate
        return state.startswith(PASSING_POSTGRESQL) if state else kind in _OF_CONNECTIONS
    return "is locked" in str(error) or type(error).__name__ == "InterfaceError"


_OF_CONNECTIONS = ("OperationalError", "InterfaceError")


def is_unsure(error: Error) -> bool:
    """Tell whether the change may have been made: the answer to COMMIT did not arrive."""
    state = getattr(error.__cause__, "sqlstate", None)
    if connection.vendor == "sqlite" or (state and not state.startswith(("08", "57"))):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "_commit" for frame, _ in frames)


class Overlooked:
    """Goes on where the database fails for a moment: what is inside comes again."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Error) or not is_passing(error):
            return False
        recover()
        return True


def recover() -> None:
    """Let go of a connection that is lost; the next use makes a new one."""
    close_old_connections()


def ride_out(work: Callable[[], T], *, seconds: float, repeatable: bool) -> T:
    """Do it, and again while the database fails in passing, for so long or until the call's end.

    `work` is one transaction, or changes nothing: after an error nothing of it was kept, but where
    the answer to a COMMIT was lost. Then only what is `repeatable` is done again. TryAgain in the
    end.
    """
    end = calls.until(seconds)
    try:
        return work()
    except Error as error:
        _check(error, repeatable=repeatable)
    if not _places.acquire(blocking=False):
        raise TryAgain(AWAY)
    try:
        return _try_again(work, end, repeatable=repeatable)
    finally:
        _places.release()


def _try_again(work: Callable[[], T], end: float, *, repeatable: bool) -> T:
    pause = FIRST_PAUSE
    while time.monotonic() + pause < end:
        with calls.resting():
            time.sleep(pause)
        try:
            return work()
        except Error as error:
            _check(error, repeatable=repeatable)
        pause = min(2 * pause, MAX_PAUSE)
    raise TryAgain(AWAY)


def _check(error: Error, *, repeatable: bool) -> None:
    """Raise what does not pass; TryAgain where it is not known what became of the change."""
    if not is_passing(error) or connection.in_atomic_block:
        raise error
    logger.warning("the database fails, perhaps in passing: %s", str(error).strip())
    recover()
    if not repeatable and is_unsure(error):
        raise TryAgain(UNSURE)
