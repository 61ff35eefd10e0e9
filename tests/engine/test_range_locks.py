from hypothesis import given
from hypothesis import strategies as st

from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.mirror.missed_chunks import MissedChunks
from agents.engines.userspace.mirror.range_locks import RangeLock, RangeLocks
from agents.engines.userspace.mirror.write_intent import WriteIntentBitmap
from tests.engine.conftest import MakeFolder

SPAN = 12

steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "release", "write", "land"]),
        st.integers(0, SPAN - 1),
        st.integers(1, 4),
    ),
    max_size=60,
)


class Model:
    """Writes and copiers that use range locks as a mirror does; checks what must always hold."""

    def __init__(self) -> None:
        self.in_flight: dict[int, tuple[int, int]] = {}
        self.ranges = RangeLocks(self.in_flight)
        self.held: list[RangeLock] = []
        self.begun = 0
        self.landed = 0
        self.wanted = 0
        self.granted = 0

    def take(self, start: int, end: int) -> None:
        self.wanted += 1
        LoopTask(self._take(self.ranges.take(start, end)))

    async def _take(self, later: Future) -> None:
        _, taken = await later
        self.granted += 1
        assert not any(taken.overlaps(other.start, other.end) for other in self.held)
        assert not any(taken.overlaps(at, at + size) for at, size in self.in_flight.values())
        self.held.append(taken)

    def write(self, start: int, size: int) -> None:
        self.begun += 1
        self._write(start, size)

    def _write(self, start: int, size: int) -> None:
        if self.ranges.busy and self.ranges.parks(
            start, start + size, lambda: self._write(start, size)
        ):
            return
        assert not any(held.overlaps(start, start + size) for held in self.held)
        self.in_flight[self.begun * 1000 + len(self.in_flight) + self.landed] = (start, size)

    def release(self, place: int) -> None:
        if self.held:
            self.ranges.release(self.held.pop(place % len(self.held)))

    def land(self, place: int) -> None:
        if self.in_flight:
            start, size = self.in_flight.pop(sorted(self.in_flight)[place % len(self.in_flight)])
            self.landed += 1
            self.ranges.landed(start, start + size)


@given(steps)
def test_a_taken_range_is_never_written_and_nobody_waits_for_ever(
    script: list[tuple[str, int, int]],
) -> None:
    model = Model()
    for action, place, size in script:
        match action:
            case "take":
                model.take(place, place + size)
            case "write":
                model.write(place, size)
            case "release":
                model.release(place)
            case _:
                model.land(place)
    while model.held or model.in_flight:
        model.release(0)
        model.land(0)

    assert model.landed == model.begun
    assert model.granted == model.wanted
    assert not model.ranges.busy


def test_an_intent_outlives_only_a_flush_that_began_after_its_write(
    make_folder: MakeFolder,
) -> None:
    regions = WriteIntentBitmap(str(make_folder() / "map"), 8 << 20, 1, "boot").part(0, 8 << 20)
    regions.set_dirty(0, 1)
    regions.set_dirty(1 << 20, 1)
    regions.begin_cleaning([(1 << 20, 1)])
    regions.set_dirty(2 << 20, 1)
    regions.end_cleaning()

    assert list(regions.as_missing()) == [0, 1, 1, 0, 0, 0, 0, 0]
    regions.begin_cleaning([])
    regions.end_cleaning()
    assert not any(regions.as_missing())


def test_a_map_is_only_believed_under_the_same_boot_and_size(make_folder: MakeFolder) -> None:
    path = str(make_folder() / "map")
    first = WriteIntentBitmap(path, 8 << 20, 3, "boot")
    first.adopt()
    first.part(0, 8 << 20).set_dirty(0, 1)

    again = WriteIntentBitmap(path, 8 << 20, 4, "boot")
    assert (again.survived, again.old_epoch) == (True, 3)
    assert again.part(0, 8 << 20).resync_dirty() == 1
    assert not WriteIntentBitmap(path, 8 << 20, 4, "another boot").survived
    assert not WriteIntentBitmap(path, 16 << 20, 4, "boot").survived


def test_a_large_volume_has_a_small_map(make_folder: MakeFolder) -> None:
    path = make_folder() / "map"

    WriteIntentBitmap(str(path), 1 << 50, 1, "boot")

    assert path.stat().st_size <= (16 << 20) + 4096


def test_missed_chunks_add_up_until_they_are_copied(make_folder: MakeFolder) -> None:
    missed = MissedChunks(str(make_folder() / "missed"), 5, 20)
    missed.add(bytes((0, 1, 0, 0, 0)))
    missed.add_range((3 << 20) - 1, 2)
    missed.forget(1)

    assert missed.listed() == [2, 3]
