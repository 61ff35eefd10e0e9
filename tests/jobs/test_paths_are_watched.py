"""Paths that are slow or down are problems and events: one for each cause, and never a flood."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inventory.models import Address, PathTrouble, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.paths import watch
from volumes.reports import problems
from volumes.reports.problems import Risk, causes

pytestmark = pytest.mark.django_db(transaction=True)
DOWN, SLOW = -1, 50_000


class Cabling:
    """Three heads and four storage servers on two networks, and hands to pull cables."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.storages = [cluster.add_storage() for _ in range(4)]
        self.heads = [cluster.add_head() for _ in range(3)]
        self.cable()

    def cable(self) -> None:
        """Give each storage server an address in the other network as well."""
        for number, one in enumerate(self.storages):
            Address.objects.get_or_create(
                storage_id=one.server_id, position=1, address=f"127.9.9.{number + 1}"
            )

    def pull(
        self, heads: list[Head], servers: list[int], micros: int = DOWN, nets: str = "B"
    ) -> None:
        """Let so long pass between these heads and servers, by these networks."""
        for head in heads:
            for number in servers:
                for net in nets:
                    address = Address.objects.get(
                        storage=self.storages[number].server_id, position="AB".index(net)
                    )
                    head.micros[address.address] = micros

    def heal(self) -> None:
        for head in self.heads:
            head.micros.clear()

    def look(self, seconds: int = 0, times: int = 1) -> None:
        """Look, with so much time before it."""
        for _ in range(times):
            later = timedelta(seconds=seconds)
            for name in ("since", "worse_since", "better_since"):
                PathTrouble.objects.update(**{name: F(name) - later})
            watch.look()

    def lasts(self) -> None:
        """Let what is so be so for long enough to be told."""
        self.look()
        self.look(30)

    def events(self) -> list[tuple[str, str, str, str]]:
        rows: list[dict[str, Any]] = self.cluster.call("vastsky.listEvents", limit=200)["events"]
        return [
            (one["kind"], one["severity"], one["object"], one["cause"])
            for one in reversed(rows)
            if one["kind"].startswith("path_")
        ]


@pytest.fixture
def cabling(cluster: Cluster) -> Cabling:
    return Cabling(cluster)


def titles() -> list[str]:
    return [card.problem.title for card in causes.by_cause(problems.find())]


def test_a_servers_network_that_no_head_reaches_is_one_problem_and_one_event(
    cabling: Cabling,
) -> None:
    cabling.pull(cabling.heads, [1])
    cabling.look()
    assert titles() == []
    cabling.look(30)
    cabling.look(30)

    (card,) = causes.by_cause(problems.find())
    server = StorageServer.objects.get(pk=cabling.storages[1].server_id)
    assert (
        card.problem.title == f"storage server {server.label} is reached by no head over network B"
    )
    assert card.problem.about == server
    assert card.risk == Risk.NETWORK
    assert [one.text for one in card.victims] == ["3 paths from heads are down"]
    assert problems.is_anything_wrong()
    told = ("path_down", "warning", "storage", "no head reaches it over network B")
    assert cabling.events() == [told]

    cabling.heal()
    cabling.look()
    assert len(titles()) == 1
    cabling.look(70)
    assert titles() == []
    assert cabling.events()[1:] == [
        ("path_ok", "info", "storage", "heads reach it over network B again")
    ]


@pytest.mark.parametrize(
    ("heads", "servers", "found"),
    [
        ([0, 1, 2], [0, 1, 2, 3], ["No head reaches a storage server over network B"]),
        ([1], [0, 1, 2, 3], ["head server {h1} reaches no storage server over network B"]),
        ([0], [2], ["head server {h0} does not reach {s2} over network B"]),
        ([0, 1], [0, 1], ["Several paths over network B are down"]),
    ],
)
def test_a_cause_is_told_once_however_many_paths_it_has(
    cabling: Cabling, heads: list[int], servers: list[int], found: list[str]
) -> None:
    cabling.pull([cabling.heads[number] for number in heads], servers)
    cabling.lasts()

    names = {f"h{n}": f"hsvr-{one.server_id:08x}" for n, one in enumerate(cabling.heads)}
    names |= {f"s{n}": f"ssvr-{one.server_id:08x}" for n, one in enumerate(cabling.storages)}
    assert titles() == [text.format(**names) for text in found]
    assert len(cabling.events()) == 1
    (card,) = causes.by_cause(problems.find())
    assert card.count == len(heads) * len(servers)


def test_a_switch_of_a_rack_is_one_problem(cabling: Cabling) -> None:
    cabling.storages += [cabling.cluster.add_storage() for _ in range(2)]
    cabling.cable()
    cabling.pull(cabling.heads, [0, 1, 2, 3])
    cabling.lasts()

    assert titles() == ["Several paths over network B are down"]
    (event,) = cabling.events()
    assert event[2:] == ("cluster", "12 paths over network B are down")
    cabling.heal()
    cabling.look()
    cabling.look(70)
    assert titles() == []


def test_a_larger_cause_takes_the_smaller_one_up_and_gives_it_back(cabling: Cabling) -> None:
    cabling.pull(cabling.heads[:1], [2])
    cabling.lasts()
    cabling.pull(cabling.heads, [0, 1, 2, 3])
    cabling.lasts()
    assert titles() == ["No head reaches a storage server over network B"]

    cabling.heal()
    cabling.pull(cabling.heads[:1], [2])
    cabling.look()
    cabling.look(70)
    assert [kind for kind, *_ in cabling.events()] == ["path_down", "path_down", "path_ok"]
    assert "does not reach" in titles()[0]
    assert len(titles()) == 1


