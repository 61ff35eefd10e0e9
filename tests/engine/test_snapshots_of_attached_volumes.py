import errno
import os
import random
import signal
import threading
import time
from typing import Any, cast

import pytest

from agents.engines.base import EngineError
from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.snapshot.cow_store import store_layout
from agents.engines.userspace.snapshot.kept_chunks import KeptChunks
from agents.ondisk import GB
from agents.protocol import DeviceState
from deploy.local.nbd import NbdClient, NbdError
from tests.engine.conftest import MakeLab
from tests.engine.lab import SNAPSHOT, TIMEOUT, VOLUME, Lab, wait_until

MIB = 1 << 20
CHUNK = 16 << 10


class SlowDevice:
    """A device that answers a request when the test says so."""

    def __init__(self, lvolid: int, size: int) -> None:
        self.lvolid, self.size = lvolid, size
        self.asked: list[tuple[int, Future]] = []

    def submit(self, command: int, offset: int, *rest: Any) -> None:
        _length, _data, flags, done = rest
        assert flags & messages.FUA, "what is answered is durable"
        self.asked.append((offset, done))

    def answer(self) -> list[int]:
        """Answer all that was asked so far; where it goes."""
        asked, self.asked = self.asked, []
        for _, done in asked:
            done()
        return [offset for offset, _ in asked]


def snapshot_state(lab: Lab) -> DeviceState:
    (group,) = lab.head.groups()
    return next(device for device in group.devices if device.lvolid == SNAPSHOT)


