"""The serving end of NBD: listeners, and requests answered out of order."""

import errno
import os
import socket
import struct
from functools import partial
from pathlib import Path
from typing import Any

from agents.engines.base import DeviceAccess
from agents.engines.userspace.loop.reactor import IN, Reactor
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.nbd.budget import REQUEST_BYTES, Budget
from agents.engines.userspace.nbd.handshake import ExportTable, Handshake
from agents.engines.userspace.nbd.tally import TIMED, RequestTally

MODIFIES = frozenset((messages.WRITE, messages.TRIM, messages.WRITE_ZEROES))
SERVED = frozenset(
    (
        messages.READ,
        messages.WRITE,
        messages.FLUSH,
        messages.TRIM,
        messages.WRITE_ZEROES,
        messages.BLOCK_STATUS,
    )
)

NOTHING = RequestTally()
"""Of a connection that has not asked for a device yet, and is not counted."""
FILLS = frozenset((messages.WRITE, messages.WRITE_ZEROES))
"""Beyond the end there is no space for these; the others are invalid there."""
FLAGS = {
    messages.READ: messages.WITHOUT_FRAGMENTS,
    messages.WRITE_ZEROES: messages.NO_HOLE,
    messages.BLOCK_STATUS: messages.REQUEST_ONE,
}
"""Beside FUA, which may be given with any."""
CARRIES = frozenset((messages.READ, messages.WRITE))

Address = tuple[str, int] | str


Request = tuple[int, int, int, int, int, int]
"""Flags, command, cookie, offset, length, and what it costs in memory until its answer is taken.

No named tuple: to make one takes ten times as long, and each request makes one at every replica.
"""


