"""The environment decides; what is wrong in it is said in one line."""

import ast
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from vastsky_site.settings import _database

READ = ("-c", "import vastsky_site.settings")


def python(home: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VASTSKY_")}
    return subprocess.run(
        [sys.executable, *command],
        env={**clean, "DATABASE_URL": "", "VASTSKY_HOME": str(home), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VASTSKY_BRAKE_PERCENT", "many"),
        ("VASTSKY_BRAKE_PERCENT", "101"),
        ("VASTSKY_HEAD_AGENT_PORT", "65536"),
        ("VASTSKY_RECONCILE_SECONDS", "0"),
        ("VASTSKY_DEBUG", "perhaps"),
        ("VASTSKY_METRICS_NETWORKS", "10.0.0.0/8,everybody"),
        ("VASTSKY_METRICS_VOLUMES", "20001"),
        ("VASTSKY_WEBHOOK_AUTHORITY", "/nowhere/authority.pem"),
        ("DATABASE_URL", "mysql://x/y"),
        ("DATABASE_URL", "sqlite://"),
        ("VASTSKY_HOME", "/dev/null/x"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(tmp_path: Path, name: str, value: str) -> None:
    result = python(tmp_path, *READ, **{name: value})

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert name in result.stderr


def test_the_secret_key_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    python(tmp_path, *READ)
    kept = tmp_path / "secret_key"
    first = kept.read_text()
    python(tmp_path, *READ)

    assert len(first) > 50
    assert kept.read_text() == first
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_production_wants_a_secret_key(tmp_path: Path) -> None:
    result = python(tmp_path, *READ, VASTSKY_PRODUCTION="1")

    assert result.returncode == 1
    assert "VASTSKY_SECRET_KEY" in result.stderr


PRODUCTION = {
    "VASTSKY_PRODUCTION": "1",
    "VASTSKY_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "VASTSKY_ALLOWED_HOSTS": "manager.example",
}
ASK_AS_A_PROXY = """
from django.test import Client
from vastsky_site.wsgi import application
told = {"x-forwarded-proto": "https", "host": "manager.example"}
print(Client(headers=told).get("/admin/login/").status_code)
"""


def test_production_passes_the_deployment_checks(tmp_path: Path) -> None:
    check = ("manage.py", "check", "--deploy", "--tag=security", "--fail-level=WARNING")

    result = python(tmp_path, *check, **PRODUCTION)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("behind", "status"), [("0", 301), ("1", 200)])
def test_a_proxy_that_ends_tls_is_believed_only_where_it_is_said_to_be(
    tmp_path: Path, behind: str, status: int
) -> None:
    environment = {**PRODUCTION, "VASTSKY_BEHIND_TLS_PROXY": behind}
    python(tmp_path, "manage.py", "migrate", "--verbosity", "0", **environment)

    result = python(tmp_path, "-c", ASK_AS_A_PROXY, **environment)

    assert result.stdout.strip() == str(status), result.stderr


def test_a_postgresql_url_is_taken_apart() -> None:
    found: dict[str, Any] = _database(
        "postgres://us%40er:p%2Fw@db.example:5433/vast?sslmode=require"
    )

    assert found["ENGINE"] == "django.db.backends.postgresql"
    names = ("NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    assert [found[name] for name in names] == [
        "vast",
        "us@er",
        "p/w",
        "db.example",
        "5433",
        {"sslmode": "require"},
    ]


def test_a_sqlite_url_is_a_path() -> None:
    assert _database("sqlite:////var/lib/x.sqlite3")["NAME"] == "/var/lib/x.sqlite3"
    assert _database("sqlite:///x.sqlite3")["NAME"] == "x.sqlite3"


WRONG = {
    "vastsky.E002": {"VASTSKY_SUSPECT_SECONDS": 20, "VASTSKY_OFFLINE_SECONDS": 20},
    "vastsky.E003": {"VASTSKY_REBUILDS_PER_DISK": 3, "VASTSKY_REBUILDS_PER_SERVER": 2},
    "vastsky.W004": {"VASTSKY_AGENT_TIMEOUT": 6, "VASTSKY_RECONCILE_SECONDS": 5},
    "vastsky.W009": {"VASTSKY_ATTACH_SECONDS": 281},
    "vastsky.E005": {"VASTSKY_HEAD_AGENT_PORT": 8883, "VASTSKY_STORAGE_AGENT_PORT": 8883},
}


def test_every_finding_says_how_to_mend_it() -> None:
    mute = []
    for path in Path("vastsky_site").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in FINDINGS:
                said = {word.arg: ast.unparse(word.value) for word in node.keywords}
                mute += [said.get("id", path.name)] if "hint" not in said else []

    assert mute == []


FINDINGS = {"checks.Error", "checks.Warning"}


@pytest.mark.parametrize("code", WRONG)
def test_settings_that_contradict_each_other_are_found(settings: Settings, code: str) -> None:
    for name, value in WRONG[code].items():
        setattr(settings, name, value)

    assert [problem.id for problem in run_checks()] == [code]


def test_scrubs_of_a_disk_are_not_more_than_those_of_its_server(settings: Settings) -> None:
    settings.VASTSKY_SCRUBS_PER_DISK = settings.VASTSKY_SCRUBS_PER_SERVER + 1

    assert [problem.id for problem in run_checks()] == ["vastsky.E003"]


def test_sqlite_with_several_web_processes_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VASTSKY_WEB_PROCESSES = 4
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "vastsky_site.sqlite")

    assert [problem.id for problem in run_checks()] == ["vastsky.E001"]


def test_the_defaults_contradict_nothing() -> None:
    assert run_checks() == []


# -- the manager's identity -----------------------------------------------------------------------


def test_certificates_are_made_and_said_where_to_put(tmp_path: Path) -> None:
    manager = python(tmp_path, "manage.py", "certificate", "manager", "10.0.0.1", "--manager")
    node = python(tmp_path, "manage.py", "certificate", "node-7", "10.0.0.7", "10.1.0.7")

    made = tmp_path / "tls"
    assert f"VASTSKY_TLS_KEY={made}/manager.key" in manager.stdout
    assert 'tls_certificate = "/etc/vastsky/node-7.pem"' in node.stdout
    assert {path.name for path in made.iterdir()} == {
        f"{name}.{kind}" for name in ("authority", "manager", "node-7") for kind in ("pem", "key")
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.glob("*.key")} == {0o600}
    files = {
        "VASTSKY_TLS_CERTIFICATE": f"{made}/manager.pem",
        "VASTSKY_TLS_KEY": f"{made}/manager.key",
        "VASTSKY_TLS_AUTHORITY": f"{made}/authority.pem",
    }
    assert python(tmp_path, "manage.py", "check", **files).returncode == 0
    files["VASTSKY_TLS_KEY"] = f"{made}/node-7.key"
    assert "vastsky.E008" in python(tmp_path, "manage.py", "check", **files).stderr


@pytest.mark.parametrize(
    "words", [("../x", "10.0.0.1"), ("authority", "10.0.0.1"), ("node", "10.0.0.256"), ("node", "")]
)
def test_a_certificate_that_makes_no_sense_is_refused(
    tmp_path: Path, words: tuple[str, str]
) -> None:
    result = python(tmp_path, "manage.py", "certificate", *words)

    assert result.returncode == 1
    assert result.stderr.startswith("CommandError:")
    assert not list(tmp_path.glob("**/node*"))


def test_a_certificate_is_not_written_over(tmp_path: Path) -> None:
    python(tmp_path, "manage.py", "certificate", "node", "10.0.0.1")
    before = (tmp_path / "tls" / "node.key").read_bytes()

    result = python(tmp_path, "manage.py", "certificate", "node", "10.0.0.2")

    assert "exists" in result.stderr
    assert (tmp_path / "tls" / "node.key").read_bytes() == before


def test_an_identity_of_the_manager_is_three_files(tmp_path: Path) -> None:
    result = python(tmp_path, *READ, VASTSKY_TLS_CERTIFICATE="/x/manager.pem")

    assert result.stderr.count("\n") == 1
    assert "VASTSKY_TLS_KEY" in result.stderr