def test_a_snapshot_stays_what_it_was_while_the_origin_changes(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    before = os.urandom(2 * MIB)
    with NbdClient(lab.device) as client:
        client.write(MIB, before)
        lab.head.snapshot(VOLUME, lab.store_spec())
        client.write(MIB + 5000, b"x" * 3000)
        client.write(2 * MIB - 100, b"y" * 200_000)
        client.zero(MIB, CHUNK)

    with NbdClient(lab.snapshot_device) as snapshot:
        assert snapshot.size == GB
        assert snapshot.read(MIB, 2 * MIB) == before
        assert not any(snapshot.read(0, MIB))


def test_a_chunk_is_durable_before_the_bit_that_tells_of_it() -> None:
    store = SlowDevice(SNAPSHOT, 2 * GB)
    chunks = KeptChunks(cast("Any", store), GB)
    ended = []
    layout = store_layout(GB)

    keeping = LoopTask(chunks.keep([(3, b"x" * CHUNK)]))
    keeping.when_ended(lambda: ended.append(True))

    assert (store.answer(), ended) == ([layout.data_at + 3 * CHUNK], [])
    assert (store.answer(), ended) == ([layout.bitmap_at], [True])


def test_a_snapshot_cannot_be_written(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    lab.head.snapshot(VOLUME, lab.store_spec())

    with NbdClient(lab.snapshot_device) as snapshot, pytest.raises(NbdError) as refused:
        snapshot.write(0, b"x")

    assert refused.value.errno == errno.EPERM


def test_the_same_snapshot_order_again_changes_nothing(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    spec = lab.store_spec()
    lab.head.snapshot(VOLUME, spec)
    with NbdClient(lab.device) as client:
        client.write(0, b"new" * 4096)

    lab.head.snapshot(VOLUME, spec)

    with NbdClient(lab.snapshot_device) as snapshot:
        assert not any(snapshot.read(0, 12288))


def test_a_snapshot_survives_detach_and_attach(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, b"old" * 4096)
        lab.head.snapshot(VOLUME, lab.store_spec())
        client.write(0, b"new" * 4096)
    lab.settle()

    lab.attach(epoch=2, events=1, snapshots=[lab.store_spec(epoch=2, events=1)])

    with NbdClient(lab.snapshot_device) as snapshot, NbdClient(lab.device) as client:
        assert snapshot.read(0, 12288) == b"old" * 4096
        client.write(MIB, b"z" * 4096)
        assert not any(snapshot.read(MIB, 4096))
        assert client.read(0, 12288) == b"new" * 4096


def test_a_snapshot_survives_kill_9_of_the_head_process(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    before = os.urandom(MIB)
    with NbdClient(lab.device) as client:
        client.write(0, before)
        lab.head.snapshot(VOLUME, lab.store_spec())
        for place in range(0, MIB, 40_000):
            client.write(place, b"n" * 2000)
        os.kill(lab.head_pid, signal.SIGKILL)
    wait_until(lambda: not lab.head.groups()[0].alive)

    lab.head.revive(VOLUME)

    with NbdClient(lab.snapshot_device) as snapshot, NbdClient(lab.device) as client:
        assert snapshot.read(0, MIB) == before
        client.write(0, b"m" * MIB)
        assert snapshot.read(0, MIB) == before


def test_a_broken_store_breaks_the_snapshot_and_not_the_origin(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    spec = lab.store_spec()
    lab.head.snapshot(VOLUME, spec)
    for server, store in enumerate(lab.stores):
        store.engine.drop([spec.mirrors[0].replicas[server].export])

    with NbdClient(lab.device) as client:
        client.write(0, b"x" * 4096)
        assert client.read(0, 4096) == b"x" * 4096
    with NbdClient(lab.snapshot_device) as snapshot, pytest.raises(NbdError) as refused:
        snapshot.read(0, 4096)

    assert refused.value.errno == errno.EIO
    assert snapshot_state(lab).broken


def test_a_snapshot_is_taken_away_unless_it_is_open(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    lab.head.snapshot(VOLUME, lab.store_spec())
    with NbdClient(lab.snapshot_device), pytest.raises(EngineError) as refused:
        lab.head.unsnapshot(VOLUME, SNAPSHOT)
    wait_until(lambda: snapshot_state(lab).clients == 0)

    lab.head.unsnapshot(VOLUME, SNAPSHOT)
    lab.head.unsnapshot(VOLUME, SNAPSHOT)

    assert refused.value.errno == errno.EBUSY
    assert not lab.snapshot_device.is_symlink()
    with NbdClient(lab.device) as client:
        client.write(0, b"x" * 4096)
    lab.settle()


def test_what_a_snapshot_holds_is_told(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    lab.head.snapshot(VOLUME, lab.store_spec())
    with NbdClient(lab.device) as client:
        client.write(0, b"x" * 3 * MIB)

    assert snapshot_state(lab).cow_mib == 3


@pytest.mark.parametrize("seed", range(3))
def test_volume_and_snapshots_do_what_a_model_does(make_lab: MakeLab, seed: int) -> None:
    """Random requests around the end of a mirror, with servers failing and processes killed."""
    lab = make_lab(sizes=(1, 1), servers=3)
    lab.attach()
    chance = random.Random(seed)
    size, base = 8 * MIB, GB - 4 * MIB
    model = bytearray(size)
    frozen = b""
    client = NbdClient(lab.device)
    for step in range(120):
        place = chance.randrange(size)
        length = min(chance.choice((1, 4096, 20_000, 300_000, 2 * MIB)), size - place)
        action = chance.randrange(6)
        if step == 40:
            lab.head.snapshot(VOLUME, lab.store_spec())
            frozen = bytes(model)
        elif step == 70:
            lab.stores[chance.randrange(3)].kill()
        elif step == 90:
            os.kill(lab.head_pid, signal.SIGKILL)
            client.close()
            wait_until(lambda: not lab.head.groups()[0].alive)
            lab.head.revive(VOLUME)
            client = NbdClient(lab.device)
        elif action in {0, 1, 2}:
            data = chance.randbytes(length)
            client.write(base + place, data, flags=chance.randrange(2))
            model[place : place + length] = data
        elif action == 3:
            client.zero(base + place, length)
            model[place : place + length] = bytes(length)
        elif action == 4:
            assert client.read(base + place, length) == model[place : place + length]
        else:
            client.flush()
    assert client.read(base, size) == model
    client.close()
    with NbdClient(lab.snapshot_device) as snapshot:
        assert snapshot.read(base, size) == frozen


def test_a_snapshot_asked_for_again_while_it_is_being_made_is_not_there_too_early(
    make_lab: MakeLab,
) -> None:
    lab = make_lab()
    lab.attach()
    spec = lab.store_spec()
    os.kill(lab.stores[2].pid, signal.SIGSTOP)
    again = type(lab.head)(*lab.head_folders, replica_timeout=TIMEOUT)
    first = threading.Thread(target=lab.head.snapshot, args=(VOLUME, spec))
    first.start()
    time.sleep(0.2)

    again.snapshot(VOLUME, spec)
    with NbdClient(lab.device) as client:
        client.write(0, b"a" * 4096)
    first.join()
    os.kill(lab.stores[2].pid, signal.SIGCONT)

    with NbdClient(lab.snapshot_device) as client:
        assert client.read(0, 4096) == bytes(4096)
