"""Management commands that change something: done in the name of whoever is logged in here."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory import audit
from inventory.errors import Refused


class ShellCommand(BaseCommand):
    """A command whose changes the audit log tells; `refusals` end it with their words."""

    refusals: tuple[type[Exception], ...] = (Refused,)

    def handle(self, *_: Any, **options: Any) -> None:
        """Do it in the name of whoever is logged in on this machine."""
        try:
            with audit.acting_as(f"{getpass.getuser()} at a shell", audit.Entrance.SYSTEM):
                self.perform(options)
        except self.refusals as refusal:
            raise CommandError(str(refusal)) from None

    def perform(self, options: dict[str, Any]) -> None:
        """Do what the options ask for."""
        raise NotImplementedError
