"""`manage.py fsck`: say what is wrong with the database, row by row."""

from typing import Any

from django.core.management.base import BaseCommand

from volumes.integrity import fsck


class Command(BaseCommand):
    """Print each violation of an invariant; exit status 1 if there is any."""

    help = (
        "Check every invariant that the database can show, in one read transaction. Each line"
        " begins with a number that docs/invariants.md explains."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Print nothing when all is well."""
        found = 0
        for line in fsck.violations():
            self.stdout.write(line)
            found += 1
        if found:
            raise SystemExit(1)
