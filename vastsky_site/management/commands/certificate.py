"""`manage.py certificate NAME ADDRESS...`: certificates for the manager and its nodes."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inventory.errors import Refused
from vastsky_site.access import certificates

TO_A_NODE = """\
Copy {folder}/{name}.pem, {folder}/{name}.key and {folder}/authority.pem to the node, the key for
its agent's user only (mode 600), and say in the agent's configuration where they are:

tls_certificate = "/etc/vastsky/{name}.pem"
tls_key = "/etc/vastsky/{name}.key"
tls_authority = "/etc/vastsky/authority.pem"
"""
TO_THE_MANAGER = """\
Start web, worker and beat with

VASTSKY_TLS_CERTIFICATE={folder}/{name}.pem
VASTSKY_TLS_KEY={folder}/{name}.key
VASTSKY_TLS_AUTHORITY={folder}/authority.pem

and keep {folder}/authority.key away from every other machine: who has it can command all nodes.
"""


class Command(BaseCommand):
    """Makes a certificate, and the authority that signs it where there is none yet."""

    help = "Make a certificate with which the manager and its nodes know each other."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare whom the certificate is for."""
        parser.add_argument("name")
        parser.add_argument("addresses", nargs="+", help="IPs or host names it is called by")
        parser.add_argument("--manager", action="store_true", help="for the manager: it may call")
        parser.add_argument("--folder", type=Path, default=settings.VASTSKY_HOME / "tls")

    def handle(self, *_: Any, **options: Any) -> None:
        """Make it and say where it goes."""
        folder, name = options["folder"].absolute(), options["name"]
        try:
            certificates.issue(folder, name, options["addresses"], may_call=options["manager"])
        except (Refused, OSError) as refusal:
            raise CommandError(str(refusal)) from None
        told = TO_THE_MANAGER if options["manager"] else TO_A_NODE
        self.stdout.write(told.format(folder=folder, name=name))
