"""A replica went out of sync: others must be marked before any write is acknowledged."""

import errno
from collections.abc import Callable, Coroutine

from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.nbd import messages


class Settlement:
    """A mirror's event count, and the answers that wait until it is on replicas and disk."""

    __slots__ = ("_again", "_held", "_mark", "_save", "events", "under_way", "unsettled")

    def __init__(
        self, mark: Callable[[], Coroutine[Future, None, int]], save: Callable[[], Future]
    ) -> None:
        self._mark = mark
        self._save = save
        self._again = False
        self._held: list[tuple[messages.Done, int]] = []
        self.events = 0
        self.under_way = False
        self.unsettled = False

    def begin(self, *, save: bool = True) -> None:
        """Raise the event count and hold acknowledgements until it is known.

        Without `save` the caller puts it on disk, before a client can write: for many at once.
        """
        self._again = True
        if not self.under_way:
            self.under_way = True
            LoopTask(self._settle(save=save))

    async def _settle(self, *, save: bool) -> None:
        marked = unsaved = 0
        while self._again:
            self._again = False
            self.events += 1
            marked = await self._mark()
            if save:
                unsaved, _ = await self._save()
        self.under_way = False
        self.unsettled = not marked or bool(unsaved)
        held, self._held = self._held, []
        for done, error in held:
            done(errno.EIO if self.unsettled else error, None)

    def acknowledge(self, done: messages.Done, error: int) -> None:
        """Answer now, or once it is settled; EIO if no good replica could be marked, or nothing
        saved.

        Then nothing is acknowledged until that succeeds: each that asks has it tried again.
        """
        if self.under_way or (self.unsettled and not error):
            self._held.append((done, error))
            if not self.under_way:
                self.begin()
        else:
            done(error, None)

    def settled(self) -> Future:
        """Give a reply that comes once it is settled."""
        settled = Future()
        self.acknowledge(settled, 0)
        return settled
