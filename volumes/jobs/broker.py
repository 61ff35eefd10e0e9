"""Whether the broker answers: without it workers learn of new jobs only as they look for them."""

import kombu
from django.conf import settings
from kombu.exceptions import OperationalError

SECONDS = 3


def why_silent() -> str:
    """Ask the broker; "" if it answers, or else why it does not, in a line."""
    try:
        with kombu.Connection(settings.REDIS_URL, connect_timeout=SECONDS) as connection:
            connection.ensure_connection(max_retries=1, timeout=SECONDS)
    except (OperationalError, OSError, KeyError, ValueError) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return ""
