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


@pytest.mark.parametrize("name", ["vas", "lvol_list", "hsvr_delete"])
def test_commands_tell_the_release(name: str, tmp_path: Path) -> None:
    link = tmp_path / name
    link.symlink_to(VAS)

    assert name == "vas" or name in commands.COMMANDS
    assert asked(link) == f"{name} {RELEASE}\n"
