"""The support bundle has what one needs to help, and none of the secrets."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from inventory.models import AuditEntry, Member
from vastsky_site.access import tokens
from vastsky_site.settings_table import SETTINGS
from vastsky_site.support import bundle, facts, logs, masking
from volumes.models import LogicalVolume

pytestmark = pytest.mark.django_db
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIAbcdefgh\n-----END EC PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def _no_journal_and_no_tries_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "journal", lambda: "nothing\n")
    quiet = [bundle.BundlePart(part.name, part.what, part.make) for part in bundle.PARTS]
    kept = [part for part in quiet if part.name not in {"logs/journal.log", "check.txt"}]
    monkeypatch.setattr(bundle, "PARTS", tuple(kept))


def client(role: str) -> Client:
    user = User.objects.create_user(f"an-{role}", is_staff=True)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    found = Client()
    found.force_login(user)
    return found


def unpacked(content: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        return {
            one.name.partition("/")[2]: (archive.extractfile(one) or io.BytesIO()).read().decode()
            for one in archive.getmembers()
        }


def taken() -> dict[str, str]:
    return unpacked(b"".join(bundle.stream()))


def test_an_admin_gets_it_in_one_click() -> None:
    LogicalVolume.objects.create(
        pk=7, node_id=8, linear_id=9, name="mail", capacity_gb=1, store_gb=1, redundancy=3
    )

    answer: Any = client("admin").get("/admin/support/bundle/")
    files = unpacked(b"".join(answer.streaming_content))

    assert [name for name, text in files.items() if "could not be made" in text] == []
    assert "7,mail,1,3" in files["tables/volumes.csv"]
    assert "VASTSKY_OFFLINE_SECONDS=20  # default" in files["settings.txt"]
    assert "I14" in files["fsck.txt"]
    assert "verdict:" in files["problems.txt"]
    assert files["versions.txt"].startswith("manager ")
    entry = AuditEntry.objects.get(verb="take_support_bundle")
    assert (entry.actor, entry.way) == ("an-admin", "console")
    assert entry.subject in answer["Content-Disposition"]


def test_none_of_the_known_secrets_is_in_it(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    secrets = {one.name: f"secret-of-{one.name}" for one in SETTINGS if one.secret}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    password = "pass-word-of-db"
    row, token = tokens.create_token(name="program", role="reader")
    user = User.objects.create_user("somebody", password=password)
    Member.objects.create(
        name="shelf", secret_hash="5ec4e7" * 10, invited_until="2030-01-01T00:00Z"
    )
    settings.VASTSKY_HOME = tmp_path
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "web.log").write_text(
        f"GET token {token}\nconnect postgres://vas:{password}@db/x\nkey {settings.SECRET_KEY}\n"
        f"{KEY}\nAuthorization: Basic dTpzZWNyZXRzZWNyZXQ=\njoin vastsky1.{'Ab9_' * 20}\n"
        "an ordinary line\n"
    )

    whole = "\n".join(taken().values())

    assert "an ordinary line" in whole
    shown = [settings.SECRET_KEY, token, row.digest, user.password, password, "5ec4e75ec4e7"]
    shown += [*secrets.values(), "MHcCAQEEI", "dTpzZWNyZXQ", "vastsky1.Ab9"]
    assert [secret for secret in shown if secret in whole] == []
    assert masking.MASK in whole


def test_a_part_that_cannot_be_made_tells_why_and_the_others_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails() -> Any:
        raise OSError(5, "the disk is gone")

    monkeypatch.setattr(facts, "problems", fails)

    files = taken()

    assert "could not be made: OSError" in files["problems.txt"]
    assert "manager" in files["versions.txt"]


def test_of_a_long_log_the_end_is_kept(tmp_path: Path, settings: Settings) -> None:
    settings.VASTSKY_HOME = tmp_path
    (tmp_path / "logs").mkdir()
    lines = [f"{number:07} {'x' * 92}\n" for number in range(60_000)]
    (tmp_path / "logs" / "worker.log").write_text("".join(lines))

    log = taken()["logs/worker.log"]

    assert len(log) <= bundle.MOST_BYTES
    assert log.startswith("00")
    assert log.endswith(lines[-1])


def test_the_command_writes_a_file_of_its_own_that_others_cannot_read(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"

    call_command("support", str(file))

    assert "versions.txt" in unpacked(file.read_bytes())
    assert file.stat().st_mode & 0o777 == 0o600
    assert AuditEntry.objects.filter(verb="take_support_bundle", subject=str(file)).exists()
    with pytest.raises(CommandError):
        call_command("support", str(file))


def test_who_is_no_admin_gets_none() -> None:
    operator = client("operator")

    assert operator.get("/admin/support/").status_code == 403
    assert operator.get("/admin/support/bundle/").status_code == 403
    assert not AuditEntry.objects.filter(verb="take_support_bundle").exists()
