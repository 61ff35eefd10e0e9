"""Names for log lines and causes, where only the id of something is at hand."""

from inventory.models import Disk, HeadServer, StorageServer
from volumes.models import LogicalVolume


def head(pk: int) -> str:
    """Name a head server as people do, with its id."""
    return (HeadServer.objects.filter(pk=pk).first() or HeadServer(pk=pk)).label


def storage(pk: int) -> str:
    """Name a storage server as people do, with its id."""
    return (StorageServer.objects.filter(pk=pk).first() or StorageServer(pk=pk)).label


def disk(pk: int) -> str:
    """Name a disk by its server and path, with its id."""
    row = Disk.objects.filter(pk=pk).select_related("server").first()
    return (row or Disk(pk=pk)).label


def volume(pk: int) -> str:
    """Name a volume, with its id."""
    row = LogicalVolume.objects.filter(pk=pk).first()
    return f"{row.name} ({row})" if row else str(LogicalVolume(pk=pk))
