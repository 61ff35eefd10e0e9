"""The serving end's half of the NBD handshake, and what can be asked for in it."""

import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Protocol
from weakref import WeakValueDictionary

from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.loop.stream import Stream
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.nbd.budget import Budget
from agents.engines.userspace.nbd.tally import RequestTally

MAX_OPTION = 16 << 10
GREETING = messages.GREETING.pack(
    messages.NBD_MAGIC, messages.OPTION_MAGIC, messages.FIXED_NEWSTYLE | messages.NO_ZEROES
)
BLOCK_SIZES = struct.pack(">HIII", messages.INFO_BLOCK_SIZE, 1, 4096, messages.MAX_PAYLOAD)
ALLOCATION = messages.META_ALLOCATION.encode()


class ServedConnection(Protocol):
    """A client as those see it who serve the device."""

    device: messages.ServedDevice | None
    owns: bool

    def close(self, reason: str = "") -> None:
        """End the connection."""


class ExportTable:
    """What can be asked for by name, and who is connected.

    `bounded`: what the clients of a device hold is bounded. A data server's need not be: they are
    heads, which bound what they have under way. `instance` names the process to them, so that they
    know one that was started anew, and one that serves them no more, from one that was away. To
    ask for what is `lost` is to hear neither: that was taken from nobody. `tally` finds where the
    requests of a device are counted.
    """

    def __init__(
        self,
        find: Callable[[str], messages.ServedDevice | None],
        names: Callable[[], list[str]],
        *,
        bounded: bool = True,
        instance: str = "",
        tally: Callable[[messages.ServedDevice], RequestTally] | None = None,
    ) -> None:
        self.find = find
        self.tally = tally or (lambda _device: RequestTally())
        self.names = names
        self.instance = instance.encode()
        self.lost: set[str] = set()
        self._bounded = bounded
        self.connections: set[ServedConnection] = set()
        self._users: dict[messages.ServedDevice, set[ServedConnection]] = {}
        self._budgets: WeakValueDictionary[messages.ServedDevice, Budget] = WeakValueDictionary()

    def open(self, connection: ServedConnection, device: messages.ServedDevice) -> None:
        """Note that a connection has chosen its device."""
        connection.device = device
        self._users.setdefault(device, set()).add(connection)

    def budget(self, reactor: Reactor, device: messages.ServedDevice) -> Budget | None:
        """Find what all clients of a device share, those that are gone included."""
        if not self._bounded:
            return None
        budget = self._budgets.get(device)
        if budget is None:
            budget = self._budgets[device] = Budget(reactor)
        return budget

    def leave(self, connection: ServedConnection) -> None:
        """Note that a connection is gone."""
        self.connections.discard(connection)
        device = connection.device
        if device is not None:
            users = self._users[device]
            users.discard(connection)
            if not users:
                del self._users[device]

    def clients(self, device: messages.ServedDevice) -> int:
        """Count who has the device open."""
        return len(self._users.get(device, ()))

    def refusal(self, name: str) -> bytes:
        """Tell whoever asks for what is not served which process says so."""
        return b"" if name in self.lost else self.instance

    def disconnect(self, device: messages.ServedDevice, *, owners_only: bool = False) -> None:
        """End the connections to a device."""
        for connection in list(self._users.get(device, ())):
            if connection.owns or not owners_only:
                connection.close("no longer served")


