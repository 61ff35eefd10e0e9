"""Make the fixtures of an older commit: `python -m tests.upgrade.make_fixture CHECKOUT`.

CHECKOUT is a checkout of that commit; its own .venv runs it, if it has one, else ours. Its launcher
starts one cluster on SQLite and one on PostgreSQL, which live (busy_cluster.py) until their power
is cut. What is left of each is packed under tests/upgrade/fixtures/COMMIT, with a ledger beside it
of what was written. GNU tar and xz are needed, the binaries of PostgreSQL, and a minute or two.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy import postgres
from tests.upgrade import busy_cluster
from tests.upgrade.cluster import Cluster
from tests.upgrade.fixture import BOOT, DUMP, HOME, Fixture, rewrite

LEFT_OUT = ("logs", "run", "lock", "last-tick", "nodes/*/agent.toml")
"""The launcher makes them anew; the last one where the fixture is started then."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def main() -> None:
    checkout = Path(sys.argv[1]).resolve()
    commit = _output(["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]).strip()
    binaries = postgres.binaries()
    if binaries is None:
        sys.exit("PostgreSQL is needed; on Debian: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="vastsky-fixture-") as folder:
        _make(checkout, Fixture(commit, "sqlite"), Path(folder, "sqlite"), "")
        with postgres.server(binaries) as url:
            _make(checkout, Fixture(commit, "postgresql"), Path(folder, "postgresql"), url)


def _make(checkout: Path, fixture: Fixture, folder: Path, url: str) -> None:
    """Let a cluster live and lose its power; pack what is left."""
    own = checkout / ".venv/bin/python"
    python = str(own) if own.exists() else sys.executable
    with Cluster(folder / "home", checkout, url, python) as cluster:
        ledger = busy_cluster.live(cluster)
    fixture.archive.parent.mkdir(parents=True, exist_ok=True)
    fixture.ledger.write_text(json.dumps(ledger, indent=1) + "\n")
    if url:
        (folder / DUMP).write_text(_dump(url))
    _take_from_here(folder)
    _pack(folder, fixture.archive)
    cluster.remove()
    print(f"{fixture.archive}: {fixture.archive.stat().st_size >> 10} KiB")


def _dump(url: str) -> str:
    """Dump as plain SQL that any client can send, without commands of psql."""
    options = ["--no-owner", "--no-privileges", "--rows-per-insert=100"]
    lines = _output(["pg_dump", *options, url]).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("\\"))


def _take_from_here(folder: Path) -> None:
    """Leave out what belongs to this machine and not to the cluster."""
    home = folder / "home"
    for path in [path for name in LEFT_OUT for path in home.glob(name)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    boot = BOOT_ID.read_text().strip()
    rewrite(folder, {str(home): HOME, boot: BOOT})
    for path in home.glob("nodes/*/state/groups/*/intent-*"):
        path.write_bytes(path.read_bytes().replace(boot.encode(), BOOT.encode()))


def _pack(folder: Path, archive: Path) -> None:
    names = ["home", *([DUMP] if (folder / DUMP).exists() else [])]
    options = ["--sparse", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]
    with archive.open("wb") as output:
        subprocess.run(
            ["tar", *options, "--use-compress-program=xz -9e", "--create", *names],
            cwd=folder,
            stdout=output,
            check=True,
        )


def _output(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
