"""A simulated node: a real XML-RPC server on loopback, and what may become of it."""

import errno
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from agents.io_figures import IoFigures, VolumeOnHead, write_line, write_shown
from agents.protocol import (
    NODE,
    AttachOrder,
    ChecksumQuestion,
    DetachOrder,
    DiskQuestion,
    EvictOrder,
    ExportOrder,
    FenceQuestion,
    LogQuestion,
    LogReply,
    LogText,
    MendOrder,
    NodeFigures,
    PathQuestion,
    Progress,
    PullOrder,
    RebuildOrder,
    RelocateOrder,
    Report,
    ShredOrder,
    SnapshotOrder,
    UnsnapshotOrder,
    VerifyOrder,
)
from agents.struct_codec import from_struct, to_struct

if TYPE_CHECKING:
    from tests.jobs.simulator import SimulatedWorld

ORDERS: dict[str, Any] = {
    "export": ExportOrder,
    "evict": EvictOrder,
    "shred": ShredOrder,
    "pull": PullOrder,
    "content": DiskQuestion,
    "fences": FenceQuestion,
    "attach": AttachOrder,
    "detach": DetachOrder,
    "snapshot": SnapshotOrder,
    "unsnapshot": UnsnapshotOrder,
    "rebuild": RebuildOrder,
    "relocate": RelocateOrder,
    "checksums": ChecksumQuestion,
    "mend": MendOrder,
    "verify": VerifyOrder,
    "paths": PathQuestion,
    "logs": LogQuestion,
}
UNNOTED = ("paths", "logs")
"""Questions that are asked all the time, or of everybody."""


class _Server(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ()
    timeout = 5


@dataclass
class Node:
    """A machine that can be up, dead (refuses) or hung (accepts and never answers)."""

    world: "SimulatedWorld"
    address: str
    port: int
    log: list[tuple[str, Any]] = field(default_factory=list)
    reports: dict[tuple[int, int], Report] = field(default_factory=dict)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    babbles: bool = False
    server_id: int = 0
    node_uuid: str = ""
    said: str = "listening\n"
    figures: list[IoFigures] = field(default_factory=list)
    shown: list[VolumeOnHead] = field(default_factory=list)
    _server: _Server | None = None
    _hung: socket.socket | None = None

    def start(self) -> None:
        self._server = _Server(
            (self.address, self.port), _Handler, logRequests=False, allow_none=False
        )
        self._server.register_instance(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _dispatch(self, method: str, params: tuple[Any, ...]) -> Any:
        """Called by SimpleXMLRPCServer for every request."""
        name = method.removeprefix("vastsky.")
        struct = params[0]
        if self.babbles:
            return {"x": ["nonsense", 1]}
        if self.node_uuid and struct.get(NODE, self.node_uuid) != self.node_uuid:
            raise Fault(errno.EREMCHG, f"this is node {self.node_uuid}")
        if name in self.refuse:
            raise Fault(*self.refuse[name])
        if name == "report":
            key = (struct["eventid"], struct["order"])
            unknown = Report(*key, Progress.UNKNOWN)
            return to_struct(self.reports.get(key, unknown))
        if name in {"acknowledge", "cancel"}:
            return 0
        kind = ORDERS.get(name)
        order = from_struct(kind, struct) if kind else None
        if order is not None and name not in UNNOTED:
            self.log.append((name, order))
        with self.world.lock:
            answer = getattr(self, f"on_{name}")(order)
        return 0 if answer is None else to_struct(answer)

    def on_logs(self, question: LogQuestion) -> LogReply:
        return LogReply((LogText("agent.log", self.said[-question.most_bytes :]),))

    def on_figures(self, _: None) -> NodeFigures:
        shown = tuple(map(write_shown, self.shown))
        return NodeFigures(tuple(map(write_line, self.figures)), "/dev/vas", shown)

    def die(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._hung:
            self._hung.close()
            self._hung = None

    def move(self, address: str) -> None:
        self.die()
        self.address = address
        self.start()

    def hang(self) -> None:
        self.die()
        self._hung = socket.create_server((self.address, self.port), reuse_port=False)

    def babble(self) -> None:
        self.babbles = True

    def told(self, method: str) -> list[Any]:
        return [order for name, order in self.log if name == method]

    def journal(self, order: Any, answer: Callable[[], Report]) -> Report:
        key = (order.eventid, order.order)
        if key not in self.reports:
            self.reports[key] = answer()
        return self.reports[key]
