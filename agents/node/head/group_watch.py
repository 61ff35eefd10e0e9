"""Watch the groups of a head: tell replicas that went bad, bring back groups whose process died."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from agents.engines.base import HeadEngine
from agents.errors import AgentError
from agents.protocol import GroupState, Reason, ReplicaState

logger = logging.getLogger(__name__)

OWN_REASONS = frozenset({Reason.CONNECTION, Reason.IO})
"""Why a replica can fail by itself. The manager knows of those it left out or took away."""
REVIVAL_PAUSE = 5.0


class GroupWatch:
    """Looks every second at all groups."""

    def __init__(
        self,
        engine: HeadEngine,
        failed: Callable[[int, str], None],
        may_revive: Callable[[int], bool],
    ) -> None:
        self._engine = engine
        self._may_revive = may_revive
        self._failed = failed
        self._told: set[tuple[int, int]] = set()
        self._reviving: set[int] = set()

    def look(self, groups: Iterable[GroupState]) -> None:
        """Look once; each failure of a replica is told once."""
        faulty: set[tuple[int, int]] = set()
        for group in groups:
            if not group.alive and self._may_revive(group.lvolid):
                self._revive_soon(group.lvolid)
            for replica in group.replicas:
                if replica.state is ReplicaState.FAULTY and replica.reason in OWN_REASONS:
                    faulty.add((group.lvolid, replica.dextid))
                    self._tell(group.lvolid, replica.dextid, str(replica.reason))
        self._told &= faulty

    def _tell(self, lvolid: int, dextid: int, reason: str) -> None:
        if (lvolid, dextid) in self._told:
            return
        logger.warning("group %d: replica %d failed: %s", lvolid, dextid, reason)
        self._told.add((lvolid, dextid))
        self._failed(dextid, reason)

    def _revive_soon(self, lvolid: int) -> None:
        """Revive in a thread of its own: it may take long, and other groups are watched too."""
        if lvolid not in self._reviving:
            self._reviving.add(lvolid)
            name = f"revive-{lvolid}"
            threading.Thread(target=self._revive, args=(lvolid,), name=name, daemon=True).start()

    def _revive(self, lvolid: int) -> None:
        try:
            self._engine.revive(lvolid)
            logger.warning("group %d: its process had died and runs again", lvolid)
        except AgentError as error:
            logger.warning("group %d: not revived: %s", lvolid, error)
            time.sleep(REVIVAL_PAUSE)
        except Exception:
            logger.exception("group %d: not revived", lvolid)
            time.sleep(REVIVAL_PAUSE)
        finally:
            self._reviving.discard(lvolid)
