"""A write of a mirror, from its arrival to its answer."""

from typing import TYPE_CHECKING, Any

from agents.engines.userspace.nbd import messages

if TYPE_CHECKING:
    from agents.engines.userspace.mirror.live_replica import LiveReplica


class MirrorWrite:
    """A write under way on the replicas, with all that it takes to send it again.

    `good`: the good replicas that have it; `short`: one may lack it whose connection was lost.
    """

    __slots__ = (
        "changes",
        "command",
        "data",
        "done",
        "flags",
        "good",
        "left",
        "length",
        "offset",
        "short",
        "ticket",
    )

    def __init__(
        self,
        ticket: int,
        command: int,
        offset: int,
        length: int,
        data: Any,
        flags: int,
        done: messages.Done,
    ) -> None:
        self.ticket = ticket
        self.command = command
        self.offset = offset
        self.length = length
        self.data = data
        self.flags = flags
        self.done = done
        self.changes = self.left = 0
        self.short = False
        self.good: list[LiveReplica] = []
