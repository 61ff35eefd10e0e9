"""Every program of ours says which release it is, and they all say the same."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.client.conftest import VAS
from vastsky_client import commands

ROOT = VAS.parents[1]
RELEASE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def asked(*program: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *program, "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("module", ["agents", "vastsky_site.serve"])
def test_agents_and_the_web_server_tell_the_release(module: str) -> None:
    assert asked("-m", module) == f"vastsky {RELEASE}\n"


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (("client/vastsky",), "vastsky"),
        (("-m", "agents.vastsky_node"), "vastsky-node"),
        (("manage.py",), "vastsky-manage"),
    ],
)
def test_the_programs_of_operators_tell_their_name_and_the_release(
    program: tuple[str, ...], name: str
) -> None:
    assert asked(*program) == f"{name} {RELEASE}\n"


def test_anybody_may_ask_the_packaged_vastsky_manage(tmp_path: Path) -> None:
    """As laid out by the package, with settings that the asker cannot read."""
    source = (ROOT / "deploy/packages/manager/vastsky-manage").read_text()
    program = tmp_path / "vastsky-manage"
    places = (("/usr/lib/vastsky/manager", tmp_path), ("/etc/vastsky", tmp_path / "none"))
    for installed, here in places:
        source = source.replace(installed, str(here))
    program.write_text(source)
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "manage.py").symlink_to(ROOT / "manage.py")

    assert asked(program) == f"vastsky-manage {RELEASE}\n"


def test_the_command_that_invites_nodes_tells_each_role_once() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "node", "add", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "--roles ROLES" in done.stdout
    assert "{" not in done.stdout
    assert "what the node is to be called" in done.stdout


@pytest.mark.parametrize("name", ["vas", "lvol_list", "hsvr_delete"])
def test_commands_tell_the_release(name: str, tmp_path: Path) -> None:
    link = tmp_path / name
    link.symlink_to(VAS)

    assert name == "vas" or name in commands.COMMANDS
    assert asked(link) == f"{name} {RELEASE}\n"
