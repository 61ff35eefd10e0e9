"""A worker writes a backup a day and keeps the last ones; the console complains where it cannot."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from deploy.local.place import ROOT
from inventory import servers
from inventory.models import Cluster as ClusterRow
from tests.jobs.conftest import Cluster
from volumes.integrity import backup
from volumes.reports import problems
from volumes.worker import backups


@pytest.fixture
def folder(four: Cluster, settings: Settings, tmp_path: Path) -> Path:
    settings.VASTSKY_BACKUP_FOLDER = str(tmp_path / "backups")
    settings.VASTSKY_BACKUPS_KEPT = 3
    servers.cluster()
    return tmp_path / "backups"


def _hours_ago(hours: int) -> None:
    ClusterRow.objects.update(backed_up=timezone.now() - timedelta(hours=hours))


def _complaints() -> list[str]:
    return [problem.title for problem in problems.find() if "backup" in problem.title]


def test_the_first_is_written_at_once_and_the_next_a_day_later(folder: Path) -> None:
    first = backups.keep()
    assert first is not None
    assert first.stat().st_mode & 0o077 == 0
    assert backup.taken(first) <= timezone.now()
    assert backups.keep() is None

    _hours_ago(25)
    assert backups.keep() is not None


def test_only_the_last_ones_are_kept(folder: Path) -> None:
    folder.mkdir()
    for day in range(5):
        (folder / f"vastsky-2026010{day}T000000.backup").touch()
    _hours_ago(25)

    newest = backups.keep()

    assert newest is not None
    kept = sorted(path.name for path in folder.iterdir())
    names = ["vastsky-20260103T000000.backup", "vastsky-20260104T000000.backup", newest.name]
    assert kept == names


def test_an_old_backup_is_a_problem_until_there_is_a_new_one(folder: Path) -> None:
    assert not _complaints()

    _hours_ago(27)
    assert _complaints() == ["The newest backup of the manager is older than 26 hours"]
    assert problems.is_anything_wrong()

    backups.keep()
    assert not _complaints()
    assert not problems.is_anything_wrong()


def test_who_wants_none_hears_no_complaint(folder: Path, settings: Settings) -> None:
    settings.VASTSKY_BACKUPS_KEPT = 0
    _hours_ago(500)

    assert backups.keep() is None
    assert not _complaints()
    assert not folder.exists()


def test_a_cluster_that_nobody_has_used_yet_is_backed_up_and_restored(tmp_path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": "", "VASTSKY_HOME": str(tmp_path)}
    dump = str(tmp_path / "dump")

    for words in (["migrate", "-v0"], ["backup", dump], ["restore", dump], ["fsck"]):
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
