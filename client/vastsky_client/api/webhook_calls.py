"""The methods about webhooks: who is sent the events of the cluster."""

# mypy: disable-error-code="no-any-return"
# As in volume_calls.

from vastsky_client.api.method_group import Calls
from vastsky_client.api.structs import Webhook


class WebhookCalls(Calls):
    """Add, list, remove and try webhooks, each by its name."""

    def list_webhooks(self) -> list[Webhook]:
        """List all webhooks and how it goes with them."""
        return self._call("vastsky.listWebhooks")

    def add_webhook(
        self,
        *,
        name: str,
        url: str,
        severity: str = "info",
        kinds: list[str] = [],  # noqa: B006  never changed
    ) -> str:
        """Send events to an address; the secret that its receiver checks signatures with."""
        return self._call(
            "vastsky.addWebhook", name=name, url=url, severity=severity, kinds=list(kinds)
        )

    def remove_webhook(self, *, name: str) -> None:
        """Send nothing more to a receiver."""
        self._call("vastsky.removeWebhook", name=name)

    def test_webhook(self, *, name: str) -> None:
        """Send a message without events now; a fault if the receiver does not take it."""
        self._call("vastsky.testWebhook", name=name)
