"""`manage.py fsck`: say what is wrong with the database, row by row."""

from argparse import ArgumentParser
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand

from volumes.integrity import fsck
from volumes.recovery import compare, survey


class Command(BaseCommand):
    """Print each violation of an invariant; exit status 1 if there is any."""

    help = (
        "Check every invariant that the database can show, in one read transaction. Each line"
        " begins with a number that docs/invariants.md explains."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The nodes are asked only on demand."""
        parser.add_argument(
            "--nodes", action="store_true", help="compare with what all nodes tell as well"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print nothing when all is well."""
        found = 0
        differences = compare.differences(survey.take()) if options["nodes"] else ()
        for line in chain(fsck.violations(), differences):
            self.stdout.write(line)
            found += 1
        if found:
            raise SystemExit(1)
