"""Fixtures: clusters of older commits, packed so that they can be unpacked anywhere.

An archive holds `home` (VASTSKY_HOME without logs and sockets) and, where the database was a
PostgreSQL, `database.sql`. Two things that are in rows and files are the place's and not the
cluster's: the path of the home, and the id of the machine's boot. A path is a placeholder in the
archive; the boot is one that never was, so that each start of a fixture is the first after a power
cut, on any machine. The disks are made those that their labels name: else they would be copies.
"""

import json
import sqlite3
import tarfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.node.storage.hardware_ids import hardware_of
from agents.node.storage.label_search import search_path
from agents.node.storage.super_extent import SuperExtent

FIXTURES = Path(__file__).parent / "fixtures"
HOME = "@HOME@"
BOOT = "00000000-0000-4000-8000-000000000000"
DUMP = "database.sql"
DATABASES = ("vastsky.sqlite3", "nodes/*/state/agent.db")


@dataclass(frozen=True, slots=True)
class Fixture:
    """One cluster of one commit."""

    commit: str
    database: str

    @property
    def archive(self) -> Path:
        return FIXTURES / self.commit / f"{self.database}.tar.xz"

    @property
    def ledger(self) -> Path:
        return self.archive.with_name(f"{self.database}.json")

    def read_ledger(self) -> dict[str, Any]:
        """Tell what was in the cluster when its power was cut."""
        ledger: dict[str, Any] = json.loads(self.ledger.read_text())
        return ledger

    def unpack(self, folder: Path) -> Path:
        """Make the cluster's home in this folder; the dump, if any, lies beside it."""
        with tarfile.open(self.archive) as archive:
            archive.extractall(folder, filter="data")
        home = folder / "home"
        rewrite(folder, {HOME: str(home)})
        for disk in home.glob("nodes/*/disk-*.img"):
            _let_its_label_name(disk)
        return home


def all_fixtures() -> list[Fixture]:
    """Find every fixture that was kept."""
    archives = sorted(FIXTURES.glob("*/*.tar.xz"))
    return [Fixture(path.parent.name, path.name.partition(".")[0]) for path in archives]


def _let_its_label_name(disk: Path) -> None:
    """Write into its label which file it is, as far as the label's version tells that."""
    label = search_path(str(disk)).label
    if label is None or not label.hardware:
        return
    with disk.open("r+b") as file:
        named = label._replace(hardware=hardware_of(file.fileno()))
        SuperExtent(file.fileno(), label.capacity_gb).write_label(named)


def rewrite(folder: Path, words: Mapping[str, str]) -> None:
    """Replace words in all databases of a cluster, the dump included."""
    for pattern in DATABASES:
        for path in (folder / "home").glob(pattern):
            _rewrite_rows(path, words)
    dump = folder / DUMP
    if dump.exists():
        text = dump.read_text()
        for old, new in words.items():
            text = text.replace(old, new)
        dump.write_text(text)


def _rewrite_rows(path: Path, words: Mapping[str, str]) -> None:
    """Replace words in every column of a SQLite file, and leave no journal beside it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        tables = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for (table,) in tables:
            for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                for old, new in words.items():
                    database.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?)'  # noqa: S608
                        f' WHERE instr("{column}", ?)',
                        (old, new, old),
                    )
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
