"""The overview and the number of problems are computed for all who look, not for each of them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.console.conftest import PART, SignIn
from volumes.console.pages import overview
from volumes.models import Job, Mirror, Replica
from volumes.reports import protection, shared, verdict
from volumes.reports.shared import Shared

LIVE = "/admin/console/overview/live/"
BADGE = "/admin/console/problems/badge/"


@pytest.fixture
def answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MOST", 15.0)
    monkeypatch.setattr(overview, "ANSWER", Shared(overview._context))


def test_who_asks_meanwhile_waits_for_the_one_who_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MOST", 15.0)
    computed: list[int] = []
    everybody = threading.Barrier(8)

    def make() -> int:
        computed.append(1)
        return 7

    answer = Shared(make)

    def ask(_: int) -> int:
        everybody.wait(5)
        return answer.get()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {7}
    assert len(computed) == 1

    answer.forget()
    assert (answer.last(), answer.get(), len(computed)) == (None, 7, 2)


def test_an_answer_that_took_long_is_kept_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MOST", 15.0)
    now = [0.0]
    monkeypatch.setattr(shared, "monotonic", lambda: now[0])
    monkeypatch.setattr(shared, "thread_time", lambda: now[0])

    def make() -> float:
        now[0] += 0.1
        return now[0]

    answer = Shared(make)
    first = answer.get()

    now[0] += 9.9
    assert answer.get() == first
    now[0] += 0.2
    assert answer.get() > first


@pytest.mark.usefixtures("well")
def test_who_lacks_a_replica_is_told_whether_it_is_made_anew_or_not() -> None:
    assert protection.weak_volumes() == {}
    one, other, third = Mirror.objects.order_by("volume")[:3]
    Replica.objects.filter(mirror=one).earliest("pk").delete()
    for mirror in (one, third):
        Job.objects.create(
            id=4711 + mirror.pk,
            kind=Job.Kind.REBUILD,
            mirror=mirror,
            subject="",
            due=timezone.now(),
        )

    assert protection.weak_volumes().keys() == {one.volume_id}

    Replica.objects.filter(mirror=other).earliest("pk").delete()
    assert protection.weak_volumes().keys() == {one.volume_id, other.volume_id}


@pytest.mark.usefixtures("ill", "answers_are_kept")
def test_the_next_viewer_of_whatever_role_costs_a_few_queries(sign_in: SignIn) -> None:
    viewer, admin, nobody = sign_in("viewer"), sign_in("admin"), sign_in("")
    first = viewer.get(LIVE, headers=PART).content

    with CaptureQueriesContext(connection) as queries:
        assert admin.get(LIVE, headers=PART).content == first

    assert len(queries) <= 4
    assert nobody.get(LIVE, headers=PART).status_code == 403
    assert nobody.get(BADGE, headers=PART).status_code == 403


@pytest.mark.usefixtures("well", "answers_are_kept")
def test_the_badge_tells_how_many_and_goes_when_all_are_acknowledged(console: Client) -> None:
    assert console.get(BADGE, headers=PART).content.strip() == b""
    overview.ANSWER.forget()
    replica = Replica.objects.earliest("pk")
    Replica.objects.filter(pk=replica.pk).update(status=Replica.Status.FAULTY)

    assert b"1 problem<" in console.get(BADGE, headers=PART).content

    key = next(card.key for card in verdict.find(protection.weak_volumes()).told)
    console.post(
        "/admin/console/problems/acknowledge/", {"key": key, "reason": "known", "hours": 24}
    )
    assert console.get(BADGE, headers=PART).content.strip() == b""
    assert "vs-badge" not in console.get("/admin/").content.decode()
