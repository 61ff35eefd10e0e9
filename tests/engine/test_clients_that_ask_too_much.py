"""Clients at the edges of a device, with flags of their own, and that take no answers."""

import contextlib
import errno
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local.nbd import READ, TRIM, WRITE, ZEROES, NbdClient, NbdError
from tests.engine.conftest import MakeLab
from tests.engine.lab import Lab

NO_HOLE, WITHOUT_FRAGMENTS, FAST_ZERO = 2, 4, 16
MIB = 1 << 20
SLACK = 48 * MIB
"""What the process itself, socket buffers and one answer under way may need beside the bound."""
BOUND = 128 * MIB + SLACK


@pytest.fixture
def lab(make_lab: MakeLab) -> Iterator[Lab]:
    lab = make_lab()
    lab.attach()
    yield lab
    if lab.head.groups():
        lab.settle()


def told(client: NbdClient, command: int, offset: int, length: int, flags: int = 0) -> int:
    data = bytes(length) if command == WRITE else b""
    try:
        client.request(command, offset, length, data, flags)
    except NbdError as error:
        return error.errno or 0
    return 0


def test_what_goes_beyond_the_end_is_refused_as_the_protocol_says(lab: Lab) -> None:
    with NbdClient(lab.device) as client:
        end = client.size
        for command, code in (
            (WRITE, errno.ENOSPC),
            (ZEROES, errno.ENOSPC),
            (READ, errno.EINVAL),
            (TRIM, errno.EINVAL),
        ):
            for offset in (end - 512, end, end + 4096, (1 << 64) - 4096):
                assert told(client, command, offset, 1024) == code, (command, offset)
            assert told(client, command, end - 512, 512) == 0


def test_flags_that_were_not_offered_are_refused_and_the_connection_goes_on(lab: Lab) -> None:
    with NbdClient(lab.device) as client:
        assert told(client, ZEROES, 0, 4096, FAST_ZERO) == errno.EINVAL
        assert told(client, ZEROES, 0, 4096, NO_HOLE) == 0
        assert told(client, WRITE, 0, 4096, NO_HOLE) == errno.EINVAL
        assert told(client, WRITE, 0, 4096, 1 << 15) == errno.EINVAL
        assert told(client, READ, 0, 4096, WITHOUT_FRAGMENTS) == errno.EINVAL
        assert told(client, READ, 0, 4096, 1) == 0


def resident(lab: Lab) -> int:
    status = Path(f"/proc/{lab.head_pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def send_all_that_is_taken(client: NbdClient, request: bytes, most: int) -> None:
    """Ask again and again, and read nothing."""
    client.socket.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        for _ in range(most):
            client.socket.sendall(request)


def ask(command: int, length: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IHHQQI", 0x25609513, 0, command, 1, 0, length) + payload


@pytest.mark.parametrize(
    ("request_", "count"),
    [(ask(READ, 32 * MIB), 20_000), (ask(READ, 4096), 400_000), (ask(TRIM, 4096), 700_000)],
    ids=["large reads", "small reads", "trims"],
)
def test_a_client_that_takes_no_answers_is_not_read_from_for_ever(
    lab: Lab, request_: bytes, count: int
) -> None:
    before = resident(lab)
    with NbdClient(lab.device) as deaf:
        send_all_that_is_taken(deaf, request_ * 100, count // 100)
        time.sleep(2)

        assert resident(lab) - before < BOUND
        with NbdClient(lab.device, timeout=10) as other:
            other.write(8192, b"y" * 4096)
            assert other.read(8192, 4096) == b"y" * 4096


def test_all_clients_of_a_volume_together_have_one_bound(lab: Lab) -> None:
    before = resident(lab)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            deaf = stack.enter_context(NbdClient(lab.device))
            send_all_that_is_taken(deaf, ask(READ, 32 * MIB), 10)
        time.sleep(2)

        assert resident(lab) - before < BOUND


def take(client: NbdClient, size: int) -> None:
    while size:
        got = len(client.socket.recv(min(size, MIB)))
        assert got, "the connection was ended"
        size -= got


def test_requests_that_waited_for_room_are_answered_once_there_is_some(lab: Lab) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(NbdClient(lab.device)) for _ in range(6)]
        for client in clients:
            client.socket.sendall(ask(READ, 32 * MIB) * 3)

        with ThreadPoolExecutor() as pool:
            list(pool.map(take, clients, [3 * (16 + 32 * MIB)] * len(clients)))
        for client in clients:
            assert told(client, WRITE, 0, 32 * MIB) == 0


def test_who_takes_no_answers_gives_way_to_others_in_time(
    lab: Lab,
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            deaf = stack.enter_context(NbdClient(lab.device))
            deaf.socket.sendall(ask(READ, 32 * MIB) * 3)
        other = stack.enter_context(NbdClient(lab.device, timeout=45))

        other.write(0, bytes(32 * MIB))
