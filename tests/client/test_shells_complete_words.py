"""Completion, as each shell asks for it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.client.conftest import VASTSKY, Run, run_vastsky
from tests.conftest import AddServer
from tests.contract.api import Api
from vastsky_client.command.nouns import NOUNS

Complete = Callable[..., list[str]]


@pytest.fixture
def cluster(add_server: AddServer, call: Api) -> None:
    for number in range(3):
        add_server(node_uuid=f"s{number}", host_name=f"store-{number}")
    call("registerHeadServer", ip_data=["10.7.0.1"], node_uuid="h", host_name="head-1")
    for name in ("data", "db"):
        call("createLogicalVolume", lvolname=name, capacity=1)
    call("createSnapshot", origin_lvolname="db", snapshot_lvolname="db-monday")
    call("vastsky.maintenance", ssvrid=1)
    call("vastsky.createToken", name="watch", role="reader")


@pytest.fixture
def complete(vastsky: Run) -> Complete:
    """What the last word may become."""

    def ask(*words: str) -> list[str]:
        done = vastsky("--complete", *words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return ask


def test_nouns_then_verbs_are_completed_without_a_manager() -> None:
    def complete(*words: str) -> list[str]:
        return run_vastsky("--complete", *words, managers="http://127.0.0.1:1").stdout.split()

    assert complete("") == sorted(noun.name for noun in NOUNS)
    assert complete("s") == ["scrub", "server", "snapshot"]
    assert complete("volume", "de") == ["delete", "detach"]
    assert complete("volume", "create", "x", "1", "--re") == ["--redundancy"]
    assert complete("nonsense", "") == []
    assert complete("volume", "delete", "") == []


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("volume", "delete", ""), ["data", "db", "db-monday"]),
        (("volume", "attach", "d"), ["data", "db"]),
        (("volume", "attach", "db", ""), ["head-1"]),
        (("volume", "attach", "--wait", "db", ""), ["head-1"]),
        (("volume", "attach", "db", "head-1", ""), []),
        (("volume", "create", "new", "5", "--tags", ""), []),
        (("snapshot", "delete", ""), ["db-monday"]),
        (("server", "rename", "store-1", ""), []),
        (("server", "list", "--kind", ""), ["head", "storage"]),
        (("disk", "list", "store"), ["store-0", "store-1", "store-2"]),
        (("disk", "fail", "store-1:"), ["store-1:/dev/disk/by-id/2-0"]),
        (
            ("evacuation", "start", "store-"),
            sorted(
                [*(f"store-{n}" for n in range(3))]
                + [f"store-{n}:/dev/disk/by-id/{n + 1}-0" for n in range(3)]
            ),
        ),
        (("token", "create", "new", "a"), ["admin", "agent"]),
        (("token", "revoke", ""), ["watch"]),
        (("token", "create", "new", "agent", "--head", ""), ["head-1"]),
        (("job", "show", ""), ["4"]),
        (("cluster", "call", "registerH"), ["registerHeadServer"]),
    ],
)
def test_what_the_manager_knows_is_completed(
    complete: Complete, words: tuple[str, ...], found: list[str]
) -> None:
    assert complete(*words) == found


def test_a_manager_that_refuses_completes_nothing(live_server: LiveServer) -> None:
    managers = live_server.url.replace("://", "://nobody:wrong@")

    done = run_vastsky("--complete", "volume", "delete", "", managers=managers)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- in the shells themselves ---------------------------------------------------------------------

TYPED = {
    "bash": """
        source /dev/stdin <<< "$(vastsky completion bash)"
        COMP_WORDS=(vastsky volume delete d) COMP_CWORD=3
        _vastsky; printf '%s\\n' "${COMPREPLY[@]}"
        COMP_WORDS=(vastsky disk fail store-1 : /d) COMP_CWORD=5
        _vastsky; printf '%s\\n' "${COMPREPLY[@]}"
        COMP_WORDS=(vastsky disk fail store-1 :) COMP_CWORD=4
        _vastsky; printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { : }
        compadd() { shift; print -l -- "$@" }
        source <(vastsky completion zsh)
        words=(vastsky volume delete d) CURRENT=4
        _vastsky
        words=(vastsky disk fail store-1:/d) CURRENT=4
        _vastsky
    """,
    "fish": """
        vastsky completion fish | source
        complete -C 'vastsky volume delete d'
        complete -C 'vastsky disk fail store-1:/d'
    """,
}
PATH = "/dev/disk/by-id/2-0"
DISKS = {"bash": [PATH, PATH], "zsh": [f"store-1:{PATH}"], "fish": [f"store-1:{PATH}"]}
"""To bash what stands before the colon is a word of its own, which it keeps."""


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("shell", TYPED)
def test_the_script_completes_in_its_shell(
    live_server: LiveServer, tmp_path: Path, shell: str
) -> None:
    if which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program = tmp_path / "vastsky"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{VASTSKY}" "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", TYPED[shell]],
        env={"PATH": path, "HOME": str(tmp_path), "VASTSKY_MANAGERS": live_server.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.split() == ["data", "db", "db-monday", *DISKS[shell]]
