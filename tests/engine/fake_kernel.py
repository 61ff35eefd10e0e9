"""What the devices of a head see of a kernel, for machines whose kernel has no nbd.

It keeps connections as the kernel does, and tells of its devices in a folder like sysfs. The real
one is met in the lab (`tests/lab`).
"""

import errno
import os
import queue
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.engines.devices import block_device, nbd_module, reconnector, users
from agents.engines.userspace.nbd import messages


class FakeKernel:
    """Devices with a connection each; `opened` are in use by somebody."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.dev, self.proc = folder / "sys", folder / "nodes", folder / "proc"
        for made in (self.sys, self.dev, self.proc):
            made.mkdir()
        self.made: list[nbd_module.Connect] = []
        self.opened: set[int] = set()
        self.dead: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._connections: dict[int, socket.socket] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (block_device, users):
            monkeypatch.setattr(module, "SYS_BLOCK", self.sys)
            monkeypatch.setattr(module, "DEV", self.dev)
        monkeypatch.setattr(users, "PROC", self.proc)
        for name in ("connect", "reconnect", "disconnect_once_closed", "disconnect"):
            monkeypatch.setattr(nbd_module, name, getattr(self, name))
        monkeypatch.setattr(reconnector, "DeadLinks", lambda: self)

    # -- what it is told

    def connect(self, device: nbd_module.Connect, connection: socket.socket) -> None:
        if device.index in self._connections:
            raise OSError(errno.EBUSY, "in use")
        folder = self.sys / f"nbd{device.index}"
        (folder / "queue").mkdir(parents=True)
        (folder / "holders").mkdir()
        for name, content in {
            "pid": "1\n",
            "backend": f"{device.backend}\n",
            "dev": f"43:{device.index * 32}\n",
            "uevent": "",
            "queue/io_timeout": "30000\n",
        }.items():
            (folder / name).write_text(content)
        (self.dev / folder.name).touch()
        self.made.append(device)
        self._connections[device.index] = connection.dup()

    def reconnect(self, index: int, backend: str, connection: socket.socket) -> None:
        self._find(index, backend)
        if _is_dead(self._connections[index]):
            self._connections[index].close()
            self._connections[index] = connection.dup()

    def disconnect_once_closed(self, index: int, backend: str, *, wanted: bool) -> None:
        self._find(index, backend)
        if wanted and index not in self.opened:
            self.disconnect(index)

    def disconnect(self, index: int) -> None:
        connection = self._connections.pop(index, None)
        if connection is not None:
            connection.close()
            if index not in self.opened:
                self.close(index)

    def wait(self) -> Iterator[int]:
        yield self.dead.get()

    # -- what its users do

    def close(self, index: int) -> None:
        """Whoever has a device open closes it."""
        self.opened.discard(index)
        if index not in self._connections:
            folder = self.sys / f"nbd{index}"
            for name in ("pid", "backend", "dev", "uevent", "queue/io_timeout"):
                (folder / name).unlink()
            for name in ("queue", "holders", ""):
                (folder / name).rmdir()
            (self.dev / folder.name).unlink()

    def read(self, index: int, length: int) -> bytes:
        """Read the beginning of a device; EIO if its connection is of no use."""
        try:
            return self._read(self._connections[index], length)
        except (KeyError, ConnectionError):
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from None

    def _read(self, connection: socket.socket, length: int) -> bytes:
        connection.settimeout(10)
        asked = messages.REQUEST.pack(messages.REQUEST_MAGIC, 0, messages.READ, 1, 0, length)
        connection.sendall(asked)
        got = b""
        while len(got) < messages.SIMPLE_REPLY.size + length:
            piece = connection.recv(1 << 16)
            if not piece:
                raise ConnectionResetError
            got += piece
        magic, error, _ = struct.unpack_from(">IIQ", got)
        assert (magic, error) == (messages.SIMPLE_REPLY_MAGIC, 0)
        return got[messages.SIMPLE_REPLY.size :]

    def _find(self, index: int, backend: str) -> None:
        known = self.sys / f"nbd{index}/backend"
        if index not in self._connections or known.read_text() != f"{backend}\n":
            raise OSError(errno.EINVAL, "not configured, or another backend")


def _is_dead(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
