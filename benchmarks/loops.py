"""The engine's event loop beside asyncio: what one NBD request costs on each, in one run.

    .venv/bin/python -m benchmarks.loops [--seconds 0.8] [--rounds 3]

One process sends requests in NBD's format over unix sockets, 16 under way, each with a call of its
own as clients do; another answers them from memory, as the data server would: a write's payload
lands in memory, a read's reply is sent from it. Only the loop of that other process differs:

* reactor: `agents/engines/userspace/loop`, a subclass of Stream;
* streams: asyncio's StreamReader and StreamWriter, a coroutine per connection;
* buffered: asyncio's BufferedProtocol, by hand the same pull parser as Stream's.

asyncio runs on the loop that Python brings; agents need nothing but Python. The replies of the
first requests are compared byte for byte. Each figure is the median of the rounds, which take
turns. CPU is user and system time of the answering process alone. Its start and end are included,
some 17 to 19 ms for each of the three on two cores of an AMD EPYC: with less than 0.8 s a run they
blur the figures. Operations per second are bounded by the sender, too, and by whatever else the
machine does: trust CPU, and trust ratios more than figures. Takes 40 s.
"""

import argparse
import asyncio
import os
import platform
import select
import socket
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import median
from typing import NamedTuple

from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.loop.stream import Stream
from agents.engines.userspace.nbd import messages

KIB = 1 << 10
DEPTH = 16
SCRATCH = 256 * KIB
LARGE = 64 * KIB
HALF = 8 << 20
"""Reads are from the first half of the memory, which is never written, writes go to the other."""

READ, WRITE = messages.READ, messages.WRITE
Requests = list[tuple[int, int]]


class Load(NamedTuple):
    """One cycle of requests, and over how many connections they come."""

    requests: Requests
    connections: int = 1