class Listener:
    """Accepts connections on one address, or on the path of a unix socket."""

    def __init__(
        self,
        reactor: Reactor,
        address: Address,
        exports: ExportTable,
        access: DeviceAccess | None = None,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._exports = exports
        if isinstance(address, str):
            self._socket = _listen_on_path(address, access or DeviceAccess())
        else:
            self._socket = socket.create_server(address, backlog=4096)
        self._socket.settimeout(0)
        reactor.watch(self._socket.fileno(), IN, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self._reactor.forget(self._socket.fileno())
        self._socket.close()
        if isinstance(self._address, str):
            os.unlink(self._address)

    def _accept(self, _mask: int) -> None:
        for _ in range(64):
            try:
                sock, _peer = self._socket.accept()
            except OSError:
                return
            ServerConnection(self._reactor, sock, self._exports)


def _listen_on_path(path: str, access: DeviceAccess) -> socket.socket:
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    access.apply(Path(path))  # nobody can connect before it listens
    listener.listen(128)
    return listener


class ServerConnection(Handshake):
    """One client of one device."""

    def __init__(self, reactor: Reactor, sock: socket.socket, exports: ExportTable) -> None:
        self.held = 0
        self._budget: Budget | None = None
        self._tally = NOTHING
        self._request: Request = (0, 0, 0, 0, 0, 0)
        self._payload = bytearray()
        self._owed = 0
        self._took = reactor.now
        self._flags: dict[int, int] = {}
        super().__init__(reactor, sock, exports)

    def serve(self) -> None:
        """Go over to requests."""
        assert self.device is not None  # noqa: S101 - it was chosen just now
        self._budget = self._exports.budget(self.reactor, self.device)
        if self._budget is not None:
            self._budget.enter(self)
        self._tally = self._exports.tally(self.device)
        self._flags = {command: self._flags_of(self.device, command) for command in SERVED}
        self.want(messages.REQUEST.size, self._on_request)

    def on_close(self, reason: str) -> None:
        super().on_close(reason)
        if self._budget is not None:
            self._budget.leave(self)
            self._give(self._owed)
            self._owed = 0

    def is_deaf(self, seconds: float) -> bool:
        """Tell whether it has answers to take and took none for so long."""
        return bool(self._owed) and self.reactor.now - self._took > seconds

    def go_on(self) -> None:
        """Take the request that waited for room."""
        if self.closed:
            self._give(self._request[-1])
            return
        self._begin()
        self.resume()

    def _on_request(self, place: int) -> None:
        magic, flags, command, cookie, offset, length = messages.REQUEST.unpack_from(
            self.reactor.scratch, place
        )
        if magic != messages.REQUEST_MAGIC:
            self.close("not a request")
        elif command == messages.WRITE and length > messages.MAX_PAYLOAD:
            self.close("a write that is too long")
        elif command == messages.DISCONNECT:
            self.close("the client said goodbye")
        else:
            budget, size = self._budget, 0
            if budget is not None:
                size = REQUEST_BYTES + (length if command in CARRIES else 0)
            self._request = (flags, command, cookie, offset, length, size)
            if budget is None or budget.take(self, size):
                self._begin()
            else:
                self.pause()

    def _begin(self) -> None:
        _, command, _, _, length, _ = self._request
        if command == messages.WRITE:
            self._payload = bytearray(length)
            self.into(memoryview(self._payload), self._on_payload)
        else:
            self._submit(self._request, None)

    def _on_payload(self) -> None:
        payload, self._payload = self._payload, bytearray()
        self._submit(self._request, payload)

    def _submit(self, request: Request, data: Any) -> None:
        device = self.device
        if device is None:
            return
        flags, command, cookie, offset, length, size = request
        error = self._refusal(device, flags, command, offset, length)
        answer = partial(self._answer, command, cookie, offset, size)
        tally = self._tally
        if error:
            tally.refused[command] += 1
            answer(error, None)
            return
        number = tally.requests[command] = tally.requests[command] + 1
        tally.bytes[command] += length
        if number & TIMED == 1:
            answer = partial(self._answer_timed, answer, command, self.reactor.now)
        device.submit(command, offset, length, data, flags, answer)

    def _refusal(
        self, device: messages.ServedDevice, flags: int, command: int, offset: int, length: int
    ) -> int:
        allowed = self._flags.get(command)
        if allowed is None or flags & ~allowed:
            return errno.EINVAL
        if command == messages.FLUSH:
            return 0
        if command in MODIFIES and device.flags & messages.READ_ONLY:
            return errno.EPERM
        if not length:
            return errno.EINVAL
        if offset + length > device.size:
            return errno.ENOSPC if command in FILLS else errno.EINVAL
        too_long = command == messages.READ and length > messages.MAX_PAYLOAD
        unasked = command == messages.BLOCK_STATUS and not self.allocation
        return errno.EINVAL if too_long or unasked else 0

    def _flags_of(self, device: messages.ServedDevice, command: int) -> int:
        """Tell which flags a client may give with a command: those that were offered."""
        flags = FLAGS.get(command, 0) | messages.FUA
        if not device.flags & messages.SENDS_FUA:
            flags &= ~messages.FUA
        return flags if self.structured else flags & ~messages.WITHOUT_FRAGMENTS

    def _answer_timed(
        self, answer: messages.Done, command: int, began: float, error: int, data: Any
    ) -> None:
        self._tally.time(command, self.reactor.now - began)
        answer(error, data)

    def _answer(
        self, command: int, cookie: int, offset: int, size: int, error: int, data: Any
    ) -> None:
        if error:
            self._tally.failed[command] += 1
        if self.closed:
            self._give(size)
            return
        if size:
            self._owe(size)
        if command == messages.WRITE:  # first: most are
            self.send(messages.SIMPLE_REPLY.pack(messages.SIMPLE_REPLY_MAGIC, error, cookie))
        elif command == messages.READ and self.structured:
            self._answer_chunk(cookie, offset, error, data)
        elif command == messages.READ and not error:
            self.send(messages.SIMPLE_REPLY.pack(messages.SIMPLE_REPLY_MAGIC, 0, cookie), data)
        elif command == messages.BLOCK_STATUS and not error:
            body = struct.pack(">I", messages.META_ALLOCATION_ID) + b"".join(
                struct.pack(">II", length, state) for length, state in data
            )
            self.send(_chunk(messages.CHUNK_STATUS, cookie, len(body)) + body)
        elif command == messages.BLOCK_STATUS:
            self._answer_chunk(cookie, offset, error, None)
        else:
            self.send(messages.SIMPLE_REPLY.pack(messages.SIMPLE_REPLY_MAGIC, error, cookie))

    def _owe(self, size: int) -> None:
        """What a request took is held until the client has taken its answer.

        A write's payload is gone by then; its room is given back at the end of this turn, as the
        socket mostly takes the answer at once, and one sum a turn is cheaper than one an answer.
        """
        if not self._owed:
            self._took = self.reactor.now
        self._owed += size

    def _sent(self, sent: int) -> None:
        super()._sent(sent)
        owed = self._owed
        if owed:
            self._took = self.reactor.now
            given = min(sent, owed) if self._out else owed
            self._owed = owed - given
            self._give(given)

    def _give(self, size: int) -> None:
        if size and self._budget is not None:
            self._budget.give(self, size)

    def _answer_chunk(self, cookie: int, offset: int, error: int, data: Any) -> None:
        if error:
            self.send(_chunk(messages.CHUNK_ERROR + 1, cookie, 6) + struct.pack(">IH", error, 0))
        else:
            head = _chunk(messages.CHUNK_DATA, cookie, 8 + len(data))
            self.send(head + struct.pack(">Q", offset), data)


def _chunk(kind: int, cookie: int, length: int) -> bytes:
    return messages.CHUNK.pack(messages.CHUNK_MAGIC, messages.CHUNK_DONE, kind, cookie, length)
