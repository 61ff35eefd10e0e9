import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.protocol import AttachOrder, DeviceSpec, MirrorSpec, ReplicaSpec, ReplicaState
from deploy.local.nbd import NbdClient
from tests.engine.conftest import MakeLab
from tests.engine.lab import VOLUME, Lab, free_port, wait_until


def fork_server_of(lab: Lab) -> int:
    """Find the process that the lab's heads are forked of."""
    status = Path(f"/proc/{lab.head_pid}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def order_of_another_volume(lab: Lab) -> AttachOrder:
    for server, store in enumerate(lab.stores):
        store.lease(30 + server, 2, 1)
    replicas = tuple(store.replica(30 + server) for server, store in enumerate(lab.stores))
    mirror = MirrorSpec(200, 1, 0, dirty=False, replicas=replicas)
    return AttachOrder(1, 1, 1, VOLUME + 1, 1, (DeviceSpec(VOLUME + 1, ("two",), 1, (mirror,)),))


def ended(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    return status.partition("State:")[2].split()[0] in "ZX"


def standby_of(lab: Lab) -> int:
    """Wait for the process that the fork server keeps ready for the next attach."""
    fork_server, head = fork_server_of(lab), lab.head_pid
    children = Path(f"/proc/{fork_server}/task/{fork_server}/children")
    wait_until(lambda: len(children.read_text().split()) == 2)
    (standby,) = {int(child) for child in children.read_text().split()} - {head}
    return standby


def test_a_process_kept_ready_is_the_next_group_s(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    standby = standby_of(lab)

    lab.head.attach(order_of_another_volume(lab))

    lock = lab.folder / "h" / "groups" / f"{VOLUME + 1:08x}" / "lock"
    assert json.loads(lock.read_text())["pid"] == standby


def test_a_process_kept_ready_and_killed_is_replaced_at_the_next_attach(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    os.kill(standby_of(lab), signal.SIGKILL)

    lab.head.attach(order_of_another_volume(lab))

    assert [group.alive for group in lab.head.groups()] == [True, True]


def test_a_process_kept_ready_ends_with_its_fork_server(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    standby = standby_of(lab)

    os.kill(fork_server_of(lab), signal.SIGKILL)

    wait_until(lambda: ended(standby))


def test_heads_outlive_their_killed_fork_server_and_the_next_is_forked_of_another(
    make_lab: MakeLab,
) -> None:
    lab = make_lab()
    lab.attach()
    fork_server, head = fork_server_of(lab), lab.head_pid

    os.kill(fork_server, signal.SIGKILL)
    wait_until(lambda: ended(fork_server))

    assert lab.states() == dict.fromkeys((10, 11, 12), ReplicaState.INSYNC)
    assert lab.head_pid == head
    lab.head.attach(order_of_another_volume(lab))
    assert [group.alive for group in lab.head.groups()] == [True, True]


def test_a_fork_server_ends_with_its_agent_and_the_heads_do_not(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    fork_server = fork_server_of(lab)

    lab.head = type(lab.head)(*lab.head_folders)

    wait_until(lambda: ended(fork_server))
    assert [group.alive for group in lab.head.groups()] == [True]


def test_a_replica_left_out_at_the_attach_is_known_to_the_revived_group(make_lab: MakeLab) -> None:
    lab = make_lab((1, 1))
    lab.export(2)
    lab.stores[2].kill()
    for server in (0, 1):
        lab.export(server)
    lab.head.attach(lab.order(1, lab.mirrors(1, (0, 1, 2), 0, dirty=False)))

    os.kill(lab.head_pid, signal.SIGKILL)
    wait_until(lambda: not lab.head.groups()[0].alive)
    found = lab.states()

    assert found == {
        10: ReplicaState.INSYNC,
        11: ReplicaState.INSYNC,
        12: ReplicaState.FAULTY,
        20: ReplicaState.INSYNC,
        21: ReplicaState.INSYNC,
        22: ReplicaState.FAULTY,
    }
    lab.head.revive(VOLUME)
    assert lab.states() == found


@pytest.mark.parametrize(
    ("wishes", "told_of"),
    [(b"\0\0", [b"\0\0", b"\0\2"]), (b"\0\1\0\3", [b"\0\0", b"\0\3", b"\0\2"])],
    ids=["size and server", "block sizes too"],
)
def test_all_of_the_handshake_can_be_said_before_the_greeting(
    make_lab: MakeLab, wishes: bytes, told_of: list[bytes]
) -> None:
    lab = make_lab(servers=1)
    lease = lab.stores[0].lease(10, 0, 1)
    name = lease.name.encode()
    body = struct.pack(">I", len(name)) + name + wishes

    with socket.create_connection(("127.0.0.1", lab.stores[0].engine.port), 5) as peer:
        peer.sendall(struct.pack(">IQII", 1, 0x49484156454F5054, 7, len(body)) + body)
        time.sleep(0.05)
        reply = peer.recv(1 << 16)

    assert reply[:8] == b"NBDMAGIC"
    told, place = [], 18
    while place < len(reply):
        _, _, kind, length = struct.unpack_from(">QIII", reply, place)
        told.append((kind, reply[place + 20 : place + 22] if length else b""))
        place += 20 + length
    assert told == [*((3, one) for one in told_of), (1, b"")]


@pytest.fixture
def rude_peer() -> Iterator[int]:
    """Listen as something that is no NBD server; gives the port."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as listener:

        def serve() -> None:
            try:
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.sendall(b"SSH-2.0-something else\r\n" * 4)
                        peer.recv(1 << 16)
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield port
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_replica_that_something_else_answers_for_is_left_out(
    make_lab: MakeLab, rude_peer: int
) -> None:
    lab = make_lab(servers=2)
    for server in (0, 1):
        lab.export(server)
    rude = ReplicaSpec(12, ("127.0.0.1",), rude_peer, "12.1-secret", ReplicaState.INSYNC)
    replicas = (lab.stores[0].replica(10), lab.stores[1].replica(11), rude)
    device = DeviceSpec(
        VOLUME, ("vol",), 1, (MirrorSpec(100, 1, 0, dirty=False, replicas=replicas),)
    )

    lab.head.attach(AttachOrder(1, 1, 1, VOLUME, 1, (device,)))

    assert lab.replicas()[12].reason == "connection"
    assert lab.states() == {
        10: ReplicaState.INSYNC,
        11: ReplicaState.INSYNC,
        12: ReplicaState.FAULTY,
    }


def test_a_replica_is_reached_by_its_second_address(make_lab: MakeLab) -> None:
    lab = make_lab()
    for server in (0, 1, 2):
        lab.export(server)
    (mirror,) = lab.mirrors(1, (0, 1, 2), 0, dirty=False)
    replicas = tuple(
        ReplicaSpec(
            replica.dextid, ("127.0.9.9", "127.0.0.1"), replica.port, replica.export, replica.state
        )
        for replica in mirror.replicas
    )
    lab.head.attach(lab.order(1, (MirrorSpec(100, 1, 0, dirty=False, replicas=replicas),)))

    with NbdClient(lab.device) as client:
        client.write(0, b"x" * 4096)
    lab.settle()

    assert [store.extent(0, 4096) for store in lab.stores] == [b"x" * 4096] * 3


@contextmanager
def unanswered(address: str, port: int) -> Iterator[None]:
    """Have a place where nobody answers a connection, as behind a cable that was pulled."""
    with ExitStack() as open_sockets:
        open_sockets.enter_context(socket.create_server((address, port), backlog=0))
        for _ in range(3):
            client = open_sockets.enter_context(socket.socket())
            client.settimeout(0.2)
            with suppress(TimeoutError):
                client.connect((address, port))
        yield


def test_storage_is_reached_by_its_other_address_long_before_the_first_is_given_up(
    make_lab: MakeLab,
) -> None:
    lab = make_lab()
    longer_than_a_start_may_take = 60.0
    head = UserspaceHead(*lab.head_folders, replica_timeout=longer_than_a_start_may_take)
    order = lab.order(1, lab.mirrors(1, (0, 1, 2), 0, dirty=False))
    (device,) = order.devices
    (mirror,) = device.mirrors
    both = tuple(replace(r, addresses=("127.0.0.2", "127.0.0.1")) for r in mirror.replicas)
    device = replace(device, mirrors=(replace(mirror, replicas=both),))
    with ExitStack() as mute:
        for server, store in enumerate(lab.stores):
            lab.export(server)
            mute.enter_context(unanswered("127.0.0.2", store.engine.port))

        replicas = head.attach(replace(order, devices=(device,)))

    assert {replica.state for replica in replicas} == {ReplicaState.INSYNC}
    head.detach(VOLUME)
