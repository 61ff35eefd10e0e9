"""Write down whether the broker answers, for whoever asks what is wrong."""

import logging

from inventory import clock
from inventory.models import Watch
from volumes.jobs import broker

logger = logging.getLogger(__name__)

LONGEST = 200


def look() -> None:
    """Ask the broker once; the row keeps since when it is silent."""
    why = broker.why_silent()[:LONGEST]
    silent = Watch.objects.filter(pk=1).exclude(broker="")
    if why:
        begun = Watch.objects.filter(pk=1, broker="").update(broker=why, broker_since=clock.now())
        if begun:
            logger.error("the broker does not answer: %s", why)
    elif silent.update(broker="", broker_since=None):
        logger.warning("the broker answers again")
