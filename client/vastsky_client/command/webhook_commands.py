"""The noun webhook: who is sent what happens in the cluster."""

from argparse import Namespace
from collections.abc import Iterable
from dataclasses import replace

from vastsky_client import operands
from vastsky_client.api import structs
from vastsky_client.command import json_rows, words
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument, Column, Command, Noun


def list_webhooks(session: Session, _: Namespace) -> list[structs.Webhook]:
    """List all webhooks."""
    return session.ask(session.manager.list_webhooks)


def add_webhook(session: Session, given: Namespace) -> json_rows.SigningSecret:
    """Add a webhook."""
    secret = session.ask(
        lambda: session.manager.add_webhook(
            name=given.name,
            url=given.url,
            severity=given.severity,
            kinds=[*(given.kind or ()), *(given.event_kind or ())],
        )
    )
    return {"name": given.name, "secret": secret}


def remove_webhook(session: Session, given: Namespace) -> None:
    """Send nothing more to a receiver."""
    session.ask(lambda: session.manager.remove_webhook(name=given.webhook))


def test_webhook(session: Session, given: Namespace) -> None:
    """Send a message now."""
    session.ask(lambda: session.manager.test_webhook(name=given.webhook))


def names(session: Session) -> Iterable[str]:
    """Name all webhooks."""
    return [hook["name"] for hook in session.manager.list_webhooks()]


def _state(hook: structs.Webhook) -> str:
    if hook["failures"]:
        return f"failed {hook['failures']} times since {hook['failing_since']}: {hook['error']}"
    return f"sent {hook['sent']}" if hook["sent"] else "nothing sent yet"


HOOK = Argument("WEBHOOK", "a webhook: its name", operands.name, names)

WEBHOOK = Noun(
    "webhook",
    "who is sent what happens in the cluster",
    (
        Command(
            "webhook", "list", "List all webhooks and how it goes with them.", "webhook list",
            list_webhooks, returns=list[structs.Webhook],
            columns=(
                Column("NAME", lambda hook: hook["name"]),
                Column("SEVERITY", lambda hook: hook["severity"]),
                Column("KINDS", lambda hook: ", ".join(hook["kinds"]) or "all"),
                Column("ADDRESS", lambda hook: hook["url"]),
                Column("STATE", _state),
            ),
            methods=("vastsky.listWebhooks",),
        ),
        Command(
            "webhook", "add",
            "Send events to an address, and print the secret that their signatures are made with.",
            "webhook add pager https://pager.example/vastsky --severity error", add_webhook,
            (
                Argument("NAME", "up to 64 of -._a-zA-Z0-9; no other webhook has it",
                         operands.name),
                Argument("URL", "http://... or https://...", operands.name),
                Argument("--severity", "the least", choices=("info", "warning", "error"),
                         default="info"),
                Argument("--kind", "only events of this kind: once for each; all if not given",
                         many=True),
                replace(words.EVENT_KIND, many=True),
            ),
            returns=json_rows.SigningSecret, line=lambda row: row["secret"],
            methods=("vastsky.addWebhook",),
        ),
        Command(
            "webhook", "remove", "Send nothing more to an address.", "webhook remove pager",
            remove_webhook, (HOOK,), methods=("vastsky.removeWebhook",),
        ),
        Command(
            "webhook", "test", "Send a message without events now, and tell whether it was taken.",
            "webhook test pager", test_webhook, (HOOK,), methods=("vastsky.testWebhook",),
        ),
    ),
)  # fmt: skip
