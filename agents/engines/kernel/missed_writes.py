"""What a mirror's replicas miss: md's bitmap is begun, kept honest, and used to catch them up."""

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import bitmap
from agents.engines.kernel.arrays import Array
from agents.engines.kernel.replica_set import ReplicaSet

logger = logging.getLogger(__name__)


class MissedWrites:
    """Knows of which replicas the bitmap tells all that they miss."""

    def __init__(self, array: Array, replicas: ReplicaSet, path: Path) -> None:
        self._array = array
        self._replicas = replicas
        self._path = path
        self._may_begin = True
        self._flushed = (0.0, "")
        self._traced: set[int] = set()

    def begin(self) -> None:
        """Note what is written, from a moment on at which all replicas are equal."""
        array = self._array
        if not self._may_begin or array.has_bitmap or array.copying() is not None:
            return
        if not array.is_equal:
            return
        try:
            bitmap.begin(array.name, self._path, self._replicas.size)
        except (EngineError, OSError) as error:
            self._may_begin = False
            logger.warning("%s: replicas are copied as a whole: %s", array.name, error)

    @property
    def is_begun(self) -> bool:
        """Tell whether there is nothing to `begin` any more."""
        return not self._may_begin or self._array.has_bitmap

    def wants_flush(self, written: str) -> bool:
        """Tell whether to `flush` now, given how much was written: another word each time."""
        at, before = self._flushed
        if written == before or time.monotonic() < at + bitmap.FLUSH_SECONDS:
            return False
        self._flushed = time.monotonic(), written
        return True

    def flush(self) -> None:
        """Have what was written brought to stable storage before its bits are cleared."""
        for one in self._replicas.good:
            with suppress(EngineError):  # one that is lost is found out soon
                self._replicas.device(one.dextid).flush()

    def trace(self, dextids: Iterable[int]) -> None:
        """Note that these were good until now: the bitmap has all that they miss from now on."""
        if self._array.has_bitmap:
            self._traced.update(dextids)

    def take(self, dextid: int) -> bool:
        """Tell whether a replica can be caught up by the bitmap; that is known only once."""
        known = dextid in self._traced and self._array.has_bitmap
        self._traced.discard(dextid)
        return known
