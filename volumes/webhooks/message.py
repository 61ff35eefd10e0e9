"""What is sent to a webhook: events as JSON, signed as Standard Webhooks says.

See https://www.standardwebhooks.com: receivers check it with a library that they have.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from agents.xmlrpc import INT_MAX
from inventory.models import Cluster, EventEntry, Webhook


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A body, and the id by which a receiver knows it again."""

    id: str
    body: bytes

    def headers(self, key: bytes, moment: float) -> dict[str, str]:
        """Sign it for this moment: who records it cannot send it again later."""
        stamp = str(int(moment))
        signed = b".".join([self.id.encode(), stamp.encode(), self.body])
        digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return {
            "content-type": "application/json",
            "user-agent": "vastsky",
            "webhook-id": self.id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{digest}",
        }


def of_events(cluster: Cluster, hook: Webhook, events: Sequence[EventEntry]) -> WebhookMessage:
    """Make the message that tells of these events."""
    id_ = f"{cluster.uuid}-{cluster.incarnation}-{hook.pk}-{events[0].pk}-{events[-1].pk}"
    return WebhookMessage(
        id_, _body(cluster, hook, [event_struct(row) for row in events], test=False)
    )


def of_a_test(cluster: Cluster, hook: Webhook) -> WebhookMessage:
    """Make a message that tells of nothing, to see whether it arrives."""
    id_ = f"{cluster.uuid}-{cluster.incarnation}-{hook.pk}-test-{time.time_ns()}"
    return WebhookMessage(id_, _body(cluster, hook, [], test=True))


def event_struct(row: EventEntry) -> dict[str, Any]:
    """Tell an event as `vastsky.listEvents` does.

    Numbers of events and of audit entries may have more than 31 bits: they are strings.
    """
    return {
        "id": str(row.pk),
        "time": f"{row.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "severity": EventEntry.Severity(row.severity).label,
        "kind": row.kind,
        "object": row.object_kind,
        "objectid": min(row.object_id, INT_MAX),
        "name": row.object_name,
        "cause": row.cause,
        "eventid": row.job or 0,
        "actor": row.actor,
        "audit": str(row.audit_id or ""),
    }


def _body(cluster: Cluster, hook: Webhook, events: list[dict[str, Any]], *, test: bool) -> bytes:
    told = {
        "cluster": str(cluster.uuid),
        "incarnation": cluster.incarnation,
        "webhook": hook.name,
        "test": test,
        "events": events,
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
