"""A lease as a device: a range of a file or block device, then its mark block."""

import ctypes
import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.storage.served_disk import ServedDisk
from agents.ondisk import MARK_BYTES

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
ZEROS = bytes(1 << 20)
MOST_EXTENTS = 512

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class LeasedRange:
    """Serves one lease: nothing outside its range and its mark block can be reached."""

    flags = (
        messages.HAS_FLAGS
        | messages.SENDS_FLUSH
        | messages.SENDS_FUA
        | messages.SENDS_TRIM
        | messages.SENDS_ZEROES
        | messages.MULTI_CONNECTION
    )

    def __init__(
        self, reactor: Reactor, disk: ServedDisk, offset: int, size: int, mark_at: int
    ) -> None:
        self.size = size + MARK_BYTES
        self.disk = disk
        self._reactor = reactor
        self._offset = offset
        self._range_size = size
        self._mark_at = mark_at
        self._under_way = 0
        self._idle_calls: list[Callable[[], None]] = []

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call once no thread works on the range any more."""
        if self._under_way:
            self._idle_calls.append(call)
        else:
            call()

    def submit(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        if self.disk.error:
            done(self.disk.error, None)
        elif command == messages.FLUSH:
            self._commit(done)
        elif offset < self._range_size < offset + length:
            self._submit_across(command, offset, length, data, flags, done)
        else:
            inside = offset < self._range_size
            place = offset + self._offset if inside else offset - self._range_size + self._mark_at
            self._perform(command, place, length, data, flags, done)

    def _perform(
        self, command: int, place: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        if command == messages.READ:
            self._read(place, length, done)
        elif command == messages.WRITE:
            self._write(place, length, data, flags, done)
        elif command == messages.BLOCK_STATUS:
            done(0, self._extents(place, length, flags))
        else:
            keep = flags & messages.NO_HOLE if command == messages.WRITE_ZEROES else 0
            work = partial(_zero, self.disk.descriptor, place, length, keep)
            self._in_thread(work, partial(self._written, flags, done))

    def _read(self, place: int, length: int, done: messages.Done) -> None:
        data = bytearray(length)
        if self.disk.read_flags is not None:
            try:
                got = os.preadv(self.disk.descriptor, (data,), place, self.disk.read_flags)
            except BlockingIOError:
                got = -1
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    done(error.errno or errno.EIO, None)
                    return
                self.disk.read_flags = None
                got = -1
            if got == length:
                done(0, data)
                return
        self._in_thread(partial(_read_fully, self.disk.descriptor, data, place), done)

    def _write(self, place: int, length: int, data: Any, flags: int, done: messages.Done) -> None:
        try:
            written = os.pwritev(self.disk.descriptor, (data,), place)
        except OSError as error:
            done(error.errno or errno.EIO, None)
            return
        if written != length:
            done(errno.ENOSPC, None)
        else:
            self._written(flags, done, 0, None)

    def _written(self, flags: int, done: messages.Done, error: int, _value: Any) -> None:
        if error or not flags & messages.FUA:
            done(error, None)
        else:
            self._commit(done)

    def _commit(self, done: messages.Done) -> None:
        self._under_way += 1
        self.disk.commits.ask(partial(self._returned, done))

    def _in_thread(self, work: Callable[[], Any], done: messages.Done) -> None:
        self._under_way += 1
        self._reactor.in_thread(work, partial(self._returned, done))

    def _returned(self, done: messages.Done, error: int, value: Any) -> None:
        self._under_way -= 1
        done(error, value)
        if not self._under_way:
            calls, self._idle_calls = self._idle_calls, []
            for call in calls:
                call()

    def _submit_across(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Split a request that reaches from the range into the mark block."""
        first = self._range_size - offset
        if command == messages.BLOCK_STATUS:
            self.submit(command, offset, first, None, flags, done)
            return
        view = memoryview(data) if data is not None else None
        halves: list[Any] = [None, None]
        left, worst = 2, 0

        def landed(half: int, error: int, got: Any) -> None:
            nonlocal left, worst
            left, worst = left - 1, worst or error
            halves[half] = got
            if not left:
                done(worst, b"".join(halves) if command == messages.READ and not worst else None)

        head = view[:first] if view is not None else None
        tail = view[first:] if view is not None else None
        self.submit(command, offset, first, head, flags, partial(landed, 0))
        self.submit(command, self._range_size, length - first, tail, flags, partial(landed, 1))

    def _extents(self, place: int, length: int, flags: int) -> list[tuple[int, int]]:
        """Tell holes from data, as far as the file system knows."""
        extents: list[tuple[int, int]] = []
        end = place + length
        most = 1 if flags & messages.REQUEST_ONE else MOST_EXTENTS
        while place < end and len(extents) < most:
            data = min(_seek(self.disk.descriptor, place, os.SEEK_DATA, end), end)
            if data > place:
                extents.append((data - place, messages.HOLE | messages.ZERO))
                place = data
                continue
            hole = min(_seek(self.disk.descriptor, place, os.SEEK_HOLE, end), end)
            hole = hole if hole > place else end
            extents.append((hole - place, 0))
            place = hole
        return extents


def _seek(descriptor: int, place: int, whence: int, end: int) -> int:
    try:
        return os.lseek(descriptor, place, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end
        # A device that cannot tell: all of it may be data.
        return place if whence == os.SEEK_DATA else end


def _read_fully(descriptor: int, data: bytearray, place: int) -> bytearray:
    if os.preadv(descriptor, (data,), place) != len(data):
        raise OSError(errno.EIO, "short read")
    return data


def _zero(descriptor: int, place: int, length: int, keep: int) -> None:
    mode = (ZERO_RANGE if keep else PUNCH_HOLE) | KEEP_SIZE
    if not libc.fallocate(descriptor, mode, place, length):
        return
    for start in range(place, place + length, len(ZEROS)):
        piece = ZEROS[: place + length - start]
        if os.pwrite(descriptor, piece, start) != len(piece):
            raise OSError(errno.ENOSPC, "short write")
