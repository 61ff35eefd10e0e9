"""The groups of this head that the kernel runs, and looking after each of them again and again."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from agents.engines.kernel.group import KernelGroup
from agents.engines.kernel.head_place import HeadPlace
from agents.engines.kernel.initiator import Initiator
from agents.engines.kernel.servers import Servers
from agents.engines.userspace.head import state_file
from agents.engines.userspace.head.state_file import SavedGroup

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
REST = 4
"""So many times as long as a look took of a processor the next one waits, at least."""
VISIT_SECONDS = 10.0


class AttachedGroups:
    """Groups by number. Each is looked after by a thread of its own: none waits for another."""

    def __init__(self, place: HeadPlace) -> None:
        self._place = place
        self._initiator = Initiator(place.iscsi_port)
        self._servers = Servers()
        self._groups: dict[int, KernelGroup] = {}
        self._watching = False
        place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in sorted(place.folder.iterdir()):
            saved = state_file.read_state(str(folder))
            if saved is not None and not saved.ended:
                self.put(self.make(saved))

    def __iter__(self) -> Iterator[KernelGroup]:
        return iter(list(self._groups.values()))

    def find(self, lvolid: int) -> KernelGroup | None:
        """Find a group that was attached and not detached."""
        return self._groups.get(lvolid)

    def make(self, saved: SavedGroup) -> KernelGroup:
        """Make a group of what is kept of it; its snapshots are no affair of this engine."""
        saved = replace(saved, devices=saved.devices[:1])
        return KernelGroup(saved, self._place, self._initiator, self._servers)

    def put(self, group: KernelGroup) -> None:
        """Take a group in."""
        self._groups[group.lvolid] = group
        if self._watching:
            self._look_after(group)

    def drop(self, group: KernelGroup) -> None:
        """Forget a group."""
        if self._groups.get(group.lvolid) is group:
            del self._groups[group.lvolid]

    def watch(self) -> None:
        """Look after all of them from now on."""
        self._watching = True
        threading.Thread(target=self._visit, name="kernel-servers", daemon=True).start()
        for group in self:
            self._look_after(group)

    def _look_after(self, group: KernelGroup) -> None:
        name = f"kernel-group-{group.lvolid}"
        threading.Thread(target=self._keep_looking, args=(group,), name=name, daemon=True).start()

    def _keep_looking(self, group: KernelGroup) -> None:
        pause = threading.Event()
        while self._groups.get(group.lvolid) is group:
            spent = time.thread_time()
            try:
                self._look(group)
            except Exception:
                logger.exception("group %d: not looked after", group.lvolid)
            spent = time.thread_time() - spent
            pause.wait(max(LOOK_SECONDS, spent * REST))

    def _look(self, group: KernelGroup) -> None:
        """Look once, unless the group is being changed just now."""
        if group.changing.acquire(blocking=False):
            try:
                if self._groups.get(group.lvolid) is group:
                    group.look()
            finally:
                group.changing.release()

    def _visit(self) -> None:
        """Learn again and again which life storage servers are in, beside all that waits for it."""
        pause = threading.Event()
        while True:
            try:
                self._servers.visit([one for group in self for one in group.used])
            except Exception:
                logger.exception("storage servers not visited")
            pause.wait(VISIT_SECONDS)
