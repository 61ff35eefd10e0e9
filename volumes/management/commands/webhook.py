"""`manage.py webhook add|list|remove|test`: who is sent the events of the cluster."""

from argparse import ArgumentParser
from typing import Any

from inventory import webhooks
from inventory.models import EventEntry, Webhook
from inventory.shell_command import ShellCommand
from volumes.webhooks import delivery

SEVERITIES = {severity.label: severity for severity in EventEntry.Severity}


class Command(ShellCommand):
    """Adds, lists, removes and tries webhooks."""

    help = "Add, list, remove and try webhooks. A webhook's secret is shown once, when it is added."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the four things that may be asked."""
        what = parser.add_subparsers(dest="what", required=True)
        add = what.add_parser("add", help="send events to an address; prints the secret")
        add.add_argument("name")
        add.add_argument("url", help="http://… or https://…")
        add.add_argument("--severity", choices=SEVERITIES, default="info", help="the least")
        add.add_argument("--kind", action="append", default=[], help="once for each; none: all")
        what.add_parser("list", help="list all webhooks and how it goes with them")
        for verb, words in (("remove", "send nothing more"), ("test", "send a message now")):
            what.add_parser(verb, help=words).add_argument("name")

    def perform(self, options: dict[str, Any]) -> None:
        """Do the one that was asked for."""
        match options["what"]:
            case "add":
                _, secret = webhooks.add_webhook(
                    name=options["name"],
                    url=options["url"],
                    severity=SEVERITIES[options["severity"]],
                    kinds=options["kind"],
                )
                self.stdout.write(secret)
            case "remove":
                webhooks.remove_webhook(options["name"])
            case "test":
                delivery.send_test(options["name"])
                self.stdout.write("taken")
            case _:
                for row in Webhook.objects.order_by("name"):
                    self.stdout.write(_line(row))


def _line(row: Webhook) -> str:
    sent = f"sent {row.sent:%Y-%m-%d %H:%M}" if row.sent else "never sent"
    state = f"failed {row.failures} times: {row.error}" if row.failures else sent
    return f"{row.name:24} {row.get_severity_display():8} {row.url} {state}"
