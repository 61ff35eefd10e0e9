"""The one table: docs, help, versions and what is installed follow it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.client.conftest import VASTSKY, run_vastsky
from vastsky_client import commands
from vastsky_client.command import reference
from vastsky_client.command.nouns import COMMANDS, NOUNS
from vastsky_client.command.parser import parser

ROOT = VASTSKY.parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = (ROOT / "requirements.txt").read_text()


def test_the_page_tells_what_the_table_tells() -> None:
    page = (ROOT / "docs" / "vastsky.md").read_text()

    assert page == reference.fill(page), (
        "PYTHONPATH=client .venv/bin/python -m vastsky_client.command.reference docs/vastsky.md"
    )


def test_every_example_is_a_line_that_the_parser_takes() -> None:
    for pair, command in COMMANDS.items():
        noun, verb, *words = command.example.split()
        assert (noun, verb) == pair
        parser(command).parse_args(words)


@pytest.mark.parametrize(("noun", "verb"), [("volume", "create"), ("job", "show")])
def test_help_shows_usage_and_an_example(noun: str, verb: str) -> None:
    done = run_vastsky(noun, verb, "--help", managers="")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: vastsky {noun} {verb} " in done.stdout
    assert f"\nexample: vastsky {noun} {verb} " in done.stdout


def test_help_names_every_noun_and_a_noun_its_verbs() -> None:
    everything = run_vastsky("--help", managers="")
    assert everything.returncode == 0
    assert all(f"\n  {noun.name} " in everything.stdout for noun in NOUNS)

    one = run_vastsky("volume", "-h", managers="")
    assert one.returncode == 0
    assert all(f"\n  {verb} " in one.stdout for noun, verb in COMMANDS if noun == "volume")
    assert "\n  vastsky volume create NAME GIB " in one.stdout


@pytest.mark.parametrize("words", [("--version",), ("volume", "list", "--version")])
def test_the_command_tells_the_release(words: tuple[str, ...]) -> None:
    assert run_vastsky(*words, managers="").stdout == f"vastsky {PROJECT['version']}\n"


def test_the_package_has_all_commands_and_the_tables_that_are_tried() -> None:
    (rich,) = PROJECT["dependencies"]

    assert f"\n{rich} " in REQUIREMENTS
    assert set(PROJECT["scripts"]) == {"vastsky", "vas", *commands.COMMANDS}


def test_the_archive_of_the_older_commands_needs_nothing_but_python(tmp_path: Path) -> None:
    installing = [sys.executable, "-m", "vastsky_client.install", str(tmp_path)]
    subprocess.run(installing, cwd=ROOT / "client", check=True, timeout=60)
    client = (
        "import sys; sys.path.insert(0, sys.argv[1]); import vastsky_client.api as api;"
        " print(api.__file__, 'rich' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-c", client, tmp_path / "bin" / "vas"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.split() == [f"{tmp_path}/bin/vas/vastsky_client/api/__init__.py", "False"]