SMALL_WRITES, SMALL_READS = [(WRITE, 4 * KIB)] * DEPTH, [(READ, 4 * KIB)] * DEPTH
MIXED = [(READ, 4 * KIB), (WRITE, 4 * KIB)] * 7 + [(READ, 256 * KIB), (WRITE, 256 * KIB)]
LOADS = {
    "4 KiB writes": Load(SMALL_WRITES),
    "4 KiB reads": Load(SMALL_READS),
    "4 KiB writes, 8 connections": Load(SMALL_WRITES, 8),
    "7 of 8 are 4 KiB, 1 is 256 KiB, half reads": Load(MIXED),
    "256 KiB, half reads": Load([(READ, 256 * KIB), (WRITE, 256 * KIB)] * (DEPTH // 2)),
}


class Figure(NamedTuple):
    """What one run of one load gave."""

    cpu_us: float
    per_second: float


# -- those who answer -----------------------------------------------------------------------------


def make_memory() -> memoryview:
    """Make what is read and written: a pattern to read, room to write."""
    memory = bytearray(2 * HALF)
    memory[:HALF] = bytes(range(256)) * (HALF // 256)
    return memoryview(memory)


def ok(cookie: int) -> bytes:
    """Make the head of a reply."""
    return messages.SIMPLE_REPLY.pack(messages.SIMPLE_REPLY_MAGIC, 0, cookie)


class Answering(Stream):
    """The engine's way."""

    def __init__(
        self, reactor: Reactor, sock: socket.socket, memory: memoryview, ended: Callable[[], None]
    ) -> None:
        super().__init__(reactor, sock)
        self.ended = ended
        self._memory = memory
        self._cookie = 0
        self.want(messages.REQUEST.size, self._on_request)

    def on_close(self, reason: str) -> None:
        self.ended()

    def _on_request(self, place: int) -> None:
        magic, _flags, command, cookie, offset, length = messages.REQUEST.unpack_from(
            self.reactor.scratch, place
        )
        if magic != messages.REQUEST_MAGIC:
            self.close("not a request")
        elif command == WRITE:
            self._cookie = cookie
            self.into(self._memory[offset : offset + length], self._on_payload)
        else:
            self.send(ok(cookie), self._memory[offset : offset + length])

    def _on_payload(self) -> None:
        self.send(ok(self._cookie))


def answer_by_reactor(socks: Sequence[socket.socket]) -> None:
    """Answer until the sender hangs up."""
    reactor, memory = Reactor(), make_memory()
    for sock in socks:
        Answering(reactor, sock, memory, reactor.stop).begin()
    reactor.run()


def answer_by_streams(socks: Sequence[socket.socket]) -> None:
    """Answer until the sender hangs up."""
    memory = make_memory()

    async def serve(sock: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=4 * SCRATCH)
        try:
            while True:
                header = await reader.readexactly(messages.REQUEST.size)
                magic, _flags, command, cookie, offset, length = messages.REQUEST.unpack(header)
                if magic != messages.REQUEST_MAGIC:
                    return
                if command == WRITE:
                    memory[offset : offset + length] = await reader.readexactly(length)
                    writer.write(ok(cookie))
                elif length < LARGE:
                    writer.write(ok(cookie) + bytes(memory[offset : offset + length]))
                else:
                    writer.write(ok(cookie))
                    writer.write(memory[offset : offset + length])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve_all() -> None:
        await asyncio.gather(*map(serve, socks))

    asyncio.run(serve_all())


class Buffered(asyncio.BufferedProtocol):
    """The engine's pull parser under asyncio: payload is received where it belongs."""

    def __init__(self, memory: memoryview, ended: "asyncio.Future[None]") -> None:
        self._ended = ended
        self._memory = memory
        self._scratch = bytearray(SCRATCH)
        self._view = memoryview(self._scratch)
        self._rest = 0
        self._body: memoryview | None = None
        self._filled = 0
        self._cookie = 0
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._rest :] if self._body is None else self._body[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        body = self._body
        if body is None:
            self._parse(self._rest + nbytes)
        else:
            self._filled += nbytes
            if self._filled == len(body):
                self._body = None
                self._out.append(ok(self._cookie))
        self._push()

    def _parse(self, end: int) -> None:
        start, view, memory, size = 0, self._view, self._memory, messages.REQUEST.size
        while end - start >= size:
            _magic, _flags, command, cookie, offset, length = messages.REQUEST.unpack_from(
                self._scratch, start
            )
            start += size
            place = memory[offset : offset + length]
            if command != WRITE:
                self._answer_read(cookie, place)
                continue
            take = min(end - start, length)
            place[:take] = view[start : start + take]
            start += take
            if take < length:
                self._body, self._filled, self._cookie = place, take, cookie
                break
            self._out.append(ok(cookie))
        self._rest = end - start
        view[: self._rest] = bytes(view[start:end])

    def _answer_read(self, cookie: int, place: memoryview) -> None:
        """Small pieces go out joined; for a large one a call of its own is cheaper than a copy."""
        self._out.append(ok(cookie))
        if len(place) < LARGE:
            self._out.append(bytes(place))
            return
        self._push()
        assert self._transport is not None
        self._transport.write(place)

    def _push(self) -> None:
        if self._out:
            assert self._transport is not None
            self._transport.write(b"".join(self._out))
            self._out.clear()


def answer_by_buffered(socks: Sequence[socket.socket]) -> None:
    """Answer until the sender hangs up."""

    async def serve() -> None:
        loop, memory = asyncio.get_running_loop(), make_memory()
        ended = loop.create_future()
        for sock in socks:
            await loop.create_unix_connection(lambda: Buffered(memory, ended), sock=sock)
        await ended

    asyncio.run(serve())


CONTENDERS: dict[str, Callable[[Sequence[socket.socket]], None]] = {
    "reactor": answer_by_reactor,
    "streams": answer_by_streams,
    "buffered": answer_by_buffered,
}


# -- the one who asks -----------------------------------------------------------------------------


class Repeater:
    """Sends one cycle of requests again and again over one connection.

    Replies come in the order of the requests, so places in the two byte streams are all it counts.
    """

    def __init__(self, sock: socket.socket, requests: Requests, depth: int) -> None:
        sent, replies = [], []
        pattern = make_memory()
        for number, (command, length) in enumerate(requests):
            offset = number * 256 * KIB + (HALF if command == WRITE else 0)
            head = messages.REQUEST.pack(messages.REQUEST_MAGIC, 0, command, number, offset, length)
            body = pattern[offset : offset + length]
            sent.append(head + bytes(length) if command == WRITE else head)
            replies.append(ok(number) if command == WRITE else ok(number) + bytes(body))
        self.done = 0
        self.wants_to_send = True
        self._sock, self._depth, self._requests = sock, depth, [memoryview(each) for each in sent]
        self._answer = b"".join(replies)
        self._answered = list(accumulate(map(len, replies)))
        self._begun = self._part = self._got = 0
        self._into = memoryview(bytearray(1 << 20))
        sock.settimeout(0)

    def on_event(self, mask: int) -> None:
        """Take replies, then ask for as much again."""
        if mask & select.POLLIN:
            self._receive()
        try:
            while self._begun < self.done + self._depth:
                self._send()
        except BlockingIOError:
            self.wants_to_send = True
        else:
            self.wants_to_send = False

    def _send(self) -> None:
        request = self._requests[self._begun % len(self._requests)]
        self._part += self._sock.send(request[self._part :] if self._part else request)
        if self._part == len(request):
            self._begun, self._part = self._begun + 1, 0

    def _receive(self) -> None:
        size = self._sock.recv_into(self._into)
        if not size:
            raise ConnectionError("the other process hung up")
        # Only the first cycle of replies is looked at: later ones would cost the sender's time.
        expected = self._answer[self._got : self._got + size]
        if self._into[: len(expected)] != expected:
            raise ValueError("a wrong reply")
        self._got += size
        cycles, here = divmod(self._got, len(self._answer))
        self.done = cycles * len(self._answered) + bisect_right(self._answered, here)


def send(socks: Sequence[socket.socket], load: Load, seconds: float) -> tuple[int, float]:
    """Keep DEPTH requests under way; how many were answered, and in how many seconds."""
    depth = DEPTH // len(socks)
    senders = {sock.fileno(): Repeater(sock, load.requests, depth) for sock in socks}
    poll = select.poll()
    for descriptor in senders:
        poll.register(descriptor, select.POLLIN | select.POLLOUT)
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        events = poll.poll(5000)
        if not events:
            raise TimeoutError("no answer for 5 s")
        for descriptor, mask in events:
            sender = senders[descriptor]
            wanted = sender.wants_to_send
            sender.on_event(mask)
            if sender.wants_to_send != wanted:
                more = select.POLLOUT if sender.wants_to_send else 0
                poll.modify(descriptor, select.POLLIN | more)
    return sum(sender.done for sender in senders.values()), spent


def measure(
    answer: Callable[[Sequence[socket.socket]], None], load: Load, seconds: float
) -> Figure:
    """Let one contender answer one load in a process of its own."""
    pairs = [socket.socketpair(socket.AF_UNIX) for _ in range(load.connections)]
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    for sock in ours + theirs:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
    child = os.fork()
    if not child:
        for sock in ours:
            sock.close()
        answer(theirs)
        os._exit(0)
    for sock in theirs:
        sock.close()
    try:
        done, spent = send(ours, load, seconds)
    finally:
        for sock in ours:
            sock.close()
        _pid, _status, usage = os.wait4(child, 0)
    return Figure((usage.ru_utime + usage.ru_stime) / done * 1e6, done / spent)


# -- the table ------------------------------------------------------------------------------------


def main() -> None:
    """Measure all and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, depth {DEPTH}; per load")
    print(
        "CPU us of the answering process per request, then requests per second; (x): of reactor\n"
    )
    print(f"| load | | {' | '.join(CONTENDERS)} |")
    print("| --- | --- |" + " ---: |" * len(CONTENDERS))
    for name_of_load, load in LOADS.items():
        runs: defaultdict[str, list[Figure]] = defaultdict(list)
        for _ in range(arguments.rounds):
            for name, answer in CONTENDERS.items():
                runs[name].append(measure(answer, load, arguments.seconds))
        cpu = {name: median(run.cpu_us for run in done) for name, done in runs.items()}
        pace = {name: median(run.per_second for run in done) for name, done in runs.items()}
        print(f"| {name_of_load} | CPU us | {_cells(cpu, 1)} |")
        print(f"| | per s | {_cells(pace, 0)} |", flush=True)


def _cells(figures: dict[str, float], digits: int) -> str:
    first = figures["reactor"]
    return " | ".join(f"{figure:,.{digits}f} ({figure / first:.2f})" for figure in figures.values())


if __name__ == "__main__":
    main()
