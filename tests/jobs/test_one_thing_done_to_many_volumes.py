"""All volumes that a list's filters match are chosen at once: one job, and a result for each."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from inventory.models import AuditEntry, HeadServer
from tests.jobs.conftest import Cluster
from volumes.lifecycle import batches, volumes
from volumes.models import Attachment, BatchRow, Job, LogicalVolume

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/volumes/logicalvolume/"


@pytest.fixture
def operator() -> Client:
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(Group.objects.get_or_create(name="operator")[0])
    client = Client()
    client.force_login(user)
    return client


def _choose_all(client: Client, verb: str, match: str) -> str:
    """Choose all that match in the list, and a verb: the address of the preview."""
    form = {"action": verb, "select_across": "1", "_selected_action": "1", "index": "0"}
    answer = client.post(f"{LIST}?{match}", form)
    return str(answer["Location"])


def _confirm(client: Client, preview: str, **more: object) -> str:
    """Confirm what a preview shows: where that leads, or "" where it is shown anew."""
    page = client.get(preview).content.decode()
    hidden = dict(
        re.findall(r'<input type="hidden" name="(match|shown|back)" value="([^"]*)"', page)
    )
    form = {name: value.replace("&amp;", "&") for name, value in hidden.items()}
    answer = client.post(preview.partition("?")[0], {**form, **more})
    return str(answer.headers.get("Location", ""))


def _results(job: Job) -> dict[str, str]:
    return dict(BatchRow.objects.filter(batch=job.pk).values_list("name", "state"))


def test_all_that_match_are_deleted_by_one_job_and_no_other(
    four: Cluster, operator: Client
) -> None:
    for number in range(60):
        four.create(f"old-{number}", gb=1)
    used, kept = four.create("old-used"), four.create("new")
    four.attach(used, next(iter(four.world.heads.values())))

    preview = _choose_all(operator, "delete_volume", "q=old")
    page = " ".join(operator.get(preview).content.decode().split())
    assert "Delete: 60 of 61 will be done" in page
    assert "1 volume: it is attached" in page
    assert _confirm(operator, preview, phrase="yes") == ""
    there = _confirm(operator, preview, phrase="all 60")

    job = four.job(Job.Kind.BATCH)
    assert there == f"/admin/volumes/job/{job.pk}/change/"
    four.work(3)
    job.refresh_from_db()
    assert job.state == "done"
    assert set(_results(job).values()) == {"done"}
    assert set(LogicalVolume.objects.values_list("name", flat=True)) == {used.name, kept.name}
    assert (
        AuditEntry.objects.filter(verb="delete_volume", actor="olga", way="console").count() == 60
    )
    assert "60 <span" in " ".join(operator.get(there).content.decode().split())
    lines = b"".join(operator.get(f"/admin/console/jobs/{job.pk}/volumes.csv")).decode()
    assert len(lines.splitlines()) == 61


def test_reasons_are_told_of_what_matches_and_of_nothing_else(
    four: Cluster, operator: Client
) -> None:
    origin = four.create("data", gb=1)
    four.attach(origin, next(iter(four.world.heads.values())))
    LogicalVolume.objects.create(
        id=4711,
        node_id=4712,
        linear_id=4713,
        name="data.nightly",
        capacity_gb=1,
        store_gb=2,
        redundancy=3,
        origin=origin,
    )

    page = operator.get(_choose_all(operator, "attach", "kind=snapshot")).content.decode()

    assert "nothing can be done" in page
    assert "1 volume: a snapshot is attached together with its origin" in page
    assert "bound" not in page


def test_many_are_attached_a_few_at_a_time_and_each_tells_why_it_was_not(
    four: Cluster, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 2)
    made = [four.create(f"v-{number}", gb=1) for number in range(5)]
    head = HeadServer.objects.get()
    preview = _choose_all(operator, "attach", "attached=no")
    assert _confirm(operator, preview, head=head.pk)
    volumes.delete_volume(made[3])
    job = four.job(Job.Kind.BATCH)

    most = 0
    for _ in range(12):
        four.work()
        most = max(most, Job.objects.filter(kind="attach", state="open").count())

    job.refresh_from_db()
    assert job.state == "done"
    assert most <= 2
    assert Attachment.objects.filter(head=head, state="bound").count() == 4
    assert _results(job) == {f"v-{n}": "refused" if n == 3 else "done" for n in range(5)}
    assert BatchRow.objects.get(state="refused").text == "it is gone"
    page = operator.get(f"/admin/volumes/job/{job.pk}/change/").content.decode()
    assert "it is gone" in page
    assert Job.objects.filter(kind="attach", actor="olga").count() == 4


def test_what_matches_by_then_is_shown_anew_if_it_is_not_what_was_shown(
    four: Cluster, operator: Client
) -> None:
    four.create("v-1", gb=1)
    preview = _choose_all(operator, "delete_volume", "q=v-")
    page = operator.get(preview).content.decode()
    hidden = dict(re.findall(r'name="(match|shown)" value="([^"]*)"', page))
    four.create("v-2", gb=1)

    answer = operator.post(preview.partition("?")[0], {**hidden, "phrase": "all 1"})

    assert "What matches has changed" in answer.content.decode()
    assert not Job.objects.filter(kind="batch").exists()


def test_a_job_that_is_canceled_begins_no_more(
    four: Cluster, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "STEP", 0)
    four.create("v-1", gb=1)
    _confirm(operator, _choose_all(operator, "delete_volume", ""), phrase="all 1")
    job = four.job(Job.Kind.BATCH)

    operator.post("/admin/console/do/cancel-job/", {"on": job.pk})
    monkeypatch.setattr(batches, "STEP", 50)
    four.work(2)

    assert four.job(Job.Kind.BATCH).state == "canceled"
    assert _results(job) == {"v-1": "refused"}
    assert LogicalVolume.objects.count() == 1


def test_who_may_only_look_chooses_nothing(four: Cluster) -> None:
    four.create("v-1", gb=1)
    user = User.objects.create_user("victor", is_staff=True)
    user.groups.add(Group.objects.get_or_create(name="viewer")[0])
    viewer = Client()
    viewer.force_login(user)

    assert viewer.get("/admin/console/do/delete-volume/all/?match=").status_code == 403
    assert viewer.get("/admin/console/do/fail-disk/all/?match=").status_code == 404
