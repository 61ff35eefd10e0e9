"""An NBD client of the tests' own: one request at a time, no code shared with the engine."""

import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, ZEROES = range(7)
FUA = 1
OPTION = 0x49484156454F5054
BLOCK = 4096


class NbdError(OSError):
    """The server answered a request with an errno."""


class NbdClient:
    """One connection to an export."""

    def __init__(
        self,
        where: Path | tuple[str, int],
        export: str = "",
        timeout: float = 20,
        *,
        owns: bool = False,
    ) -> None:
        if isinstance(where, Path):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET)
        self.socket.settimeout(timeout)
        self.cookie = 0
        try:
            self.socket.connect(str(where) if isinstance(where, Path) else where)
            self._handshake(export.encode(), owns=owns)
        except BaseException:
            self.socket.close()
            raise

    def _handshake(self, export: bytes, *, owns: bool) -> None:
        self.receive(18)
        body = struct.pack(">I", len(export)) + export + struct.pack(">H", 0)
        own = struct.pack(">QII", OPTION, 0x56410001, 0) if owns else b""
        go = struct.pack(">QII", OPTION, 7, len(body)) + body
        self.socket.sendall(struct.pack(">I", 3) + own + go)
        if owns:
            assert struct.unpack(">QIII", self.receive(20))[2] == 1
        while True:
            _, _, kind, length = struct.unpack(">QIII", self.receive(20))
            answer = self.receive(length)
            if kind >> 31:
                raise ConnectionRefusedError(f"export refused: {kind & 0xFF}")
            if kind == 3 and answer[:2] == b"\0\0":
                self.size, self.flags = struct.unpack(">QH", answer[2:12])
            if kind == 1:
                return

    def receive(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                raise ConnectionResetError("the server closed the connection")
            data += piece
        return bytes(data)

    def request(
        self, command: int, offset: int, length: int, data: bytes = b"", flags: int = 0
    ) -> bytes:
        """Send one request and wait for its reply."""
        self.cookie += 1
        head = struct.pack(">IHHQQI", 0x25609513, flags, command, self.cookie, offset, length)
        self.socket.sendall(head + data)
        magic, error, cookie = struct.unpack(">IIQ", self.receive(16))
        assert (magic, cookie) == (0x67446698, self.cookie)
        if error:
            raise NbdError(error, "refused by the server")
        return self.receive(length) if command == READ else b""

    def read(self, offset: int, length: int) -> bytes:
        return self.request(READ, offset, length)

    def write(self, offset: int, data: bytes, flags: int = 0) -> None:
        self.request(WRITE, offset, len(data), data, flags)

    def flush(self) -> None:
        self.request(FLUSH, 0, 0)

    def trim(self, offset: int, length: int) -> None:
        self.request(TRIM, offset, length)

    def zero(self, offset: int, length: int) -> None:
        self.request(ZEROES, offset, length)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class CheckedLoad:
    """Writes without pause from a thread and remembers what was acknowledged."""

    def __init__(self, where: Path, blocks: int, stride: int = 1) -> None:
        self.where = where
        self.blocks = blocks
        self.stride = stride
        self.acknowledged: dict[int, int] = {}
        self.uncertain: dict[int, set[int]] = {}
        self.errors = 0
        self.longest = 0.0
        self.writes = 0
        self._going = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with NbdClient(self.where, timeout=30) as client:
            while self._going:
                self.writes += 1
                block = self.writes * 7919 % self.blocks
                began = time.monotonic()
                try:
                    client.write(block * self.stride * BLOCK, content(block, self.writes))
                except NbdError:
                    self.errors += 1
                    self.uncertain.setdefault(block, set()).add(self.writes)
                except ConnectionError:
                    self.uncertain.setdefault(block, set()).add(self.writes)
                    return
                else:
                    self.acknowledged[block] = self.writes
                    self.uncertain.pop(block, None)
                self.longest = max(self.longest, time.monotonic() - began)

    def stop(self) -> None:
        self._going = False
        self._thread.join()

    def wait_for(self, writes: int) -> None:
        """Wait until so many more writes were begun."""
        wanted = self.writes + writes
        deadline = time.monotonic() + 20
        while self.writes < wanted:
            assert time.monotonic() < deadline, "the load does not get on"
            time.sleep(0.002)

    def lost(self, where: Path | tuple[str, int], export: str = "") -> list[int]:
        """List acknowledged blocks that read as something else."""
        lost = []
        with NbdClient(where, export) as client:
            for block, version in self.acknowledged.items():
                right = {version, *self.uncertain.get(block, ())}
                found = client.read(block * self.stride * BLOCK, BLOCK)
                if found not in {content(block, one) for one in right}:
                    lost.append(block)
        return lost


def content(block: int, version: int) -> bytes:
    """Make a block that tells which write it is from."""
    return struct.pack("<QQ", block, version) * (BLOCK // 16)
