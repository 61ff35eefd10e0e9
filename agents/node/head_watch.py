"""Watch the groups of a head: tell copies that went bad, bring back groups whose process died."""

import logging
from collections.abc import Callable

from agents.engines.base import EngineError, HeadEngine
from agents.protocol import GroupState, LegState

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
OWN_REASONS = {"connection", "io"}
"""Why a copy can fail by itself. The manager knows of those it left out or took away."""


class HeadWatch:
    """Looks every second at all groups."""

    def __init__(self, engine: HeadEngine, failed: Callable[[int, str], None]) -> None:
        self._engine = engine
        self._failed = failed
        self._told: set[tuple[int, int]] = set()
        self._revival_errors: dict[int, str] = {}

    def look(self) -> None:
        """Look once; each failure of a copy is told once."""
        faulty: set[tuple[int, int]] = set()
        for group in self._engine.groups():
            if not group.alive:
                self._revive(group)
            for copy in group.copies:
                if copy.state is LegState.FAULTY and copy.why in OWN_REASONS:
                    faulty.add((group.lvolid, copy.dextid))
                    self._tell(group.lvolid, copy.dextid, copy.why)
        self._told &= faulty

    def _tell(self, lvolid: int, dextid: int, why: str) -> None:
        if (lvolid, dextid) in self._told:
            return
        logger.warning("group %d: copy %d failed: %s", lvolid, dextid, why)
        self._told.add((lvolid, dextid))
        self._failed(dextid, why)

    def _revive(self, group: GroupState) -> None:
        try:
            self._engine.revive(group.lvolid)
        except EngineError as error:
            if self._revival_errors.get(group.lvolid) != str(error):
                logger.warning("group %d: not revived: %s", group.lvolid, error)
            self._revival_errors[group.lvolid] = str(error)
        else:
            self._revival_errors.pop(group.lvolid, None)
            logger.warning("group %d: its process had died and runs again", group.lvolid)
