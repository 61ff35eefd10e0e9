"""The latest lines of the manager's logs: of files in its folder, and of the journal."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from inventory.command_line import manage

UNITS = "vastsky-*"
JOURNAL = (
    "journalctl",
    "--no-pager",
    "--quiet",
    "--lines=20000",
    "--output=short-iso",
    "-u",
    UNITS,
)
TIMEOUT = 20.0
MOST_FILES = 40


def files() -> Iterator[Path]:
    """Give the log files, the latest first."""
    folder = Path(settings.VASTSKY_HOME) / "logs"
    found = [one for one in folder.glob("*.log") if one.is_file() and not one.is_symlink()]
    found.sort(key=lambda one: one.stat().st_mtime, reverse=True)
    yield from found[:MOST_FILES]


def tail(path: Path, most_bytes: int) -> str:
    """Read the end of a file, from the beginning of a line on."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - most_bytes, 0))
        if size > most_bytes:
            file.readline()
        return file.read().decode(errors="replace")


def journal() -> str:
    """Read what the journal has of our units, or say why it has nothing for us."""
    try:
        told = subprocess.run(JOURNAL, capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"The journal cannot be read: {error}\n"
    lines = told.stdout.decode(errors="replace")
    return lines or (
        "The journal has nothing that this user may read: take the bundle as root, by"
        f" `{manage('support')}`. {told.stderr.decode(errors='replace')[:500]}\n"
    )
