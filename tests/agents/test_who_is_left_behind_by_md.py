"""A mirror of the kernel engine: whom it leaves behind, and in which order who hears of it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.engines.base import EngineError
from agents.engines.kernel import arrays, replica_set
from agents.engines.kernel.device_mapper import Mapped
from agents.engines.kernel.mirror import KernelMirror
from agents.engines.kernel.probes import Evicted, Servers
from agents.engines.kernel.replica_device import Seen
from agents.engines.userspace.head.state_file import SavedMirror, SavedReplica
from agents.engines.userspace.mirror.live_replica import BUILDING, FAULTY, INSYNC, LiveState
from agents.ondisk import Mark
from agents.protocol import Reason

MIRROR = 0x17


class Paths:
    """What becomes of the devices of three replicas, in place of a kernel's; and what happened."""

    def __init__(self) -> None:
        self.lost: set[int] = set()
        self.refusing: set[int] = set()
        self.happened: list[str] = []

    def device(self, name: str, _size: int) -> "FakeDevice":
        return FakeDevice(self, int(name.split("-")[2], 16))


class FakeDevice:
    """The device of replica N is dm-N."""

    def __init__(self, paths: Paths, dextid: int) -> None:
        self._paths = paths
        self._dextid = dextid

    def find(self) -> Mapped:
        return Mapped("", os.makedev(254, self._dextid), 0)

    def look(self) -> Seen:
        return Seen(lost=self._dextid in self._paths.lost, fails=False)

    def flush(self) -> None:
        pass

    def let_fail(self) -> None:
        self._paths.happened.append(f"requests of {self._dextid} fail")

    def write_mark(self, mark: Mark) -> None:
        if self._dextid in self._paths.lost | self._paths.refusing:
            raise EngineError(errno.EIO, "no path works")
        self._paths.happened.append(f"mark {mark.events} on {self._dextid}")


class Evicting(Servers):
    """Servers that evicted what they are told to have evicted."""

    def __init__(self, *evicted: int) -> None:
        super().__init__()
        self._evicted = evicted

    def has_evicted(self, one: SavedReplica) -> bool:
        return one.dextid in self._evicted


Make = Callable[..., KernelMirror]


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> Paths:
    paths = Paths()
    monkeypatch.setattr(replica_set, "ReplicaDevice", paths.device)
    return paths


@pytest.fixture
def md(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """md's files of an array of three members that are in sync."""
    monkeypatch.setattr(arrays, "BLOCK", tmp_path)
    folder = tmp_path / f"md_vas{MIRROR:08x}" / "md"
    folder.mkdir(parents=True)
    for name, text in (
        ("array_state", "active"),
        ("sync_action", "idle"),
        ("resync_start", "none"),
    ):
        (folder / name).write_text(text)
    for number in (1, 2, 3):
        (folder / f"dev-dm-{number}").mkdir()
        state(folder, number).write_text("in_sync")
    return folder


def state(md: Path, number: int) -> Path:
    return md / f"dev-dm-{number}" / "state"


@pytest.fixture
def make(paths: Paths, md: Path, tmp_path: Path) -> Make:
    def make(*faulty: int, building: int = 0, servers: Servers | None = None) -> KernelMirror:
        def standing(number: int) -> LiveState:
            if number == building:
                return BUILDING
            return FAULTY if number in faulty else INSYNC

        replicas = tuple(SavedReplica(n, (), 0, "", standing(n)) for n in (1, 2, 3))
        saved = SavedMirror(MIRROR, 1, 5, dirty=False, replicas=replicas)
        save = paths.happened.append
        return KernelMirror((7, 3), saved, tmp_path, servers or Evicting(), lambda: save("saved"))

    return make


def standing(mirror: KernelMirror) -> dict[int, tuple[LiveState, Reason]]:
    return {n: (one.state, one.reason) for n, one in mirror.replicas.all.items()}


def test_the_marks_of_the_others_tell_first_then_the_state_file_and_then_md(
    make: Make, paths: Paths, md: Path
) -> None:
    mirror = make()
    paths.lost = {2}

    mirror.look()

    assert paths.happened == ["mark 6 on 1", "mark 6 on 3", "saved", "requests of 2 fail"]
    assert standing(mirror)[2] == (FAULTY, Reason.CONNECTION)
    assert state(md, 2).read_text() == "faulty"


def test_one_that_does_not_take_the_mark_is_left_behind_too(
    make: Make, paths: Paths, md: Path
) -> None:
    mirror = make()
    paths.lost, paths.refusing = {2}, {3}

    mirror.look()

    assert paths.happened[:2] == ["mark 6 on 1", "mark 7 on 1"]
    assert [n for n, (told, _) in standing(mirror).items() if told == FAULTY] == [2, 3]


def test_where_none_is_left_to_tell_nobody_is_left_behind(
    make: Make, paths: Paths, md: Path
) -> None:
    mirror = make()
    paths.lost = {1, 2, 3}
    mirror.look()
    paths.lost = {2}
    paths.refusing = {1, 3}

    with pytest.raises(EngineError, match="no good replica takes the mark"):
        mirror.look()

    assert paths.happened == []
    assert set(standing(mirror).values()) == {(INSYNC, Reason.NONE)}
    assert {state(md, n).read_text() for n in (1, 2, 3)} == {"in_sync"}


def test_a_member_that_md_itself_failed_is_left_behind_for_its_disk(
    make: Make, paths: Paths, md: Path
) -> None:
    state(md, 3).write_text("faulty,blocked")
    (md / "array_state").write_text("write-pending")
    mirror = make()

    mirror.look()

    assert standing(mirror)[3] == (FAULTY, Reason.IO)
    assert state(md, 3).read_text() == "-blocked"
    assert (md / "array_state").read_text() == "active"


def test_a_head_that_was_evicted_leaves_nobody_behind(make: Make, paths: Paths) -> None:
    mirror = make(servers=Evicting(2))
    paths.lost = {2}

    with pytest.raises(Evicted):
        mirror.look()

    assert paths.happened == []


def test_a_replica_that_is_being_built_may_be_served_no_more(make: Make, paths: Paths) -> None:
    mirror = make(building=2, servers=Evicting(2))
    paths.lost = {2}

    mirror.look()

    assert standing(mirror)[2] == (FAULTY, Reason.CONNECTION)
    assert paths.happened[-1] == "requests of 2 fail"


def test_what_an_agent_noted_before_it_ended_md_is_told_by_the_next(
    make: Make, paths: Paths, md: Path
) -> None:
    paths.lost = {2}

    make(2).look()

    assert paths.happened == ["requests of 2 fail"]
    assert state(md, 2).read_text() == "faulty"