def test_who_is_reached_by_no_network_is_worse_and_one_problem(cabling: Cabling) -> None:
    cabling.pull(cabling.heads, [3], nets="AB")
    cabling.lasts()

    (card,) = causes.by_cause(problems.find())
    assert card.risk == Risk.FAILED
    assert card.problem.title.endswith("is reached by no head over either network")
    assert card.count == 6
    assert {severity for _, severity, *_ in cabling.events()} == {"error"}


def test_what_takes_long_is_slow_and_may_get_worse(cabling: Cabling) -> None:
    cabling.pull(cabling.heads, [0], SLOW)
    cabling.lasts()
    assert titles()[0].endswith("is reached slowly over network B")
    cabling.pull(cabling.heads, [0], DOWN)
    cabling.lasts()

    assert len(titles()) == 1
    assert [kind for kind, *_ in cabling.events()] == ["path_slow", "path_down"]


def test_what_comes_and_goes_is_told_once(cabling: Cabling) -> None:
    for _ in range(20):
        cabling.pull(cabling.heads, [0])
        cabling.look(10, times=2)
        cabling.heal()
        cabling.look(10, times=2)

    assert [kind for kind, *_ in cabling.events()] == ["path_down"]
    for _ in range(12):
        cabling.pull(cabling.heads, [0])
        cabling.look(30, times=2)
        cabling.heal()
        cabling.look(50, times=2)
    assert len(cabling.events()) <= 5


def test_a_server_that_is_silent_or_in_maintenance_tells_nothing_of_its_paths(
    cabling: Cabling,
) -> None:
    silent, resting = cabling.storages[0], cabling.storages[1]
    cabling.cluster.call("vastsky.maintenance", ssvrid=resting.server_id, minutes=5)
    cabling.pull(cabling.heads, [0, 1], nets="AB")
    cabling.look()
    StorageServer.objects.filter(pk=silent.server_id).update(silent_since="2020-01-01T00:00:00Z")
    cabling.look(30, times=3)
    assert cabling.events() == []

    StorageServer.objects.filter(pk=silent.server_id).update(silent_since=None)
    cabling.look(30)
    cabling.heal()
    cabling.look(30, times=3)
    assert cabling.events() == []


def test_a_path_that_was_down_before_its_server_fell_silent_is_not_told_anew(
    cabling: Cabling,
) -> None:
    server = StorageServer.objects.filter(pk=cabling.storages[0].server_id)
    cabling.pull(cabling.heads, [0])
    cabling.lasts()
    server.update(silent_since="2020-01-01T00:00:00Z")
    cabling.look(30, times=3)
    assert not [title for title in titles() if "network B" in title]
    server.update(silent_since=None)
    cabling.look(30, times=3)

    assert len(titles()) == 1
    assert len(cabling.events()) == 1


def test_what_the_manager_misses_as_well_is_the_same_problem(cabling: Cabling) -> None:
    cabling.pull(cabling.heads, [1])
    cabling.lasts()
    Address.objects.filter(storage=cabling.storages[1].server_id, position=1).update(
        silent_since="2020-01-01T00:00:00Z"
    )

    (card,) = causes.by_cause(problems.find())
    assert card.problem.title.startswith("Network B of ")
    assert [one.text for one in card.victims] == ["3 paths from heads are down"]


def test_a_problem_leads_to_its_paths_and_somebody_may_know_of_it(
    cabling: Cabling, admin_client: Client
) -> None:
    cabling.pull(cabling.heads[:1], [2])
    cabling.lasts()
    page = admin_client.get("/admin/console/problems/").content.decode()
    key = PathTrouble.objects.get().key

    assert f'href="/admin/console/paths/?cause={key}"' in page
    live = admin_client.get(
        f"/admin/console/paths/live/?cause={key}", headers={"HX-Request": "true"}
    ).content.decode()
    assert live.count('class="vs-p-down"') == 1
    assert live.count('class="vs-p-ok"') == 1

    said = {"key": key, "reason": "a cable was ordered", "hours": 2}
    admin_client.post("/admin/console/problems/acknowledge/", said)
    shown = admin_client.get("/admin/console/problems/").context
    assert [line.card.key for line, _ in shown["known"]] == [key]
    assert shown["lines"] == []
    cabling.pull(cabling.heads[:1], [2], nets="AB")
    cabling.lasts()
    told = admin_client.get("/admin/console/problems/").context["lines"]
    assert [line.card.risk for line in told] == [Risk.FAILED]


def test_many_troubles_cost_no_more_questions_than_one(
    cabling: Cabling, admin_client: Client
) -> None:
    def questions() -> int:
        with CaptureQueriesContext(connection) as asked:
            problems.find()
            watch.look()
        return len(asked)

    cabling.pull(cabling.heads[:1], [2])
    cabling.lasts()
    one = questions()
    cabling.pull(cabling.heads[1:2], [0, 1, 2, 3], nets="AB")
    cabling.pull(cabling.heads[:1], [3], SLOW)
    cabling.lasts()
    assert len(titles()) > 1
    assert questions() <= one
