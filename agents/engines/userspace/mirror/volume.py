"""A volume: its mirrors one after another, as one device."""

import errno
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.nbd import messages

PIECE = 64 << 20
"""Trims and zeroings go to the replicas in pieces of this at most, so that each ends soon."""


class Volume:
    """The linear device over mirrors of any sizes."""

    flags = (
        messages.HAS_FLAGS
        | messages.SENDS_FLUSH
        | messages.SENDS_FUA
        | messages.SENDS_TRIM
        | messages.SENDS_ZEROES
        | messages.MULTI_CONNECTION
    )

    def __init__(self, lvolid: int, mirrors: Sequence[LiveMirror]) -> None:
        self.lvolid = lvolid
        self.mirrors = list(mirrors)
        self.size = sum(mirror.size for mirror in mirrors)
        self.requests = 0
        self._starts = [mirror.base for mirror in mirrors]

    def submit(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Start one request."""
        self.requests += 1
        if command == messages.FLUSH:
            self._flush(done)
            return
        mirror = self.mirrors[bisect_right(self._starts, offset) - 1]
        inside = offset - mirror.base
        if command == messages.BLOCK_STATUS:
            mirror.status(inside, min(length, mirror.size - inside), flags, done)
        elif inside + length > mirror.size or length > PIECE:
            self._submit_parts(command, offset, length, data, flags, done)
        elif command == messages.READ:
            mirror.read(inside, length, done)
        else:
            mirror.write(command, inside, length, data, flags, done)

    def parts(self, offset: int, length: int) -> Iterator[tuple[LiveMirror, int, int]]:
        """Cut a range at the mirrors' ends and into pieces of bounded size."""
        while length:
            mirror = self.mirrors[bisect_right(self._starts, offset) - 1]
            inside = offset - mirror.base
            size = min(length, mirror.size - inside, PIECE)
            yield mirror, inside, size
            offset += size
            length -= size

    def _submit_parts(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        parts = list(self.parts(offset, length))
        gathered: list[Any] = [None] * len(parts)
        left, worst = len(parts), 0

        def landed(part: int, error: int, got: Any) -> None:
            nonlocal left, worst
            left, worst = left - 1, worst or error
            gathered[part] = got
            if not left:
                done(
                    worst,
                    bytearray().join(gathered) if command == messages.READ and not worst else None,
                )

        view = memoryview(data) if data is not None else None
        place = 0
        for part, (mirror, inside, size) in enumerate(parts):
            piece = view[place : place + size] if view is not None else None
            place += size
            if command == messages.READ:
                mirror.read(inside, size, partial(landed, part))
            else:
                mirror.write(command, inside, size, piece, flags, partial(landed, part))

    def _flush(self, done: messages.Done) -> None:
        left, worst = len(self.mirrors), 0

        def flushed(error: int, _data: Any) -> None:
            nonlocal left, worst
            left, worst = left - 1, worst or error
            if not left:
                done(errno.EIO if worst else 0, None)

        for mirror in self.mirrors:
            mirror.flush(flushed)
