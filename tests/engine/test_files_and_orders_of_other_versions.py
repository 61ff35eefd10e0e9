"""What commit 9b700b5 wrote and said is read for ever; the files in golden/ are its own.

Mirror 100 of group 7 has replicas 10, 11 and 12; the last was left out after the write at 5 MiB.
Then 9 MiB was written, not yet flushed, and the process killed. Device 9 is a snapshot.
"""

import errno
import json
import re
import shutil
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agents.engines.base import EngineError, Lease
from agents.engines.userspace.head import state_file
from agents.engines.userspace.mirror.live_replica import LiveState
from agents.engines.userspace.mirror.missed_chunks import MissedChunks
from agents.engines.userspace.mirror.write_intent import WriteIntentBitmap
from agents.engines.userspace.process import dialogue, spawn
from agents.engines.userspace.storage.storage_engine import UserspaceStorage
from agents.protocol import Reason, ReplicaState
from agents.struct_codec import to_struct
from deploy.local.nbd import NbdClient
from tests.engine.conftest import MakeFolder, MakeLab
from tests.engine.lab import VOLUME

GOLDEN = Path(__file__).parent / "golden"
GB = 1 << 30
BOOT_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}")


def conversation(verb: str) -> tuple[dict[str, object], dict[str, object]]:
    """Give an order and its answer as 9b700b5 had them on its control socket."""
    for one in json.loads((GOLDEN / "control.json").read_text()):
        order, reply = json.loads(one["order"]), json.loads(one["reply"])
        if order["do"] == verb and "value" in reply:
            return order, reply
    raise AssertionError(verb)


# -- files


def test_a_state_file_of_9b700b5_is_read() -> None:
    group = state_file.read_state(str(GOLDEN))

    assert group is not None
    assert (group.lvolid, group.epoch, group.ended) == (7, 1, False)
    origin, snapshot = group.devices
    assert origin.labels == ("vol", "lvol-00000007")
    assert (snapshot.lvolid, snapshot.broken) == (9, False)
    (mirror,) = origin.mirrors
    assert (mirror.events, mirror.dirty) == (2, False)
    assert [replica.state for replica in mirror.replicas] == [
        LiveState.INSYNC,
        LiveState.INSYNC,
        LiveState.FAULTY,
    ]
    assert mirror.replicas[2].reason is Reason.CONNECTION
    assert mirror.replicas[2].export == "12.1-secret"


def test_a_state_file_that_was_only_ordered_yet_is_read(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "group.json").write_bytes((GOLDEN / "group-attached.json").read_bytes())

    group = state_file.read_state(str(folder))

    assert group is not None
    assert all(
        replica.state is LiveState.INSYNC for replica in group.devices[0].mirrors[0].replicas
    )


def test_a_state_file_is_written_with_the_members_that_9b700b5_reads(
    make_folder: MakeFolder,
) -> None:
    folder, group = make_folder(), state_file.read_state(str(GOLDEN))
    assert group is not None

    state_file.write_state(str(folder), group)

    written = json.loads((folder / "group.json").read_text())
    assert written == json.loads((GOLDEN / "group.json").read_text())


def test_a_write_intent_bitmap_of_9b700b5_is_read(make_folder: MakeFolder) -> None:
    path = make_folder() / "map"
    content = (GOLDEN / "intent-00000007").read_bytes()
    path.write_bytes(content)
    found = BOOT_ID.search(content)
    assert found is not None

    bitmap = WriteIntentBitmap(str(path), GB, 2, found[0].decode())

    assert (bitmap.survived, bitmap.old_epoch) == (True, 1)
    regions = bitmap.part(0, GB)
    assert regions.resync_dirty() == 1
    assert regions.to_resync() == [9]


def test_a_write_intent_bitmap_is_written_as_9b700b5_did(make_folder: MakeFolder) -> None:
    path, content = make_folder() / "map", (GOLDEN / "intent-00000007").read_bytes()
    found = BOOT_ID.search(content)
    assert found is not None

    bitmap = WriteIntentBitmap(str(path), GB, 1, found[0].decode())
    bitmap.part(0, GB).set_dirty(9 << 20, 4096)
    bitmap.adopt()

    assert path.read_bytes() == content


