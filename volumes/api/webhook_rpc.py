"""The methods of the API about webhooks; a signature is the method's wire contract."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from inventory import clock, webhooks
from inventory.models import Webhook
from volumes.api.event_rpc import severity_of
from volumes.webhooks import delivery

Name = Annotated[str, 64]


def list_webhooks() -> list[dict[str, Any]]:
    """Return all webhooks, by name, and how it goes with each; their secrets are nowhere."""
    return [_webhook(row) for row in Webhook.objects.order_by("name")]


def add_webhook(
    *,
    name: Name,
    url: Annotated[str, 500],
    severity: Annotated[str, 8] = "info",
    kinds: list[str] = [],  # noqa: B006  never changed
) -> str:
    """Send events from now on to a receiver; the secret with which it checks their signatures.

    severity is the least: info, warning, error; kinds are those of listEvents, none: all.
    """
    least = severity_of(severity)
    return webhooks.add_webhook(name=name, url=url, severity=least, kinds=kinds)[1]


def remove_webhook(*, name: Name) -> None:
    """Send nothing more to a receiver."""
    webhooks.remove_webhook(name)


def test_webhook(*, name: Name) -> None:
    """Send a message without events now; EHOSTDOWN if the receiver does not take it."""
    delivery.send_test(name)


def _webhook(row: Webhook) -> dict[str, Any]:
    since = row.failing_since and clock.on_the_wall(row.failing_since)
    return {
        "name": row.name,
        "url": row.url,
        "severity": row.get_severity_display(),
        "kinds": row.kinds.split(",") if row.kinds else [],
        "cursor": str(row.cursor),
        "sent": _moment(row.sent),
        "failures": row.failures,
        "failing_since": _moment(since),
        "error": row.error,
    }


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else ""


PROCEDURES: dict[str, Callable[..., Any]] = {
    "vastsky.listWebhooks": list_webhooks,
    "vastsky.addWebhook": add_webhook,
    "vastsky.removeWebhook": remove_webhook,
    "vastsky.testWebhook": test_webhook,
}
