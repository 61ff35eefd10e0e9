"""`manage.py check --deploy` tries what the manager needs; /healthz tells what it can do."""

import os
import shutil
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from django.core import checks
from django.core.checks import run_checks
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings
from time_machine import travel

from agents.identity import Identity
from inventory import recovery, servers
from vastsky_site import health
from vastsky_site.access import certificates

CERTIFICATES = {"vastsky.W015", "vastsky.E016", "vastsky.W017", "vastsky.E018"}
FILES = {"vastsky.W019", "vastsky.E020"}

PRODUCTION = {
    "VASTSKY_PRODUCTION": "1",
    "VASTSKY_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz" * 2,
    "VASTSKY_ALLOWED_HOSTS": "manager.example",
}


def run(home: Path, *command: str, **environment: str) -> str:
    """Run manage.py in an environment of its own; all that it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VASTSKY_")}
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        env={**kept, "DATABASE_URL": "", "VASTSKY_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_what_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    nobody = closed_port()

    said = run(
        tmp_path,
        "check",
        "--deploy",
        DATABASE_URL=f"postgresql://vastsky:secret-word@127.0.0.1:{nobody}/vastsky",
        REDIS_URL=f"redis://127.0.0.1:{nobody}/0",
        **PRODUCTION,
    )

    assert "vastsky.E010" in said
    assert "mend DATABASE_URL" in said
    assert "vastsky.E014" in said
    assert "Start Redis" in said
    assert "vastsky.W015" in said
    assert "secret-word" not in said


def test_a_database_of_an_older_version_is_named_with_what_to_do(tmp_path: Path) -> None:
    said = run(tmp_path, "check", "--deploy", VASTSKY_COMMAND="vastsky-manage", **PRODUCTION)

    assert "vastsky.E011" in said
    assert "`vastsky-manage migrate`" in said
    assert "manage.py" not in said
    assert "vastsky.W013" in said


@pytest.fixture
def identity(tmp_path: Path, settings: Settings) -> Identity:
    """The manager has a certificate that is valid from now."""
    certificates.issue(tmp_path, "manager", ["127.0.0.1"], may_call=True)
    files = (tmp_path / name for name in ("manager.pem", "manager.key", "authority.pem"))
    made = Identity(*files)
    settings.VASTSKY_IDENTITY = made
    return made


def findings() -> dict[str | None, checks.CheckMessage]:
    found = run_checks(tags=["deployment"], include_deployment_checks=True)
    return {finding.id: finding for finding in found}


@pytest.mark.django_db
def test_a_key_that_others_can_read_is_named_with_what_to_do(identity: Identity) -> None:
    assert not CERTIFICATES & findings().keys()

    identity.key.chmod(0o644)

    assert findings()["vastsky.E018"].hint == f"chmod 600 {identity.key}"


@pytest.mark.django_db
def test_a_certificate_that_ends_soon_is_named_and_so_is_one_that_ended(identity: Identity) -> None:
    end = x509.load_pem_x509_certificate(identity.certificate.read_bytes()).not_valid_after_utc

    with travel(end - timedelta(days=31), tick=False):
        assert not CERTIFICATES & findings().keys()
    with travel(end - timedelta(days=9), tick=False):
        assert "9 more days" in findings()["vastsky.W017"].msg
        assert "new authority" in (findings()["vastsky.W017"].hint or "")
    with travel(end + timedelta(hours=1), tick=False):
        assert "no node talks to us" in findings()["vastsky.E016"].msg


@pytest.mark.django_db
def test_a_full_disk_and_a_folder_of_somebody_else_are_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not FILES & findings().keys()
    nearly_full = SimpleNamespace(total=10 << 30, used=9 << 30, free=1 << 29)

    monkeypatch.setattr(shutil, "disk_usage", lambda _: nearly_full)
    monkeypatch.setattr(os, "access", lambda *_: False)

    found = findings()
    assert "0.5 GiB left of 10 GiB" in found["vastsky.W019"].msg
    assert str(settings.VASTSKY_HOME) in found["vastsky.E020"].msg


@pytest.mark.django_db
def test_health_is_told_to_whoever_asks_by_any_name(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["manager.example"]
    settings.SECURE_SSL_REDIRECT = True

    answer = client.get("/healthz", headers={"host": "10.0.0.7"})

    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.django_db
def test_health_tells_recovery_mode_and_calls_are_still_answered(client: Client) -> None:
    servers.cluster()
    recovery.enter("a node knows more")

    answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.content.startswith(b"recovering")


@pytest.mark.django_db
def test_a_schema_of_another_version_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_migrated", type(health._migrated)())
    MigrationRecorder.Migration.objects.filter(app="volumes").order_by("-pk")[:1].get().delete()

    answer = client.get("/healthz")

    assert answer.status_code == 503
    assert b"manage.py migrate" in answer.content
