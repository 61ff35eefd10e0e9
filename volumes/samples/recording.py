"""Samples of one time become rows, once."""

from django.db import IntegrityError, transaction

from volumes.sample_models import ClusterSample, IoSample


def record(of_cluster: ClusterSample, rows: list[IoSample]) -> bool:
    """Write all of a minute or hour, or nothing where another worker has: its row decides."""
    try:
        with transaction.atomic():
            of_cluster.save(force_insert=True)
            IoSample.objects.bulk_create(rows)
    except IntegrityError:
        return False
    return True
