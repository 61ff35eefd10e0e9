"""Problems that somebody knows of: until when they are told apart from the others, and why."""

from datetime import datetime, timedelta

from inventory import audit, clock
from inventory.errors import Invalid, NotFound
from inventory.write_lock import write_lock
from volumes.models import Acknowledgement

MOST_HOURS = 30 * 24


@write_lock()
def acknowledge(*, key: str, title: str, risk: int, hours: int, reason: str) -> None:
    """Take note that somebody knows of a problem; it is told as new again once it gets worse."""
    if hours not in range(1, MOST_HOURS + 1):
        raise Invalid(f"a problem is acknowledged for 1 hour to 30 days, not {hours} hours")
    if not (said := reason.strip()):
        raise Invalid("an acknowledgement has a reason")
    until = clock.now() + timedelta(hours=hours)
    Acknowledgement.objects.filter(until__lt=clock.now()).delete()
    Acknowledgement.objects.update_or_create(
        key=key,
        defaults={"risk": risk, "until": until, "actor": audit.actor().name, "reason": said},
    )
    audit.record(audit.Action.ACKNOWLEDGE, key, f"{title}, for {hours} h: {said}")


@write_lock()
def tell_again(key: str) -> None:
    """End an acknowledgement before its time."""
    if not Acknowledgement.objects.filter(key=key).delete()[0]:
        raise NotFound(f"{key} is not acknowledged")
    audit.record(audit.Action.END_ACKNOWLEDGEMENT, key)


def current(now: datetime) -> dict[str, Acknowledgement]:
    """Read what is acknowledged now, by key."""
    return {row.key: row for row in Acknowledgement.objects.filter(until__gte=now)}
