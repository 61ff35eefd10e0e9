"""Fences: an agent refuses work for a stale epoch of a group, and for an older manager."""

import errno
import threading
from collections.abc import Mapping

from agents.errors import AgentError
from agents.node.state_store import StateStore
from agents.protocol import GroupFence

INCARNATION = "incarnation"
PAGE = 1000
"""Groups in one answer."""


class Stale(AgentError):
    """The order is older than what this node knows."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.ESTALE, message)


class Fences:
    """The lowest epoch allowed for each group, and the newest manager's incarnation."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._raising = threading.Lock()
        with store.reading() as connection:
            self._epochs: dict[int, int] = dict(
                connection.execute("SELECT lvolid, min_epoch FROM fences")
            )
        self.incarnation = int(store.fact(INCARNATION) or 0)

    def admit(self, incarnation: int) -> bool:
        """Refuse an older manager with Stale; tell whether this one is newer than all before."""
        if incarnation < self.incarnation:
            raise Stale(f"incarnation {incarnation} is older than {self.incarnation}")
        if incarnation == self.incarnation:
            return False
        self._store.learn(INCARNATION, str(incarnation))
        self.incarnation = incarnation
        return True

    def check(self, lvolid: int, epoch: int) -> None:
        """Refuse a stale epoch, one below the group's lowest, with Stale."""
        lowest = self._epochs.get(lvolid, 0)
        if epoch < lowest:
            raise Stale(f"epoch {epoch} of group {lvolid} is stale; {lowest} is the lowest")

    def lowest(self, lvolid: int) -> int:
        """Tell the lowest epoch allowed."""
        return self._epochs.get(lvolid, 0)

    @property
    def highest_group(self) -> int:
        """Tell the highest number of a group that was ever fenced here."""
        return max(self._epochs, default=0)

    def page(self, after: int) -> tuple[GroupFence, ...]:
        """Tell the lowest epochs of the next groups, by number."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT lvolid, min_epoch FROM fences WHERE lvolid > ? ORDER BY lvolid LIMIT ?",
                (after, PAGE),
            ).fetchall()
        return tuple(GroupFence(lvolid, epoch) for lvolid, epoch in rows)

    def fence_below(self, lvolid: int, epoch: int) -> None:
        """Make every epoch below this one stale, for ever; on return that is on stable storage."""
        self.fence_all_below({lvolid: epoch})

    def fence_all_below(self, epochs: Mapping[int, int]) -> None:
        """Do so for many groups at once."""
        if all(epoch <= self.lowest(lvolid) for lvolid, epoch in epochs.items()):
            return
        with self._raising:
            news = [item for item in epochs.items() if item[1] > self.lowest(item[0])]
            with self._store.transaction() as connection:
                connection.executemany("INSERT OR REPLACE INTO fences VALUES (?, ?)", news)
            self._epochs.update(news)