def test_missed_chunks_of_9b700b5_are_read_and_9b700b5_reads_ours(make_folder: MakeFolder) -> None:
    path, content = make_folder() / "missed", (GOLDEN / "missed-0000000c").read_bytes()
    path.write_bytes(content)

    missed = MissedChunks(str(path), 1024, 20)

    assert missed.listed() == [5, 9]
    # 9b700b5 cuts the file to so many bytes before it maps it.
    assert path.read_bytes()[:1024] == content
    assert MissedChunks(str(path), 1024, 20).listed() == [5, 9]


@pytest.mark.parametrize("name", ["data.lock", "head.lock"])
def test_the_holder_of_a_lock_file_of_9b700b5_is_known(make_folder: MakeFolder, name: str) -> None:
    path = make_folder() / name
    assert spawn.take_lock(str(path), dialogue.LockHolder())
    path.write_bytes((GOLDEN / name).read_bytes())

    holder = spawn.lock_holder(str(path))

    assert holder is not None
    assert holder.pid in {32319, 32326}
    assert holder.instance == ("1b2e96ae92717244" if name == "data.lock" else "")


def test_a_lock_file_of_a_newer_version_is_refused(make_folder: MakeFolder) -> None:
    path = str(make_folder() / "lock")
    assert spawn.take_lock(path, replace(dialogue.LockHolder(1), version=2))

    with pytest.raises(EngineError, match="version 2"):
        spawn.lock_holder(path)


@pytest.mark.parametrize("kind", ["group.json", "intent-00000007", "missed-0000000c"])
def test_a_file_of_a_newer_version_is_refused_and_stays_as_it_is(
    make_lab: MakeLab, kind: str
) -> None:
    lab = make_lab(servers=3)
    lab.attach()
    folder = lab.folder / "h" / "groups" / f"{VOLUME:08x}"
    lab.head.stop()
    missed = MissedChunks(str(folder / "missed-0000000c"), 1024, 20)
    missed.add_all()
    file = folder / kind
    newer = file.read_bytes()
    for old, new in ((b'"version": 1', b'"version": 2'), (b"VASWIM01", b"VASWIM02")):
        newer = newer.replace(old, new)
    newer = newer.replace(b"VASMIS01", b"VASMIS02")
    file.write_bytes(newer)

    for act in (lambda: lab.head.revive(VOLUME), lambda: lab.attach(epoch=2)):
        with pytest.raises(EngineError, match="version 2, and this agent knows 1") as refused:
            act()
        assert refused.value.errno == errno.EPROTONOSUPPORT
        assert file.read_bytes() == newer
    file.write_bytes(newer.replace(b"02", b"01").replace(b'"version": 2', b'"version": 1'))


def test_a_group_whose_files_are_those_of_9b700b5_is_revived(make_lab: MakeLab) -> None:
    lab = make_lab(servers=3)
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, b"a" * 4096)
        lab.wait_until_flushed()
    folder = lab.folder / "h" / "groups" / f"{VOLUME:08x}"
    boot_id = BOOT_ID.search((folder / f"intent-{VOLUME:08x}").read_bytes())
    assert boot_id is not None
    lab.head.stop()
    group = json.loads((GOLDEN / "group.json").read_text())
    del group["devices"][1]  # the snapshot has no store here
    for replica, store in zip(group["devices"][0]["mirrors"][0]["legs"], lab.stores, strict=True):
        replica["port"] = store.engine.port
    (folder / "group.json").write_text(json.dumps(group))
    content = (GOLDEN / "intent-00000007").read_bytes()
    (folder / "intent-00000007").write_bytes(BOOT_ID.sub(boot_id[0], content))
    shutil.copy(GOLDEN / "missed-0000000c", folder)

    lab.head.revive(VOLUME)

    assert lab.states()[12] is ReplicaState.FAULTY
    lab.rebuild(2, 12)
    lab.wait_for(12, ReplicaState.INSYNC)
    assert lab.replicas()[12].total_mib == 2  # what it missed, and no more
    with NbdClient(lab.device) as client:
        assert client.read(0, 4096) == b"a" * 4096


