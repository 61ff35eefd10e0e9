"""The manager's end: one typed method for each thing an agent can be told."""

import errno
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from agents.identity import Identity
from agents.protocol import (
    NODE,
    VERSION,
    AttachOrder,
    CancelOrder,
    ChecksumQuestion,
    ChecksumReply,
    DetachOrder,
    DiskContent,
    DiskQuestion,
    EvictOrder,
    ExportOrder,
    ExportReply,
    FenceQuestion,
    GroupFences,
    HeadState,
    LogQuestion,
    LogReply,
    MendOrder,
    NodeFigures,
    PathQuestion,
    PathReply,
    PullOrder,
    RebuildOrder,
    RelocateOrder,
    Report,
    ShredOrder,
    SnapshotOrder,
    StorageState,
    UnsnapshotOrder,
    VerifyOrder,
    VerifyReply,
)
from agents.struct_codec import Malformed, from_struct, to_struct
from agents.transport import Deadline, Endpoint, Unreachable, call
from agents.xmlrpc import Fault

__all__ = ["AgentUnreachable", "Fault", "HeadAgent", "Malformed", "StorageAgent"]

QUICK = 2.0
SYNCHRONOUS = 10.0
ASSEMBLY = 25.0
"""Agents answer after 20 s at the latest, then with RUNNING."""

ERRNOS = {*errno.errorcode, 500}
"""What an agent may refuse with; 500 is a defect of its own."""

T = TypeVar("T")


class AgentUnreachable(Unreachable):
    """The agent did not answer in time on any of its addresses. It may have done the work."""


class _Agent:
    """An agent with one or two addresses; the one that answered last is tried first.

    Where it told who it is, no other node takes an order for it, whoever has its addresses now.
    """

    _answered: ClassVar[dict[tuple[Endpoint, ...], Endpoint]] = {}

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        timeout: float | None = None,
        identity: Identity | None = None,
        node_uuid: str = "",
    ) -> None:
        self._meant = {NODE: node_uuid} if node_uuid else {}
        secure = identity.calling if identity else None
        peers = (Endpoint(address, port, secure=secure) for address in addresses)
        self._peers = tuple(dict.fromkeys(peers))
        self._timeout = timeout

    def report(self, eventid: int, order: int) -> Report:
        """Ask what became of an order."""
        return self._ask(Report, "report", {"eventid": eventid, "order": order}, QUICK)

    def acknowledge(self, eventids: Sequence[int]) -> None:
        """Let the agent forget the results of these events."""
        self._call("acknowledge", {"eventids": list(eventids)}, QUICK)

    def fences(self, question: FenceQuestion) -> GroupFences:
        """Ask for a page of the lowest epochs that the node allows."""
        return self._ask(GroupFences, "fences", question, SYNCHRONOUS)

    def figures(self) -> NodeFigures:
        """Ask what was asked of its volumes or disks; ENOSYS of an agent older than 5.1."""
        return self._ask(NodeFigures, "figures", {}, QUICK)

    def logs(self, question: LogQuestion) -> LogReply:
        """Ask for the ends of the node's logs; ENOSYS of an agent of an older release."""
        return self._ask(LogReply, "logs", question, SYNCHRONOUS)

    def cancel(self, order: CancelOrder) -> None:
        """Stop a running rebuild, pull or shred."""
        self._call("cancel", order, QUICK)

    def _ask(self, kind: type[T], method: str, order: Any, timeout: float) -> T:
        return from_struct(kind, self._call(method, order, timeout))

    def _call(self, method: str, order: Any, timeout: float) -> Any:
        """Try each address within one deadline. Orders are idempotent: a second try is safe."""
        if not self._peers:
            raise AgentUnreachable("it has no address: another node has taken them")
        struct = {**to_struct(order), **self._meant, "ver": VERSION}
        timeout = timeout if self._timeout is None else self._timeout
        deadline = Deadline(timeout)
        failures = []
        peers = self._peers_in_turn()
        for left, peer in zip(range(len(peers), 0, -1), peers, strict=True):
            try:
                answer = _told(peer, method, struct, deadline, timeout / left)
            except Unreachable as error:
                failures.append(str(error))
            else:
                self._answered[self._peers] = peer
                return answer
        self._answered[self._peers] = peers[-1]  # the first may have had all the time
        raise AgentUnreachable("; ".join(failures))

    def _peers_in_turn(self) -> list[Endpoint]:
        first = self._answered.get(self._peers)
        return sorted(self._peers, key=lambda peer: peer != first)


