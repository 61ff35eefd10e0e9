"""`manage.py support FILE`: the support bundle, as a .tar.gz; - writes it to standard output."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from inventory.shell_command import ShellCommand
from vastsky_site.support import bundle


class Command(ShellCommand):
    """Write the bundle for who helps."""

    help = (
        "Write a .tar.gz with logs, fsck, states, versions and settings to FILE, for who helps you;"
        " secrets are masked. - is standard output."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Name the file."""
        parser.add_argument("file")

    def perform(self, options: dict[str, Any]) -> None:
        """Write it; a file that exists stays, and what is written only its owner reads."""
        self._note(options["file"])
        if options["file"] == "-":
            for piece in bundle.stream():
                sys.stdout.buffer.write(piece)
            return
        try:
            handle = os.open(options["file"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from None
        with os.fdopen(handle, "wb") as file:
            for piece in bundle.stream():
                file.write(piece)
            self.stdout.write(f"{options['file']}: {file.tell()} bytes")

    def _note(self, file: str) -> None:
        """A database that fails may be why help is wanted."""
        try:
            bundle.note(file)
        except DatabaseError as error:
            self.stderr.write(f"the audit log does not tell of this: {error}")
