"""`manage.py restore FILE`: a backup in the place of all rows; recovery comes next."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory.command_line import manage
from inventory.errors import Invalid
from inventory.models import HeadServer, StorageServer
from volumes.integrity import backup


class Command(BaseCommand):
    """Restore a backup and begin recovery mode."""

    help = (
        "Put the backup FILE in the place of all rows. The cluster is in recovery mode from then"
        f" on: `{manage('recover')}` shows what the nodes know that the backup does not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say twice that rows are to go."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--replace", action="store_true", help="drop the rows that are there")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Tell what was restored, and what comes next."""
        known = StorageServer.objects.exists() or HeadServer.objects.exists()
        if known and not options["replace"]:
            raise CommandError("the database is not empty: --replace drops what is in it")
        try:
            what = backup.restore(options["file"])
        except Invalid as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(f"restored the {what}; next: {manage('recover')}, then recover --apply")
