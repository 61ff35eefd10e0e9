"""`manage.py backup FILE`: all that the manager knows, as of one moment, while it runs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from inventory.command_line import manage
from volumes.integrity import backup


class Command(BaseCommand):
    """Write a backup, of SQLite or PostgreSQL alike."""

    help = (
        f"Write all rows to FILE, compressed and with a checksum; `{manage('restore')}` reads it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Name the file."""
        parser.add_argument("file", type=Path)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Tell what was written."""
        what = backup.write(options["file"])
        self.stdout.write(f"{options['file']}: {what}, {options['file'].stat().st_size} bytes")
