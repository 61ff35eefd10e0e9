"""Replicas land apart, on trusted and empty disks, and a refusal explains itself."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.errors import NoSpace
from volumes.placement.forecast import total_gb
from volumes.placement.openings import Openings, surely_fit
from volumes.placement.policy import Placed, Room, place


def room(disk: int, server: int, *free_gb: int, **about: object) -> Room:
    return Room(disk=disk, server=server, capacity_gb=100, free_gb=free_gb, **about)  # type: ignore[arg-type]


@st.composite
def pools(draw: st.DrawFn) -> list[Room]:
    servers = draw(st.integers(1, 8))
    domains = [(draw(st.sampled_from("ab")), draw(st.sampled_from("xyz"))) for _ in range(servers)]
    return [
        Room(
            disk=disk,
            server=server,
            capacity_gb=100,
            free_gb=tuple(sorted(draw(st.lists(st.integers(1, 20), max_size=4)))),
            domain=domains[server],
            tags=frozenset(draw(st.sets(st.sampled_from(["ssd", "hdd"])))),
            usable=draw(st.booleans()),
            second_choice=draw(st.booleans()),
        )
        for disk, server in enumerate(
            server for server in range(servers) for _ in range(draw(st.integers(1, 3)))
        )
    ]


ssd_or_any = st.sets(st.sampled_from(["ssd"]))
requests = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def feasible_gb(rooms: list[Room], asked_gb: int) -> int:
    free: dict[int, int] = {}
    for r in rooms:
        free[r.server] = free.get(r.server, 0) + sum(r.free_gb)
    return sum(min(gb, asked_gb) for gb in free.values())


def cut(rooms: list[Room], placed: list[Placed]) -> None:
    """Take the pieces as inventory.space does; fails if one does not fit."""
    free = {r.disk: sorted(r.free_gb) for r in rooms}
    for piece in placed:
        for disk in piece.disks:
            source = next(gb for gb in free[disk] if gb >= piece.size_gb)
            free[disk].remove(source)
            free[disk] = sorted([*free[disk], source - piece.size_gb])


@given(pools(), requests, st.integers(2, 4), ssd_or_any, st.sets(st.integers(0, 7)))
def test_replicas_land_on_distinct_allowed_servers_with_room(
    rooms: list[Room], sizes: list[int], replicas: int, tags: set[str], avoid: set[int]
) -> None:
    by_disk = {r.disk: r for r in rooms}
    able = [r for r in rooms if r.usable and r.tags >= tags and r.server not in avoid]
    try:
        placed = place(rooms, sizes, replicas, tags=tags, avoid_servers=avoid)
    except NoSpace:
        return
    assert sum(piece.size_gb for piece in placed) == sum(sizes)
    for piece in placed:
        assert len({by_disk[disk].server for disk in piece.disks}) == replicas
        assert {by_disk[disk] for disk in piece.disks} <= set(able)
    cut(rooms, placed)


@given(pools(), st.integers(1, 24), ssd_or_any, st.sets(st.integers(0, 7)))
def test_an_opening_is_told_just_where_one_more_replica_is_placed(
    rooms: list[Room], size_gb: int, tags: set[str], avoid: set[int]
) -> None:
    try:
        place(rooms, [size_gb], 1, tags=tags, avoid_servers=avoid, divisible=False)
    except NoSpace:
        found = False
    else:
        found = True

    taken = Openings(rooms).take(size_gb, frozenset(tags), avoid)
    assert (taken is not None) == found


@given(pools(), st.integers(1, 24), st.integers(2, 5))
def test_openings_are_taken_and_never_given_twice(
    rooms: list[Room], size_gb: int, replicas: int
) -> None:
    openings = Openings(rooms)
    free = Counter[int]()
    for r in rooms:
        free[r.server] += sum(r.free_gb) if r.usable else 0

    for _ in range(replicas):
        server = openings.take(size_gb, frozenset(), ())
        if server is not None:
            free[server] -= size_gb

    assert min(free.values(), default=0) >= 0


leaving = st.lists(
    st.tuples(
        st.integers(1, 12), ssd_or_any.map(frozenset), st.sets(st.integers(0, 7), max_size=2)
    ),
    min_size=1,
    max_size=8,
)


@given(pools(), leaving)
def test_what_surely_fits_finds_a_place_for_each(
    rooms: list[Room], leaving: list[tuple[int, frozenset[str], set[int]]]
) -> None:
    gb = sum(size_gb for size_gb, _, _ in leaving)
    largest: dict[frozenset[str], int] = {}
    for size_gb, tags, _ in leaving:
        largest[tags] = max(size_gb, largest.get(tags, 0))
    sure = all(surely_fit(rooms, gb, most_gb, tags, 2) for tags, most_gb in largest.items())

    openings = Openings(rooms)
    found = [openings.take(*one) for one in leaving]

    assert not (sure and None in found)


def test_where_there_is_plenty_nobody_has_to_try() -> None:
    rooms = [room(disk, disk, 50) for disk in range(4)]

    assert surely_fit(rooms, 60, 20, frozenset(), 2)
    assert not surely_fit(rooms, 63, 20, frozenset(), 2)
    assert not surely_fit(rooms, 1, 1, frozenset({"ssd"}), 2)


@given(pools(), st.integers(2, 4))
def test_the_total_is_what_servers_can_hold_of_replicas_that_share_none(
    rooms: list[Room], replicas: int
) -> None:
    free = Counter[int]()
    for r in rooms:
        free[r.server] += sum(r.free_gb) if r.usable else 0

    def could_hold(gb: int) -> bool:
        return sum(min(gb, most) for most in free.values()) >= gb * replicas

    total = total_gb(rooms, replicas)
    assert could_hold(total)
    assert not could_hold(total + 1)


@given(pools(), st.integers(1, 12), st.integers(2, 4))
def test_one_gb_is_refused_only_when_too_few_servers_have_one(
    rooms: list[Room], pieces: int, replicas: int
) -> None:
    able = {r.server for r in rooms if r.usable and r.free_gb}

    if len(able) < replicas:
        with pytest.raises(NoSpace):
            place(rooms, [1], replicas)
    else:
        assert place(rooms, [1], replicas)


@given(pools(), requests, st.integers(2, 4))
def test_placement_is_deterministic_whatever_the_order_of_rooms(
    rooms: list[Room], sizes: list[int], replicas: int
) -> None:
    def outcome(given_rooms: list[Room]) -> object:
        try:
            return place(given_rooms, sizes, replicas)
        except NoSpace:
            return None

    assert outcome(rooms) == outcome(rooms[::-1])


@given(st.integers(1, 4), st.integers(1, 5))
def test_equal_servers_are_filled_to_the_last_gb(disks: int, gb: int) -> None:
    rooms = [room(s * 10 + d, s, gb * 10) for s in range(3) for d in range(disks)]

    placed = place(rooms, [10] * (gb * disks), 3)

    assert [piece.size_gb for piece in placed] == [10] * (gb * disks)
    with pytest.raises(NoSpace):
        place(rooms, [10] * (gb * disks) + [1], 3)


def test_fragmented_space_makes_more_mirrors_of_the_same_total() -> None:
    rooms = [room(server, server, 4, 4, 4) for server in range(3)]

    placed = place(rooms, [10], 3)

    assert [piece.size_gb for piece in placed] == [3, 2, 3, 2]


def test_what_must_stay_whole_is_refused_rather_than_halved() -> None:
    rooms = [room(server, server, 4, 4, 4) for server in range(3)]

    with pytest.raises(NoSpace, match="36 GiB free, 4 GiB in one piece"):
        place(rooms, [10], 3, divisible=False)


def test_low_is_used_only_when_high_is_full() -> None:
    rooms = [
        room(1, 1, 50, second_choice=True),
        room(2, 2, 10),
        room(3, 3, 10),
    ]

    first, second = place(rooms, [10], 2), place(rooms[:2], [10], 2)

    assert first == [Placed(10, (2, 3))]
    assert second == [Placed(10, (2, 1))]


def test_the_emptiest_server_and_its_emptiest_disk_come_first() -> None:
    rooms = [room(1, 1, 50), room(2, 2, 60), room(3, 2, 90), room(4, 3, 40)]

    assert place(rooms, [10], 2) == [Placed(10, (3, 1))]


def test_replicas_spread_over_sites_then_racks() -> None:
    labels = [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")]
    rooms = [room(n, n, 90 - n, domain=label) for n, label in enumerate(labels)]

    (placed,) = place(rooms, [10], 3)

    assert set(placed.disks) == {0, 3, 2}


def test_another_site_counts_more_than_another_rack_or_an_emptier_disk() -> None:
    labels = [("a", "1"), ("a", "2"), ("b", "1")]
    rooms = [room(n, n, 90 - 20 * n, domain=label) for n, label in enumerate(labels)]

    (placed,) = place(rooms, [10], 2)

    assert set(placed.disks) == {0, 2}


def test_a_replacement_keeps_away_from_the_domains_that_have_a_replica() -> None:
    rooms = [room(1, 1, 90, domain=("a", "1")), room(2, 2, 20, domain=("b", "1"))]

    assert place(rooms, [10], 1, beside=[("a", "2")]) == [Placed(10, (2,))]


def test_a_refusal_tells_in_numbers_what_each_filter_removed() -> None:
    rooms = [
        room(1, 1, 50, usable=False),
        room(2, 1, 50, usable=False),
        room(3, 2, 50, tags=frozenset({"hdd"})),
        room(4, 3, tags=frozenset({"ssd"})),
        room(5, 4, 30, 40, tags=frozenset({"ssd"})),
    ]

    with pytest.raises(NoSpace) as refusal:
        place(rooms, [10, 10], 2, tags=["ssd"], avoid_servers=[9])

    assert str(refusal.value) == (
        "no room for 20 GiB in 2 replicas on separate servers: of 5 disks on 4 servers, "
        "2 disks (1 whole servers) are not HIGH or LOW, "
        "1 disks (1 whole servers) are without the tags ssd, "
        "1 disks (1 whole servers) are full or not yet zeroed; "
        "1 disks on 1 servers remain with 70 GiB free, 40 GiB in one piece"
    )
