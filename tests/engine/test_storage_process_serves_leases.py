import errno
import os
import signal
import socket
import struct
import threading
from pathlib import Path

import pytest

from agents.engines.base import EngineError, Lease
from agents.engines.userspace.loop.coroutines import LoopTask, io
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.nbd.server import Listener
from agents.engines.userspace.process import dialogue, spawn
from agents.engines.userspace.storage import leased_range
from agents.engines.userspace.storage.data_server_process import DataServer
from agents.ondisk import GB
from deploy.local.nbd import FUA, NbdClient, NbdError
from tests.engine.conftest import MakeLab
from tests.engine.lab import Store, free_port, wait_until

MIB = 1 << 20


@pytest.fixture
def store(make_lab: MakeLab) -> Store:
    return make_lab(servers=1).stores[0]


def address(store: Store) -> tuple[str, int]:
    return "127.0.0.1", store.engine.port


def test_the_data_server_is_found_again_and_keeps_its_leases(store: Store) -> None:
    lease = store.lease(1, 0, 1)

    again = type(store.engine)(store.folder, store.folder, ["127.0.0.1"], store.engine.port)

    assert again.ensure_running() == store.engine.ensure_running()
    assert [use.lease for use in again.leases()] == [lease]


def test_a_killed_data_server_comes_back_as_another_and_serves_nothing(store: Store) -> None:
    first = store.engine.ensure_running()
    store.lease(1, 0, 1)

    store.kill()
    store.restart()

    assert store.engine.ensure_running() != first
    assert store.engine.leases() == []


def test_it_listens_on_every_address_and_no_other(short_path: Path) -> None:
    store = Store(short_path / "s", 2)
    store.engine.stop()
    two = type(store.engine)(
        store.folder, store.folder, ["127.0.0.1", "127.0.9.1"], store.engine.port
    )
    two.ensure_running()
    try:
        lease = store.lease(1, 0, 1)
        for host in ("127.0.0.1", "127.0.9.1"):
            NbdClient((host, two.port), lease.name).close()
        with pytest.raises(ConnectionRefusedError):
            NbdClient(("127.0.9.2", two.port), lease.name)
    finally:
        two.stop()


def test_stop_ends_the_process(store: Store) -> None:
    store.engine.stop()

    assert spawn.lock_holder(str(store.folder / "data.lock")) is None
    with pytest.raises(EngineError):
        store.engine.leases()


def test_an_export_is_its_extent_and_then_its_mark_block(store: Store) -> None:
    lease = store.lease(1, 1, 2)

    with NbdClient(address(store), lease.name) as client:
        assert client.size == 2 * GB + 4096
        client.write(2 * GB - 10, b"a" * 10 + b"b" * 4096, flags=FUA)
        assert client.read(2 * GB - 20, 4116)[10:] == b"a" * 10 + b"b" * 4096

    with store.disk.open("rb") as opened:
        opened.seek(3 * GB - 10)
        assert opened.read(12) == b"a" * 10 + b"\0\0"
        opened.seek(lease.meta_offset)
        assert opened.read(4096) == b"b" * 4096


@pytest.mark.parametrize("command", ["trim", "zero"])
def test_zeroing_touches_nothing_outside_the_lease(store: Store, command: str) -> None:
    with store.disk.open("r+b") as opened:
        for place in (GB - 4096, GB, 2 * GB - 4096, 2 * GB):
            opened.seek(place)
            opened.write(b"x" * 4096)
    lease = store.lease(1, 1, 1)

    with NbdClient(address(store), lease.name) as client:
        getattr(client, command)(0, GB)
        for offset, length in ((GB, 8192), (GB + 4096, 4096), ((1 << 64) - 4096, 8192)):
            with pytest.raises(NbdError):
                getattr(client, command)(offset, length)

    with store.disk.open("rb") as opened:
        found = []
        for place in (GB - 4096, GB, 2 * GB - 4096, 2 * GB):
            opened.seek(place)
            found.append(opened.read(1))
    assert found == [b"x", b"\0", b"\0", b"x"]


def test_an_export_can_only_be_asked_for_by_its_whole_name(store: Store) -> None:
    lease = store.lease(1, 0, 1)

    for name in ("", "1", lease.name[:-1], lease.name + "x"):
        with pytest.raises(ConnectionRefusedError):
            NbdClient(address(store), name)


def test_names_are_never_listed(store: Store) -> None:
    store.lease(1, 0, 1)

    with socket.create_connection(address(store), timeout=5) as raw:
        raw.recv(18)
        raw.sendall(struct.pack(">IQII", 3, 0x49484156454F5054, 3, 0))
        answer = raw.recv(4096)

    assert len(answer) == 20
    assert struct.unpack(">QIII", answer)[2] == 1