# -- the control socket


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("state", dialogue.TellState),
        ("detach", dialogue.TakeDown),
        ("snapshot", dialogue.TakeSnapshot),
        ("unsnapshot", dialogue.RemoveSnapshot),
        ("rebuild", dialogue.StartRebuild),
        ("cancel", dialogue.StopRebuild),
        ("leases", dialogue.TellLeases),
        ("export", dialogue.ServeLeases),
        ("drop", dialogue.DropLeases),
        ("stop", dialogue.EndServer),
    ],
)
def test_orders_are_those_of_9b700b5_both_ways(verb: str, kind: type[dialogue.Order]) -> None:
    struct, _ = conversation(verb)

    order = dialogue.unpack_order(struct)

    assert type(order) is kind
    packed = dialogue.pack_order(order)
    # Of a device processes of 9b700b5 ignore what they do not know.
    packed.get("device", {}).pop("created", None)
    assert packed == struct


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("state", dialogue.GroupReply),
        ("detach", dialogue.TakenDown),
        ("leases", tuple[dialogue.ServedLease, ...]),
        ("rebuild", type(None)),
        ("export", type(None)),
    ],
)
def test_answers_are_those_of_9b700b5_both_ways(verb: str, kind: type) -> None:
    _, struct = conversation(verb)

    reply: object = dialogue.unpack_reply(kind, struct)

    # To the member: agents of 9b700b5 take replicas and leases as they are, with no member more.
    # Of devices, and of a group's whole answer, they ignore what they do not know.
    told = dialogue.value_reply(reply)
    if isinstance(reply, dialogue.GroupReply):
        assert {device.pop("waiting") for device in told["value"]["devices"]} == {0}
        assert told["value"].pop("figures") == []
    assert told == struct


def test_a_served_lease_is_a_lease_and_its_clients() -> None:
    lease = Lease("10.1-secret", "/disks/a", 0, GB, 4362076160, 10, 7, 1)
    served = dialogue.unpack_reply(tuple[dialogue.ServedLease, ...], conversation("leases")[1])

    assert (served[0].lease(), served[0].clients) == (lease, 1)


def test_an_answer_that_something_failed_is_raised() -> None:
    struct = {"errno": errno.ENOENT, "message": "no mirror 999 in this group"}

    with pytest.raises(EngineError, match="no mirror 999") as refused:
        dialogue.unpack_reply(type(None), struct)

    assert dialogue.error_reply(refused.value) == struct


def test_what_is_no_order_is_refused() -> None:
    nonsense: tuple[object, ...] = (
        None,
        [],
        {},
        {"do": "dance"},
        {"do": ["state"]},
        {"do": "cancel"},
    )
    for struct in nonsense:
        with pytest.raises(EngineError) as refused:
            dialogue.unpack_order(struct)
        assert refused.value.errno == errno.EINVAL


def test_a_data_server_that_counts_nothing_says_so(make_folder: MakeFolder) -> None:
    """To an order that 9b700b5 does not know, the verb of ours, it answers EINVAL."""
    folder = make_folder()
    refusal = json.dumps({"errno": errno.EINVAL, "message": "no such order: 'figures'"})
    heard: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(1 << 16))
            connection.sendall(refusal.encode() + b"\n")

    engine = UserspaceStorage(folder, folder, ["127.0.0.1"], 0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "data.ctl"))
        listener.listen()
        old = threading.Thread(target=answer, args=(listener,))
        old.start()
        assert engine.figures() is None
        old.join()

    assert heard == [b'{"do": "figures"}\n']


def test_a_head_process_is_started_with_what_9b700b5_starts_one_with() -> None:
    arguments = dialogue.HeadArguments(
        folder="/s/groups/00000007",
        run_dir="/r",
        links_dir="/dev/vas",
        lock="/s/groups/00000007/lock",
        log="/s/groups/00000007/log",
        control="/r/h00000007.ctl",
        boot_id="b",
        rebuild_mib_per_s=0,
        replica_timeout=5.0,
        revive=False,
    )

    assert to_struct(arguments) == {
        "folder": "/s/groups/00000007",
        "run_dir": "/r",
        "links_dir": "/dev/vas",
        "lock": "/s/groups/00000007/lock",
        "log": "/s/groups/00000007/log",
        "control": "/r/h00000007.ctl",
        "boot_id": "b",
        "rebuild_mib_per_s": 0,
        "leg_timeout": 5.0,
        "revive": False,
        "storage_wait": 60.0,
        "access": {"uid": -1, "gid": -1, "mode": 0},
    }
