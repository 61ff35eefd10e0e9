"""docs/architecture.md names what is in the product's folders: all of it, and nothing else."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ROOMS = {
    folder.rstrip("/"): table
    for folder, table in re.findall(
        r"^### `(\S+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
}
"""The tables of rooms, by the folder in the heading above each."""
PACKAGES = ("agents", "inventory", "vastsky_site", "volumes")
LOOKED_IN = (*PACKAGES, "tests")
NOT_NAMED = {"__init__", "apps", "migrations/"}


def _there(folder: str) -> set[str]:
    modules = {path.stem for path in (ROOT / folder).glob("*.py")}
    rooms = {f"{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")}
    return (modules | rooms) - NOT_NAMED


def _named(table: str) -> list[str]:
    """Names in the first column, where nothing else is in backticks."""
    cells = re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)
    return re.findall(r"`(\S+?)`", " ".join(cells))


def test_the_page_has_a_table_for_each_package() -> None:
    assert {*PACKAGES, "agents/engines/kernel"} <= ROOMS.keys()


@pytest.mark.parametrize("folder", ROOMS)
def test_a_table_names_what_its_folder_has_and_each_once(folder: str) -> None:
    assert sorted(_named(ROOMS[folder])) == sorted(_there(folder))


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"[\w/]+\.py\b", PAGE)

    assert [name for name in named if not any(_holds(folder, name) for folder in LOOKED_IN)] == []


def _holds(folder: str, name: str) -> bool:
    return any((ROOT / folder).glob(f"**/{name}")) or (ROOT / name).is_file()
