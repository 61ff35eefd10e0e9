"""What users find of volumes on their head: a block device, or a socket."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from agents.io_figures import VolumeOnHead, Way, write_shown
from agents.protocol import GroupState


def lines(groups: Iterable[GroupState], folder: Path) -> Iterator[str]:
    """Tell of all devices of groups that run."""
    for group in groups:
        for device in group.devices if group.alive else ():
            way = _way(folder / f"lvol-{device.lvolid:08x}")
            yield write_shown(VolumeOnHead(device.lvolid, device.clients, device.cow_mib, way))


def _way(link: Path) -> Way:
    try:
        mode = link.stat().st_mode
    except OSError:
        return Way.NONE
    return Way.BLOCK if stat.S_ISBLK(mode) else Way.SOCKET
