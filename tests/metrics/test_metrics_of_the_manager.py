"""/metrics of the manager tells what the rows are, as text that a monitoring system reads."""

import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from time_machine import travel

from agents.identity import Identity
from benchmarks.seed import Size, fill
from inventory import recovery, servers
from inventory.models import Cluster, Disk, Priority, StorageServer
from tests.conftest import AddServer
from tests.contract.api import Api, add_disk, put_down
from tests.metrics.conftest import Ask, Read
from tests.seeded import empty
from vastsky_site import metrics
from vastsky_site.access import certificates
from vastsky_site.api import call_counts
from volumes import acknowledgements
from volumes.models import Job, Replica

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
SMALL = Size(servers=5, disks=2, disk_gb=1500, heads=2, volumes=12)
LARGE = Size(servers=12, disks=6, disk_gb=1500, heads=5, volumes=120, racks=5)
GB = 1 << 30


@pytest.fixture(autouse=True)
def _nothing_was_called_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process counts for as long as it lives, and here that is as long as all tests."""
    counts = call_counts.counts
    for name, nothing in vars(call_counts.CallCounts()).items():
        monkeypatch.setattr(counts, name, nothing)


# -- the text -------------------------------------------------------------------------------------


def test_they_are_text_that_prometheus_reads(ask: Ask, scrape: Read) -> None:
    fill(SMALL, trouble=True)

    assert ask()["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    told = scrape()
    assert told.count() > 100
    assert told.value("vastsky_recovery_mode") == 0


def test_who_wants_openmetrics_gets_it(scrape: Read, call: Api) -> None:
    fill(SMALL, trouble=True)
    call("listEvents")

    plain, told = scrape(), scrape(HTTP_ACCEPT=OPENMETRICS)

    assert told.names() - plain.names() == set()
    assert told.families["vastsky_rpc_calls"].kind == "counter"
    assert told.value("vastsky_rpc_calls_total", method="listEvents", fault="none") == 1


def test_a_head_request_tells_that_they_are_there(ask: Ask, db: None) -> None:
    response = ask("HEAD")

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")


def test_nothing_is_told_that_is_not_described(scrape: Read) -> None:
    fill(SMALL, trouble=True)
    described = {family.name: family for family in metrics.families()}

    told = scrape().families

    assert set(told) <= set(described)
    for name, family in told.items():
        assert family.kind == described[name].kind
        labels = {label for _, pairs in family.samples for label, _ in pairs}
        assert labels - {"le"} == set(described[name].labels)


@pytest.mark.parametrize("family", metrics.families(), ids=lambda family: family.name)
def test_a_metric_is_named_as_the_field_names_them(family: Any) -> None:
    assert re.fullmatch(r"(vastsky|process)(_[a-z0-9]+)+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert not re.search(r"_(mib|gb|ms|percent)\b", family.name)
    assert family.meaning.endswith(".")


def test_a_scrape_asks_as_often_for_few_rows_as_for_many(ask: Ask, db: None) -> None:
    def queries() -> int:
        ask()
        with CaptureQueriesContext(connection) as asked:
            assert ask().status_code == 200
        return len(asked)

    fill(SMALL, trouble=True)
    few = queries()
    empty()
    fill(LARGE, trouble=True)

    assert queries() <= few + 2
    assert few < 70


def test_a_database_that_does_not_answer_is_a_failed_scrape(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    def fail() -> Any:
        raise DatabaseError("gone")

    monkeypatch.setattr("volumes.reports.metrics.tell", fail)

    assert ask().status_code == 503


# -- what they tell -------------------------------------------------------------------------------


def test_a_cluster_that_is_well_says_so(scrape: Read) -> None:
    fill(SMALL)

    told = scrape()

    assert told.value("vastsky_cluster_verdict", verdict="safe") == 1
    assert sum(told.values("vastsky_cluster_verdict", "verdict").values()) == 1
    assert "vastsky_problems" not in told.families


def test_the_verdict_is_the_worst_that_holds(
    scrape: Read, call: Api, add_server: AddServer
) -> None:
    _volume(call, add_server, redundancy=2)
    put_down(StorageServer, 1, Priority.FAULTY)
    put_down(Disk, 2, Priority.OFFLINE)
    Replica.objects.filter(server=1).update(status=Replica.Status.FAULTY, reason="failed")

    told = scrape()

    assert told.value("vastsky_cluster_verdict", verdict="at_risk") == 1
    assert told.value("vastsky_cluster_verdict", verdict="safe") == 0
    assert told.value("vastsky_volumes", good_replicas=1, promised=2) == 1
    assert told.value("vastsky_volumes", good_replicas=2, promised=2) == 0
    cause = {"cause": "storageserver", "severity": "last_replica", "acknowledged": "no"}
    assert told.value("vastsky_problems", **cause) == 1
    lesser = {"cause": "disk", "severity": "failed", "acknowledged": "no"}
    assert told.value("vastsky_problems", **lesser) == 1


def test_recovery_mode_is_told(scrape: Read) -> None:
    servers.cluster()
    recovery.enter("a node knows more")

    told = scrape()

    assert told.value("vastsky_recovery_mode") == 1
    assert told.value("vastsky_cluster_verdict", verdict="recovering") == 1


def test_space_adds_up_to_all_there_is(scrape: Read, call: Api, add_server: AddServer) -> None:
    _volume(call, add_server, redundancy=3, gb=10)
    call("vastsky.maintenance", ssvrid=1, minutes=60)

    uses = scrape().values("vastsky_capacity_bytes", "use")

    whole = Disk.objects.aggregate(gb=Sum("capacity_gb"))["gb"]
    assert sum(uses.values()) == whole * GB
    assert uses["used"] == 3 * 10 * GB
    assert uses["maintenance"] == 90 * GB
    assert uses["resting"] == 0
    assert uses["free"] == 180 * GB
    assert uses["label"] == 3 * GB


def test_servers_and_disks_are_told_by_state(
    scrape: Read, call: Api, add_server: AddServer
) -> None:
    for _ in range(4):
        add_server(disks=2)
    put_down(StorageServer, 2, Priority.OFFLINE)
    StorageServer.objects.filter(pk=3).update(silent_since=timezone.now() - timedelta(seconds=10))
    call("vastsky.maintenance", ssvrid=4, minutes=60)
    call("vastsky.renameServer", ssvrid=2, name="rack-2-a")

    told = scrape()

    states = {
        state: told.value("vastsky_servers", kind="storage", state=state)
        for state in ("high", "offline", "silent", "maintenance")
    }
    assert states == {"high": 1, "offline": 1, "silent": 1, "maintenance": 1}
    assert told.value("vastsky_disks", state="maintenance") == 2
    assert sum(told.values("vastsky_disks", "state").values()) == 8
    up = told.values("vastsky_server_up", "server")
    assert up == {
        "ssvr-00000001": 1,
        "ssvr-00000002": 0,
        "ssvr-00000003": 0,
        "ssvr-00000004": 1,
    }
    told.value("vastsky_server_up", kind="storage", server="ssvr-00000002", name="rack-2-a")


def test_jobs_are_told_by_what_they_do_and_by_their_age(scrape: Read, call: Api) -> None:
    ssvrid = call("registerStorageServer", ip_data=["10.8.0.1", "10.9.0.1"])
    for disk in range(2):
        add_disk(call, ssvrid, f"/dev/disk/by-id/{disk}", 100)
    first = Job.objects.filter(kind="shred").earliest("pk")
    asked = timezone.now() - timedelta(hours=2)
    Job.objects.filter(pk=first.pk).update(since=asked, ordered=True, done_mib=1024)

    told = scrape()

    jobs = Job.objects.filter(kind="shred", state="open").count()
    assert jobs >= 2
    assert told.value("vastsky_jobs", kind="shred", state="running") == 1
    assert told.value("vastsky_jobs", kind="shred", state="waiting") == jobs - 1
    assert told.value("vastsky_jobs", kind="attach", state="waiting") == 0
    age = told.value("vastsky_job_oldest_age_seconds", kind="shred")
    assert age == pytest.approx(7200, abs=60)
    assert told.value("vastsky_work_done_bytes", kind="shred") == GB


def test_the_age_of_the_backup_and_of_the_last_sweep_are_told(
    scrape: Read, settings: Settings
) -> None:
    fill(SMALL)
    written = timezone.now() - timedelta(hours=30)
    Cluster.objects.update(backed_up=written)

    told = scrape()

    assert told.value("vastsky_backup_timestamp_seconds") == pytest.approx(written.timestamp())
    backup = {"cause": "backup", "severity": "stopped", "acknowledged": "no"}
    assert told.value("vastsky_problems", **backup) == 1
    settings.VASTSKY_BACKUPS_KEPT = 0
    assert "vastsky_backup_timestamp_seconds" not in scrape().families


def test_the_end_of_certificates_is_told(scrape: Read, settings: Settings, tmp_path: Path) -> None:
    certificates.issue(tmp_path, "manager", ["127.0.0.1"], may_call=True)
    names = ("manager.pem", "manager.key", "authority.pem")
    settings.VASTSKY_IDENTITY = Identity(*(tmp_path / name for name in names))

    told = scrape()
    with travel(time.time() + 3621 * 86400, tick=False):
        later = scrape()

    ends = told.values("vastsky_certificate_end_timestamp_seconds", "certificate")
    assert set(ends) == {"manager", "authority"}
    assert ends["manager"] == pytest.approx(time.time() + 3650 * 86400, abs=86400)
    assert "vastsky_problems" not in told.families
    assert later.values("vastsky_problems", "cause")["certificate"] == len(ends)


def test_volumes_are_told_one_by_one_up_to_the_limit(
    scrape: Read, call: Api, add_server: AddServer, settings: Settings
) -> None:
    for _ in range(3):
        add_server()
    for number in range(3):
        call("createLogicalVolume", lvolname=f"vol-{number}", capacity=2)
    assert "vastsky_volume_good_replicas" not in scrape().families
    settings.VASTSKY_METRICS_VOLUMES = 2

    told = scrape()

    assert told.values("vastsky_volume_good_replicas", "volume") == {"vol-0": 3, "vol-1": 3}
    assert told.values("vastsky_volume_capacity_bytes", "volume")["vol-0"] == 2 * GB
    assert told.value("vastsky_volumes_untold") == 1


def test_what_somebody_knows_of_is_told_as_such(
    scrape: Read, call: Api, add_server: AddServer
) -> None:
    add_server()
    put_down(StorageServer, 1, Priority.OFFLINE)
    key = {"cause": "storageserver", "severity": "failed"}
    assert scrape().value("vastsky_problems", acknowledged="no", **key) == 1
    acknowledgements.acknowledge(
        key="storageserver-1", title="t", risk=6, hours=1, reason="on the way"
    )

    assert scrape().value("vastsky_problems", acknowledged="yes", **key) == 1


# -- calls ----------------------------------------------------------------------------------------


def test_calls_are_counted_by_method_and_fault(
    scrape: Read, call: Api, add_server: AddServer
) -> None:
    add_server()
    call("listStorageServers")
    call("listStorageServers")
    call.fault("showLogicalVolume", lvolid=99)
    call.fault("showLogicalVolume")

    told = scrape()

    name = "vastsky_rpc_calls_total"
    assert told.value(name, method="listStorageServers", fault="none") == 2
    assert told.value(name, method="showLogicalVolume", fault="ENOENT") == 1
    assert told.value(name, method="showLogicalVolume", fault="EINVAL") == 1
    seconds = "vastsky_rpc_duration_seconds"
    assert told.value(f"{seconds}_count", method="listStorageServers") == 2
    assert told.value(f"{seconds}_bucket", method="listStorageServers", le="+Inf") == 2
    assert 0 < told.value(f"{seconds}_sum", method="listStorageServers") < 10


def test_a_bug_is_counted_as_one(scrape: Read, call: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ImproperlyConfigured("a bug")

    monkeypatch.setattr("vastsky_site.access.authorization.perform", fail)
    assert call.fault("listEvents") == 500

    assert scrape().value("vastsky_rpc_calls_total", method="listEvents", fault="500") == 1


def test_who_is_not_let_in_is_counted(scrape: Read, call: Api) -> None:
    response = call.client.generic("POST", "/RPC2", b"", REMOTE_ADDR="10.0.0.7")
    assert response.status_code == 401

    assert scrape().value("vastsky_rpc_denied_total", status=401) == 1


def test_a_process_among_several_tells_no_calls(
    scrape: Read, call: Api, settings: Settings
) -> None:
    call("listEvents")
    settings.VASTSKY_WEB_PROCESSES = 2

    assert "vastsky_rpc_calls_total" not in scrape().families


def test_the_build_and_the_process_are_told(scrape: Read, settings: Settings) -> None:
    told = scrape()

    assert told.values("vastsky_build_info", "version") == {settings.VASTSKY_RELEASE: 1}
    assert told.values("vastsky_build_info", "database") == {connection.vendor: 1}
    assert told.value("process_resident_memory_bytes") > 1 << 20
    assert told.value("process_start_time_seconds") == pytest.approx(time.time(), abs=86400)


def _volume(call: Api, add_server: AddServer, *, redundancy: int, gb: int = 5) -> int:
    for _ in range(redundancy):
        add_server()
    made = call("createLogicalVolume", lvolname="vol", capacity=gb, redundancy=redundancy)
    return int(made)
