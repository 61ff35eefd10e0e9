"""What disks say of themselves, and workers by their ticks, is shown, measured and told of."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client

from agents.protocol import DiskState, SmartFigures
from inventory import workers
from inventory.models import Disk, DiskHealth, StorageServer, Worker
from tests.jobs.conftest import Cluster
from volumes.reports import metrics, problems

FINE = SmartFigures(passed=1, temperature=34, reallocated=2, wear=7)


@pytest.fixture
def disk(cluster: Cluster) -> Disk:
    """A disk with a label, whose server tells of it."""
    node = cluster.add_storage()
    Disk.objects.update(disk_uuid="u")
    row = Disk.objects.get()
    node.disks = [DiskState("u", row.local_path, row.pk, 99, smart=FINE)]
    return row


def tells(cluster: Cluster, smart: SmartFigures) -> None:
    (node,) = cluster.world.storages.values()
    (state,) = node.disks
    node.disks = [DiskState("u", state.local_path, state.pdskid, 99, smart=smart)]
    cluster.reconcile()


def titles() -> list[str]:
    return [problem.title for problem in problems.find()]


def test_figures_are_kept_shown_and_measured(cluster: Cluster, disk: Disk) -> None:
    cluster.reconcile()

    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    page = browser.get(f"/admin/inventory/disk/{disk.pk}/change/").content.decode()
    assert "passed, 34 °C, 2 sectors reallocated, 7 % worn" in page
    assert "vastsky_disk_pending_sectors" not in measured()


def measured() -> dict[str, tuple[str, ...]]:
    """The metrics that have a sample, with its labels: here there is one disk."""
    return {sample.family.name: sample.labels for sample in metrics.tell()}


@pytest.mark.parametrize(("name", "label"), [("store-1", "store-1"), ("", "ssvr-00000001")])
def test_figures_tell_on_which_server_and_where_the_disk_is(
    cluster: Cluster, disk: Disk, name: str, label: str
) -> None:
    cluster.reconcile()
    StorageServer.objects.update(name=name)

    labels = ("pdsk-00000001", "ssvr-00000001", label, disk.local_path)
    assert measured()["vastsky_disk_temperature_celsius"] == labels


def test_nothing_is_written_while_nothing_changes(cluster: Cluster, disk: Disk) -> None:
    cluster.reconcile()
    before = DiskHealth.objects.get().at
    tells(cluster, FINE)
    assert DiskHealth.objects.get().at == before

    tells(cluster, SmartFigures(passed=1, temperature=35))
    row = DiskHealth.objects.get()
    assert (row.temperature, row.reallocated) == (35, None)
    assert row.at > before


def test_a_disk_that_says_it_is_about_to_fail_is_a_problem_with_a_way_out(
    cluster: Cluster, disk: Disk
) -> None:
    tells(cluster, SmartFigures(passed=0))

    (found,) = [problem for problem in problems.find() if "SMART" in problem.title]
    assert (found.about, found.verb) == (disk, "evacuate-disk")
    assert problems.is_anything_wrong()
    tells(cluster, FINE)
    assert not problems.is_anything_wrong()


def test_of_a_copy_nothing_is_taken_for_the_disk_itself(cluster: Cluster, disk: Disk) -> None:
    cluster.reconcile()
    other = cluster.add_storage(disks=0)
    hot = SmartFigures(temperature=99)
    other.disks = [DiskState("v", "/disk/copy", disk.pk, 99, smart=hot)]
    cluster.reconcile()

    assert DiskHealth.objects.get().temperature == 34


# -- workers --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_worker_that_stands_still_is_told_of_until_it_ticks_or_leaves() -> None:
    for token in ("a", "b"):
        workers.tick(token)
    Worker.objects.filter(pk="a").update(at=F("at") - timedelta(minutes=2), host="north")
    assert "A worker on north takes no steps any more" in titles()
    assert problems.is_anything_wrong()

    workers.tick("a")
    assert not problems.is_anything_wrong()
    assert Worker.objects.get(pk="a").beat == 1

    for token in ("a", "b"):
        workers.leave(token)
    assert not Worker.objects.exists()


@pytest.mark.django_db
def test_a_worker_that_was_killed_is_forgotten_once_its_host_has_another() -> None:
    workers.tick("killed")
    Worker.objects.update(at=F("at") - timedelta(minutes=2))
    workers.tick("new")

    assert list(Worker.objects.values_list("pk", flat=True)) == ["new"]


@pytest.mark.django_db
def test_a_worker_that_was_killed_and_started_anew_at_once_is_never_missed() -> None:
    for token in ("killed", "new"):
        workers.tick(token)
    killed = Worker.objects.filter(pk="killed")
    killed.update(at=F("at") - timedelta(minutes=2))
    Worker.objects.filter(pk="new").update(since=F("since") - timedelta(minutes=2))

    assert titles() == []
    assert not problems.is_anything_wrong()

    killed.update(at=F("at") + timedelta(seconds=40))
    assert "takes no steps any more" in titles()[0], "it ticked on beside the other"
