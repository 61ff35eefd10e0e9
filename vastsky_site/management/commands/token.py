"""`manage.py token create|list|revoke`: the tokens with which programs call the API."""

from argparse import ArgumentParser
from typing import Any

from inventory.shell_command import ShellCommand
from vastsky_site.access import tokens
from vastsky_site.models import ApiToken


class Command(ShellCommand):
    """Makes, lists and revokes API tokens."""

    help = "Make, list and revoke API tokens. A token is shown once, when it is made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the three things that may be asked."""
        what = parser.add_subparsers(dest="what", required=True)
        create = what.add_parser("create", help="make a token and show it")
        create.add_argument("name")
        create.add_argument("--role", required=True, choices=ApiToken.Role.values)
        create.add_argument("--head", type=int, help="the head server an agent speaks for")
        create.add_argument("--storage", type=int, help="the storage server an agent speaks for")
        what.add_parser("list", help="list all tokens")
        revoke = what.add_parser("revoke", help="refuse a token from now on")
        revoke.add_argument("name")

    def perform(self, options: dict[str, Any]) -> None:
        """Do the one that was asked for."""
        match options["what"]:
            case "create":
                about = {name: options[name] for name in ("name", "role", "head", "storage")}
                self.stdout.write(tokens.create_token(**about)[1])
            case "revoke":
                tokens.revoke_token(options["name"])
            case _:
                for row in ApiToken.objects.order_by("name"):
                    self.stdout.write(_line(row))


def _line(row: ApiToken) -> str:
    used = f"used {row.last_used:%Y-%m-%d %H:%M}" if row.last_used else "never used"
    state = f"revoked {row.revoked:%Y-%m-%d %H:%M}" if row.revoked else used
    return f"{row.name:24} {row.role:8} {state}"
