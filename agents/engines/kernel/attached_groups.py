"""The groups of this head that the kernel runs, and who looks after them."""

import logging
import threading
from collections.abc import Iterator

from agents.engines.kernel.group import KernelGroup
from agents.engines.kernel.head_place import HeadPlace
from agents.engines.kernel.initiator import Initiator
from agents.engines.kernel.probes import Servers
from agents.engines.kernel.rounds import Rounds
from agents.engines.userspace.head import state_file
from agents.engines.userspace.head.state_file import SavedGroup

logger = logging.getLogger(__name__)

VISIT_SECONDS = 10.0


class AttachedGroups:
    """Groups by number."""

    def __init__(self, place: HeadPlace) -> None:
        self._place = place
        self._initiator = Initiator(place.iscsi_port)
        self._servers = Servers()
        self._groups: dict[int, KernelGroup] = {}
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
        """Make a group of what is kept of it."""
        return KernelGroup(saved, self._place, self._initiator, self._servers)

    def put(self, group: KernelGroup) -> None:
        """Take a group in."""
        self._groups[group.lvolid] = group

    def drop(self, group: KernelGroup) -> None:
        """Forget a group."""
        if self._groups.get(group.lvolid) is group:
            del self._groups[group.lvolid]

    def watch(self) -> None:
        """Look after all of them from now on."""
        rounds = Rounds(lambda: self)
        threading.Thread(target=self._visit, name="kernel-servers", daemon=True).start()
        threading.Thread(target=rounds.run, name="kernel-rounds", daemon=True).start()

    def _visit(self) -> None:
        """Learn again and again which life storage servers are in, beside all that waits for it."""
        pause = threading.Event()
        while True:
            try:
                self._servers.visit([one for group in self for one in group.used])
            except Exception:
                logger.exception("storage servers not visited")
            pause.wait(VISIT_SECONDS)
