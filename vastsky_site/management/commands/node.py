"""`manage.py node add|list|rename|rekey|revoke|remove`: machines that may join, or joined."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from inventory.errors import Refused
from inventory.models import Member
from inventory.shell_command import ShellCommand
from vastsky_site.access import members

HOURS = 24
TOLD = """\
On the machine, within {hours} h:

vastsky-node join {string} {example}
"""


class Command(ShellCommand):
    """Invites nodes and keeps the list of them."""

    refusals = (Refused, OSError)
    help = "Invite nodes with join strings; list, rename, re-key and remove them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what may be done with a node."""
        what = parser.add_subparsers(dest="what", required=True)
        add = what.add_parser("add", help="print a join string for a new node; it works once")
        rekey = what.add_parser("rekey", help="print a join string for a node that joined already")
        for one in (add, rekey):
            one.add_argument("name", help="what the node is to be called, or is")
            one.add_argument("--hours", type=int, default=HOURS, help="for so long it can be used")
            one.add_argument("--url", action="append", help="where the node reaches a manager")
        add.add_argument(
            "--roles",
            choices=members.Roles.values,
            default=members.Roles.BOTH,
            metavar="ROLES",
            help="what it may join as: head, storage, or head,storage, the default",
        )
        what.add_parser("list", help="list all nodes")
        rename = what.add_parser("rename", help="call a node otherwise")
        rename.add_argument("name", help="what it is called now")
        rename.add_argument("new", help="what it is called from now on")
        revoke = what.add_parser("revoke", help="let nobody use its join string")
        remove = what.add_parser("remove", help="refuse a node's calls from now on")
        for one in (revoke, remove):
            one.add_argument("name", help="what the node is called")

    def perform(self, options: dict[str, Any]) -> None:
        """Do the one that was asked for."""
        match options["what"]:
            case "add" | "rekey":
                self._invite(options)
            case "rename":
                members.rename(options["name"], options["new"])
            case "revoke":
                members.revoke_invitation(options["name"])
            case "remove":
                members.remove(options["name"])
            case _:
                for row in Member.objects.order_by("name"):
                    self.stdout.write(_line(row))

    def _invite(self, options: dict[str, Any]) -> None:
        name, hours = options["name"], options["hours"]
        urls, valid = options["url"] or settings.VASTSKY_MANAGER_URLS, timedelta(hours=hours)
        if options["what"] == "add":
            string = members.invite(name, options["roles"], urls, valid)
        else:
            string = members.rekey(name, urls, valid)
        example = members.EXAMPLES[members.find(name).roles]
        self.stdout.write(TOLD.format(hours=hours, string=string, example=example))


def _line(row: Member) -> str:
    return f"{row.name:24} {row.roles:12} {row.addresses or '-':31} {_state(row)}"


def _state(row: Member) -> str:
    waits = row.secret_hash and not row.used_by and row.invited_until
    invited = ""
    if waits:
        over = waits <= timezone.now()
        invited = f"invited until {waits:%Y-%m-%d %H:%M}" + (", which is over" if over else "")
    if not row.certificate_ends:
        return invited or "-"
    return f"certificate until {row.certificate_ends:%Y-%m-%d}" + (f"; {invited}" if waits else "")