def test_a_lease_that_is_served_cannot_become_another_range(store: Store) -> None:
    lease = store.lease(1, 0, 1)
    store.engine.export([lease])
    other = Lease(lease.name, lease.path, GB, GB, lease.meta_offset, 1, 7, 1)

    with pytest.raises(EngineError) as refused:
        store.engine.export([other])

    assert refused.value.errno == errno.EEXIST


def test_a_disk_that_is_not_there_cannot_be_exported(store: Store) -> None:
    lease = Lease("1.1-x", str(store.folder / "none"), 0, GB, GB, 1, 7, 1)

    with pytest.raises(EngineError) as refused:
        store.engine.export([lease])

    assert refused.value.errno == errno.ENOENT


def test_drop_ends_the_connections_and_writes_stop(store: Store) -> None:
    lease = store.lease(1, 0, 1)
    ended = threading.Event()

    def write_without_pause() -> None:
        with NbdClient(address(store), lease.name) as client:
            count = 0
            try:
                while True:
                    count += 1
                    client.write(0, struct.pack("<Q", count) * 512, flags=FUA)
            except ConnectionError:
                ended.set()

    writer = threading.Thread(target=write_without_pause)
    writer.start()
    wait_until(lambda: any(store.extent(0, 8)))

    store.engine.drop([lease.name])
    after = store.extent(0, 4096)

    assert ended.wait(10)
    writer.join()
    assert store.extent(0, 4096) == after
    assert store.engine.leases() == []
    with pytest.raises(ConnectionRefusedError):
        NbdClient(address(store), lease.name)


def test_clients_of_a_lease_are_counted(store: Store) -> None:
    lease = store.lease(1, 0, 1)

    with NbdClient(address(store), lease.name):
        assert [use.clients for use in store.engine.leases()] == [1]

    wait_until(lambda: store.engine.leases()[0].clients == 0)


def test_a_vanished_disk_is_an_error_to_the_client_and_not_the_end(store: Store) -> None:
    lease = store.lease(1, 0, 1)
    with NbdClient(address(store), lease.name) as client:
        store.disk.unlink()

        def refuses() -> bool:
            try:
                client.write(0, b"x")
            except NbdError:
                return True
            return False

        wait_until(refuses)

    assert [use.lease for use in store.engine.leases()] == [lease]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.0\r\n\r\n" * 10,
        struct.pack(">IQII", 3, 0x49484156454F5054, 7, 1 << 31),
        struct.pack(">IQII", 3, 0x49484156454F5054, 7, 2) + b"xx",
        struct.pack(">IQII", 3, 0x49484156454F5054, 10, 8) + b"\xff" * 8,
        struct.pack(">IQII", 3, 0x49484156454F5054, 7, 6) + b"\0\0\0\2\xff\xff",
        b"",
    ],
)
def test_garbage_does_not_end_the_server(store: Store, garbage: bytes) -> None:
    with socket.create_connection(address(store), timeout=5) as raw:
        raw.sendall(garbage)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(4096):
            pass

    lease = store.lease(1, 0, 1)
    NbdClient(address(store), lease.name).close()


def test_requests_that_make_no_sense_are_refused(store: Store) -> None:
    lease = store.lease(1, 0, 1)

    with NbdClient(address(store), lease.name) as client:
        for command, offset, length in ((0, 0, 0), (0, 2 * GB, 1), (99, 0, 1), (0, 0, 64 << 20)):
            with pytest.raises(NbdError) as refused:
                client.request(command, offset, length)
            assert refused.value.errno == errno.EINVAL
        client.write(0, b"fine")


def test_a_paused_data_server_is_told_as_not_answering(store: Store) -> None:
    os.kill(store.pid, signal.SIGSTOP)
    try:
        assert store.engine.ensure_running()
    finally:
        os.kill(store.pid, signal.SIGCONT)


def test_what_a_peer_sent_before_it_hung_up_is_not_carried_out(store: Store) -> None:
    lease = store.lease(1, 0, 1)
    client = NbdClient(address(store), lease.name)
    os.kill(store.pid, signal.SIGSTOP)
    state = Path(f"/proc/{store.pid}/stat")
    wait_until(lambda: state.read_text().rpartition(") ")[2][0] == "T")  # not at once, when busy
    request = struct.pack(">IHHQQI", 0x25609513, 0, 1, 1, 0, 4096) + b"x" * 4096
    client.socket.sendall(request)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    os.kill(store.pid, signal.SIGCONT)

    with NbdClient(address(store), lease.name) as other:
        assert not any(other.read(0, 4096))