def _told(
    peer: Endpoint, method: str, struct: Any, deadline: Deadline, connect_timeout: float
) -> Any:
    try:
        return call(
            peer, f"vastsky.{method}", struct, deadline=deadline, connect_timeout=connect_timeout
        )
    except Fault as fault:
        if fault.errno == errno.EREMCHG:
            raise Unreachable(f"{peer}: another node answers there: {fault}") from None
        if fault.errno not in ERRNOS:
            raise Malformed(f"{peer} refused with {fault.errno}, which is no errno") from None
        raise


class HeadAgent(_Agent):
    """The agent of a head server."""

    def state(self) -> HeadState:
        """Ask for all that the head runs."""
        return self._ask(HeadState, "state", {}, QUICK)

    def paths(self, question: PathQuestion) -> PathReply:
        """Ask how far storage servers are from the head; one of an older version: ENOSYS."""
        return self._ask(PathReply, "paths", question, QUICK)

    def attach(self, order: AttachOrder) -> Report:
        """Assemble a group and publish its devices."""
        return self._ask(Report, "attach", order, ASSEMBLY)

    def detach(self, order: DetachOrder) -> Report:
        """Take a group down."""
        return self._ask(Report, "detach", order, ASSEMBLY)

    def snapshot(self, order: SnapshotOrder) -> Report:
        """Freeze the origin's content as a new device of an attached group."""
        return self._ask(Report, "snapshot", order, ASSEMBLY)

    def unsnapshot(self, order: UnsnapshotOrder) -> Report:
        """Take a snapshot away from an attached group."""
        return self._ask(Report, "unsnapshot", order, ASSEMBLY)

    def rebuild(self, order: RebuildOrder) -> Report:
        """Start to bring a replica into sync."""
        return self._ask(Report, "rebuild", order, SYNCHRONOUS)

    def relocate(self, order: RelocateOrder) -> None:
        """Tell a group whose process is dead where its replicas are now."""
        self._call("relocate", order, QUICK)

    def verify(self, order: VerifyOrder) -> VerifyReply:
        """Compare blocks of an attached mirror's replicas, and mend them if the order says so."""
        return self._ask(VerifyReply, "verify", order, ASSEMBLY)


class StorageAgent(_Agent):
    """The agent of a storage server."""

    def state(self) -> StorageState:
        """Ask for all that the storage server has and serves."""
        return self._ask(StorageState, "state", {}, QUICK)

    def export(self, order: ExportOrder) -> ExportReply:
        """Evict older epochs, serve these extents, and tell their marks."""
        return self._ask(ExportReply, "export", order, SYNCHRONOUS)

    def evict(self, order: EvictOrder) -> None:
        """Serve the group no more; on return no write of it is in flight."""
        self._call("evict", order, SYNCHRONOUS)

    def shred(self, order: ShredOrder) -> Report:
        """Start to zero an extent."""
        return self._ask(Report, "shred", order, SYNCHRONOUS)

    def content(self, question: DiskQuestion) -> DiskContent:
        """Ask for a page of what lies on a disk."""
        return self._ask(DiskContent, "content", question, SYNCHRONOUS)

    def pull(self, order: PullOrder) -> Report:
        """Start to copy an extent from another storage server."""
        return self._ask(Report, "pull", order, SYNCHRONOUS)

    def checksums(self, question: ChecksumQuestion) -> ChecksumReply:
        """Ask for the digests of a part of an extent."""
        return self._ask(ChecksumReply, "checksums", question, SYNCHRONOUS)

    def mend(self, order: MendOrder) -> None:
        """Have blocks of a detached replica made like another's; on return they are durable."""
        self._call("mend", order, ASSEMBLY)
