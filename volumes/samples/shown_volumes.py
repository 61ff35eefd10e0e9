"""What heads tell of the volumes that they show becomes rows, where it is news."""

import logging
from collections.abc import Collection, Iterable, Iterator

from django.db import IntegrityError, transaction

from agents.io_figures import VolumeOnHead, read_shown
from agents.protocol import NodeFigures
from volumes.models import Attachment, LogicalVolume
from volumes.sample_models import ShownVolume

logger = logging.getLogger(__name__)

Told = dict[int, tuple[str, VolumeOnHead]]
"""The folder on its head, and what is told, by volume."""


def read(told: Iterable[NodeFigures]) -> Told:
    """Read what all heads tell."""
    return {one.number: (figures.folder, one) for figures in told for one in _lines(figures.shown)}


def _lines(lines: Iterable[str]) -> Iterator[VolumeOnHead]:
    for line in lines:
        try:
            yield read_shown(line)
        except ValueError as error:
            logger.warning("%.80r: %s", line, error)


def take_over(before: Told, now: Told) -> Told:
    """Write what has changed, of volumes that are bound; what is known then.

    What is not written, of one that is about to be bound for example, is news again in a minute.
    """
    news = {pk for pk, told in now.items() if before.get(pk) != told}
    if not news:
        return now
    try:
        with transaction.atomic():
            news -= _write(news, now)
    except IntegrityError:  # one was deleted meanwhile
        return before
    return {pk: told for pk, told in now.items() if pk not in news}


def _write(news: Collection[int], now: Told) -> set[int]:
    """Write rows; of which volumes."""
    bound = Attachment.objects.filter(state=Attachment.State.BOUND).values("volume")
    volumes = LogicalVolume.objects.filter(pk__in=news)
    known = volumes.filter(pk__in=bound) | volumes.filter(origin__in=bound)
    rows = [
        ShownVolume(
            volume_id=pk,
            folder=now[pk][0][:250],
            way=now[pk][1].way,
            clients=now[pk][1].clients,
            held_mib=now[pk][1].held_mib,
        )
        for pk in known.values_list("pk", flat=True)
    ]
    ShownVolume.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["volume"],
        update_fields=["folder", "way", "clients", "held_mib"],
    )
    return {row.volume_id for row in rows}