def test_a_new_owner_ends_the_former_and_leaves_readers_alone(store: Store) -> None:
    lease = store.lease(1, 0, 1)
    with (
        NbdClient(address(store), lease.name, owns=True) as former,
        NbdClient(address(store), lease.name) as reader,
        NbdClient(address(store), lease.name, owns=True) as owner,
    ):
        owner.write(0, b"new" * 1000)
        with pytest.raises(ConnectionError):
            former.write(0, b"old" * 1000)

        assert reader.read(0, 3000) == b"new" * 1000


def test_whoever_drops_a_lease_again_waits_for_what_is_still_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, GB)
    lease = Lease("x", str(path), 0, MIB, 2 * MIB, 1, 7, 1)
    reactor, slow, ended = Reactor(), threading.Event(), []
    seen: list[dialogue.ServedLease] = []
    server = DataServer(reactor)
    monkeypatch.setattr(leased_range, "_zero", lambda *_: slow.wait(10))

    async def drop() -> None:
        await server.perform(dialogue.DropLeases(("x",)))
        ended.append(slow.is_set())

    async def look() -> None:
        told = await server.perform(dialogue.TellLeases())
        assert isinstance(told, list)
        seen.extend(told)

    async def act() -> None:
        await server.perform(dialogue.ServeLeases((lease,)))
        device = server.exports.find("x")
        assert device is not None
        device.submit(messages.WRITE_ZEROES, 0, MIB, None, 0, lambda *_: None)
        drops = [LoopTask(drop()), LoopTask(drop())]
        await look()
        reactor.after(0.1, slow.set)
        for one in drops:
            await one
        await look()
        reactor.stop()

    LoopTask(act())
    reactor.run()

    assert ended == [True, True]
    assert [use.dextid for use in seen] == [1]


def test_a_flush_that_failed_fails_every_lease_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, GB)
    reactor = Reactor()
    server = DataServer(reactor)
    told: list[OSError] = [OSError(errno.EIO, "the kernel tells it once")]
    monkeypatch.setattr(os, "fdatasync", lambda _: _raise(told.pop()) if told else None)
    answers: list[int] = []

    async def act() -> None:
        for place in range(2):
            lease = Lease(str(place), str(path), place * MIB, MIB, 9 * MIB, place, 7, 1)
            await server.perform(dialogue.ServeLeases((lease,)))
        one, other = (server.exports.find(name) for name in "01")
        answers.append((await io(other, messages.WRITE, 0, 4096, bytes(4096)))[0])
        answers.append((await io(one, messages.WRITE, 0, 4096, bytes(4096), messages.FUA))[0])
        answers.append((await io(other, messages.FLUSH, 0, 0))[0])
        reactor.after(1.2, reactor.stop)

    LoopTask(act())
    reactor.run()

    assert answers == [0, errno.EIO, errno.EIO]
    assert server.exports.find("0") is server.exports.find("1") is None


def _raise(error: OSError) -> None:
    raise error


def test_what_a_former_owner_began_never_lands_after_what_the_new_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, port, zero = tmp_path / "disk", free_port(), leased_range._zero
    path.touch()
    os.truncate(path, GB)
    begun, slow, landed = threading.Event(), threading.Event(), threading.Event()

    def zero_slowly(*about: int) -> None:
        begun.set()
        slow.wait(10)
        zero(*about)
        landed.set()

    monkeypatch.setattr(leased_range, "_zero", zero_slowly)
    reactor = Reactor()
    server = DataServer(reactor)
    Listener(reactor, ("127.0.0.1", port), server.exports)
    lease = Lease("x", str(path), 0, MIB, 2 * MIB, 1, 7, 1)
    LoopTask(server.perform(dialogue.ServeLeases((lease,))))
    serving = threading.Thread(target=reactor.run)
    serving.start()
    try:
        with NbdClient(("127.0.0.1", port), "x", owns=True) as former:
            former.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 6, 1, 0, 4096))
            assert begun.wait(5)
            threading.Timer(0.5, slow.set).start()
            with NbdClient(("127.0.0.1", port), "x", owns=True) as owner:
                owner.write(0, b"n" * 4096)
                assert landed.wait(5)
                assert owner.read(0, 4096) == b"n" * 4096
    finally:
        slow.set()
        reactor.soon.append(reactor.stop)
        serving.join()
