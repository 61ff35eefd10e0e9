"""Webhooks: whom events are sent to, how far each is, and when it is tried again.

Whoever moves a hook's `due` forward sends to it until then; where it dies, another one sends again
what nobody has written down as taken.
"""

import base64
import re
import secrets
from collections import deque
from datetime import datetime, timedelta
from time import monotonic
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from inventory import audit, clock
from inventory.audit import Action
from inventory.errors import Exists, Invalid, NoSpace, NotFound
from inventory.models import EventEntry, Webhook
from inventory.write_lock import write_lock

NAME = re.compile(r"[-._a-zA-Z0-9]{1,64}")
MOST = 16
"""Hooks there are at once: each may have a sender that waits."""
BATCH = 100
"""Events in one message, of at most about 1 KB each."""
LEASE = timedelta(seconds=60)
"""How long a hook waits for a sender that died: longer than one ever takes."""
FIRST, LONGEST = timedelta(seconds=5), timedelta(minutes=10)
"""The pauses after the first failure, and after many."""
GRACE = timedelta(minutes=1)
"""Failures for so long are a problem that a person should see."""
SETTLED = 5.0
"""Seconds after which no event turns up any more before one that was seen."""


class Horizon:
    """Up to which event all are there: a change that began earlier may end later than others.

    Measured by this process's own clock: the moments that events bear are of several machines.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._settled = 0

    def look(self) -> int:
        """Look at the newest event; the one before which, a while ago, all were there."""
        moment = monotonic()
        newest = EventEntry.objects.aggregate(newest=Max("pk"))["newest"] or 0
        self._seen.append((moment, newest))
        while self._seen and self._seen[0][0] <= moment - SETTLED:
            self._settled = self._seen.popleft()[1]
        return min(self._settled, newest)


@write_lock()
def add_webhook(
    *, name: str, url: str, severity: EventEntry.Severity, kinds: list[str]
) -> tuple[Webhook, str]:
    """Send what happens from now on to a receiver; the row, and the secret that it checks with."""
    if not NAME.fullmatch(name):
        raise Invalid(f"a webhook's name is 1 to 64 of -._a-zA-Z0-9, not {name[:80]!r}")
    if unknown := set(kinds) - set(EventEntry.Kind.values):
        known = ", ".join(EventEntry.Kind.values)
        raise Invalid(f"there is no kind of event {min(unknown)!r}; there are {known}")
    if Webhook.objects.count() >= MOST:
        raise NoSpace(f"there are {MOST} webhooks, and no more are possible")
    row = Webhook(
        name=name,
        url=_url(url),
        severity=severity,
        kinds=",".join(sorted(set(kinds))) if set(kinds) < set(EventEntry.Kind.values) else "",
        salt=secrets.token_hex(16),
        cursor=EventEntry.objects.aggregate(newest=Max("pk"))["newest"] or 0,
        due=clock.now(),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise Exists(f"there is a webhook {name}") from None
    audit.record(Action.ADD_WEBHOOK, row, f"to {row.url}, {row.get_severity_display()}")
    return row, secret_of(row)


@transaction.atomic
def remove_webhook(name: str) -> None:
    """Send nothing more to a receiver."""
    row = find_webhook(name)
    if Webhook.objects.filter(pk=row.pk).delete()[0]:
        audit.record(Action.REMOVE_WEBHOOK, row, f"to {row.url}")


def find_webhook(name: str) -> Webhook:
    """Find a webhook by its name."""
    row = Webhook.objects.filter(name=name).first()
    if row is None:
        raise NotFound(f"there is no webhook {name}")
    return row


def secret_of(row: Webhook) -> str:
    """Make the secret with which a hook's messages are signed, as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(key_of(row)).decode()


def key_of(row: Webhook) -> bytes:
    """Make the 32 bytes that the secret stands for."""
    return salted_hmac("vastsky.webhook", row.salt, algorithm="sha256").digest()


# -- sending --------------------------------------------------------------------------------------


def due(horizon: int) -> list[Webhook]:
    """Select the hooks that events up to `horizon` are to be sent to now."""
    return list(Webhook.objects.filter(due__lte=clock.now(), cursor__lt=horizon).order_by("pk"))


def next_events(row: Webhook, horizon: int) -> list[EventEntry]:
    """Read the next events that a hook wants, oldest first."""
    events = EventEntry.objects.filter(
        pk__gt=row.cursor, pk__lte=horizon, severity__gte=row.severity
    )
    if row.kinds:
        events = events.filter(kind__in=row.kinds.split(","))
    return list(events.order_by("pk")[:BATCH])


def claim(row: Webhook) -> bool:
    """Let nobody else send to this hook for a while; False where somebody was faster."""
    until = clock.now() + LEASE
    mine = Webhook.objects.filter(pk=row.pk, due=row.due, cursor=row.cursor)
    if not mine.update(due=until):
        return False
    row.due = until
    return True


def pass_over(row: Webhook, horizon: int) -> None:
    """Note that up to here there was nothing that this hook wants."""
    Webhook.objects.filter(pk=row.pk, cursor=row.cursor, due=row.due).update(cursor=horizon)


def note_taken(row: Webhook, last: int) -> bool:
    """Note that a receiver took all up to `last`; False where another one sends by now."""
    return bool(
        Webhook.objects.filter(pk=row.pk, due=row.due).update(
            cursor=last,
            due=clock.now(),
            failures=0,
            failing_since=None,
            error="",
            sent=timezone.now(),
        )
    )


def note_failure(row: Webhook, why: str) -> bool:
    """Note that a receiver took nothing, and let it rest; False where another one sends by now."""
    now = clock.now()
    failures = row.failures + 1
    return bool(
        Webhook.objects.filter(pk=row.pk, due=row.due).update(
            due=now + pause_after(failures),
            failures=failures,
            failing_since=row.failing_since or now,
            error=why[:200],
        )
    )


def pause_after(failures: int) -> timedelta:
    """Double the pause with every failure in a row, up to the longest one."""
    doubled: timedelta = FIRST * (1 << min(failures - 1, 16))
    return min(doubled, LONGEST)


def failing(now: datetime) -> QuerySet[Webhook]:
    """Select the hooks whose receivers have taken nothing for a while."""
    return Webhook.objects.filter(failing_since__lt=now - GRACE).order_by("failing_since")


def _url(url: str) -> str:
    """Check where to send; nothing that has to stay secret belongs into an address."""
    try:
        parts = urlsplit(url)
        named, _ = parts.hostname, parts.port
    except ValueError:
        raise Invalid(f"{url[:200]!r} is no address") from None
    if not url.startswith(("http://", "https://")) or not named:
        raise Invalid(f"a webhook's address begins with http:// or https://, not {url[:200]!r}")
    if parts.username is not None or parts.fragment:
        raise Invalid("a webhook's address has no user, password or fragment")
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > 500:  # noqa: PLR2004
        raise Invalid("a webhook's address is up to 500 printable ASCII characters, no spaces")
    return url