class Handshake(Stream):
    """A connection until it has chosen its device."""

    def __init__(self, reactor: Reactor, sock: socket.socket, exports: ExportTable) -> None:
        super().__init__(reactor, sock)
        self.device: messages.ServedDevice | None = None
        self.owns = False
        self.structured = False
        self.allocation = False
        self._exports = exports
        self._own_asked = False
        self._pad = b""
        self._option = 0
        exports.connections.add(self)
        self.want(4, self._on_client_flags)
        self.begin()
        self._out.append(GREETING)
        # The next turn hears what a head has said already, so that one piece answers it all.
        reactor.after(0, self.push)

    def on_close(self, reason: str) -> None:  # noqa: ARG002 (who goes away is no news here)
        self._exports.leave(self)

    def serve(self) -> None:
        """Go over to requests."""
        raise NotImplementedError

    def _on_client_flags(self, place: int) -> None:
        (flags,) = struct.unpack_from(">I", self.reactor.scratch, place)
        self._pad = b"" if flags & messages.NO_ZEROES else bytes(124)
        self.want(messages.OPTION.size, self._on_option)

    def _on_option(self, place: int) -> None:
        magic, self._option, length = messages.OPTION.unpack_from(self.reactor.scratch, place)
        if magic != messages.OPTION_MAGIC or length > MAX_OPTION:
            self.close("not an option")
        elif length:
            self.want(length, partial(self._on_option_body, length))
        else:
            self._on_option_body(0, 0)

    def _on_option_body(self, length: int, place: int) -> None:
        body = bytes(self.reactor.scratch_view[place : place + length])
        self.want(messages.OPTION.size, self._on_option)
        answer = self._OPTIONS.get(self._option)
        if answer is None:
            self._reply(messages.REP_UNSUPPORTED)
            return
        try:
            answer(self, body)
        except (struct.error, UnicodeDecodeError):
            self._reply(messages.REP_INVALID)

    def _reply(self, kind: int, body: bytes = b"") -> None:
        head = messages.OPTION_REPLY.pack(
            messages.OPTION_REPLY_MAGIC, self._option, kind, len(body)
        )
        self.send(head + body)

    def _open_by_name(self, body: bytes) -> None:
        device = self._exports.find(body.decode())
        if device is None:
            self.close("no such export")
            return
        self.send(struct.pack(">QH", device.size, device.flags) + self._pad)
        self._serve(device)

    def _abort(self, _body: bytes) -> None:
        self._reply(messages.REP_ACK)
        self.push()
        self.close("the client gave up")

    def _list(self, _body: bytes) -> None:
        for name in self._exports.names():
            encoded = name.encode()
            self._reply(messages.REP_SERVER, struct.pack(">I", len(encoded)) + encoded)
        self._reply(messages.REP_ACK)

    def _open(self, body: bytes) -> None:
        name = _first_string(body).decode()
        device, instance = self._exports.find(name), self._exports.instance
        if device is None:
            self._reply(messages.REP_UNKNOWN, self._exports.refusal(name))
            return
        flags = device.flags | (messages.SENDS_DF if self.structured else 0)
        self._reply(
            messages.REP_INFO, struct.pack(">HQH", messages.INFO_EXPORT, device.size, flags)
        )
        if messages.INFO_BLOCK_SIZE in _wishes(body):
            self._reply(messages.REP_INFO, BLOCK_SIZES)
        if instance:
            self._reply(messages.REP_INFO, struct.pack(">H", messages.INFO_DESCRIPTION) + instance)
        self._reply(messages.REP_ACK)
        if self._option == messages.OPT_GO:
            self._serve(device)

    def _use_structured(self, body: bytes) -> None:
        if body:
            self._reply(messages.REP_INVALID)
            return
        self.structured = True
        self._reply(messages.REP_ACK)

    def _choose_contexts(self, body: bytes) -> None:
        name = _first_string(body)
        queries = _strings(body[4 + len(name) :])
        if not self.structured or self._exports.find(name.decode()) is None:
            self._reply(messages.REP_INVALID)
            return
        listing = self._option == messages.OPT_LIST_META
        wanted = ALLOCATION in queries or (listing and (not queries or b"base:" in queries))
        if not listing:
            self.allocation = wanted
        if wanted:
            self._reply(
                messages.REP_META, struct.pack(">I", messages.META_ALLOCATION_ID) + ALLOCATION
            )
        self._reply(messages.REP_ACK)

    def _ask_to_own(self, _body: bytes) -> None:
        self._own_asked = True
        self._reply(messages.REP_ACK)

    def _serve(self, device: messages.ServedDevice) -> None:
        if self._own_asked:
            self._exports.disconnect(device, owners_only=True)
            self.owns = True
            if isinstance(device, messages.Lingering):
                # What a thread still does for the former owner must not land later than ours.
                self.pause()
                device.when_idle(self.resume)
        self._exports.open(self, device)
        self.serve()

    _OPTIONS: ClassVar[dict[int, Callable[["Handshake", bytes], None]]] = {
        messages.OPT_EXPORT_NAME: _open_by_name,
        messages.OPT_ABORT: _abort,
        messages.OPT_LIST: _list,
        messages.OPT_INFO: _open,
        messages.OPT_GO: _open,
        messages.OPT_STRUCTURED_REPLY: _use_structured,
        messages.OPT_LIST_META: _choose_contexts,
        messages.OPT_SET_META: _choose_contexts,
        messages.OPT_OWN: _ask_to_own,
    }


def _first_string(body: bytes) -> bytes:
    (length,) = struct.unpack_from(">I", body)
    if 4 + length > len(body):
        raise struct.error("a string longer than its option")
    return body[4 : 4 + length]


def _wishes(body: bytes) -> tuple[int, ...]:
    """Read what a client asks to be told of an export, besides its size."""
    place = 4 + len(_first_string(body))
    (count,) = struct.unpack_from(">H", body, place)
    return struct.unpack_from(f">{count}H", body, place + 2)


def _strings(body: bytes) -> list[bytes]:
    (count,) = struct.unpack_from(">I", body)
    strings = []
    place = 4
    for _ in range(count):
        strings.append(_first_string(body[place:]))
        place += 4 + len(strings[-1])
    return strings
