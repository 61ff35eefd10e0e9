"""`make install-commands DESTDIR=/usr/local`: one archive, bin/vas, and a tiny script a command."""

import shutil
import sys
import tempfile
import zipapp
from pathlib import Path

from vastsky_client.commands import COMMANDS

SOURCE = Path(__file__).resolve().parent
INTERPRETER = "/usr/bin/env python3"
MAIN = """\
import sys

from vastsky_client.main import main

sys.exit(main())
"""
SCRIPT = """\
#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/vas" {name} "$@"
"""


def install(folder: Path) -> None:
    """Put the commands into folder/bin; they need neither this checkout nor a package."""
    target = folder / "bin"
    target.mkdir(parents=True, exist_ok=True)
    # Made beside its place and then renamed: whoever runs a command meanwhile sees no half of it.
    with tempfile.TemporaryDirectory(dir=target, prefix=".vas-") as name:
        scratch = Path(name)
        _build_archive(scratch)
        for command in COMMANDS:
            (scratch / command).write_text(SCRIPT.format(name=command))
        for command in ("vas", *COMMANDS):
            (scratch / command).chmod(0o755)
            (scratch / command).replace(target / command)


def _build_archive(scratch: Path) -> None:
    # The command `vastsky` is not part of it: it needs rich, which is no part of Python.
    ignored = shutil.ignore_patterns("__pycache__", Path(__file__).name, "command")
    shutil.copytree(SOURCE, scratch / "tree" / SOURCE.name, ignore=ignored)
    (scratch / "tree" / "__main__.py").write_text(MAIN)
    zipapp.create_archive(scratch / "tree", scratch / "vas", INTERPRETER, compressed=True)


if __name__ == "__main__":
    try:
        install(Path(sys.argv[1]))
    except OSError as failure:
        sys.exit(f"install-commands: {failure}")
