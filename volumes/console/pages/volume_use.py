"""How a volume is used on its head: where it is, and the lines that make a file system of it."""

from dataclasses import dataclass

from volumes.models import Attachment, LogicalVolume
from volumes.sample_models import ShownVolume

FOLDER = "/dev/vas"
"""Where heads show volumes, unless one told otherwise."""
Way = ShownVolume.Way


@dataclass(frozen=True, slots=True)
class Lines:
    """Something to do with it, as lines for a shell or a file."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Use:
    """Who uses a volume, as its head told last, and how it is done."""

    path: str
    way: Way | None
    clients: int | None
    lines: list[Lines]

    @property
    def key(self) -> str:
        """What has to be the same for the lines to be; a part of an id, so it has no spaces."""
        return f"{self.way or 'unknown'}-{len(self.lines)}"


def of(volume: LogicalVolume, attached: Attachment | None, shown: ShownVolume | None) -> Use:
    """Tell how to use it; until its head has told, as a block device."""
    is_bound = attached is not None and attached.state == Attachment.State.BOUND
    path = f"{shown.folder if shown else FOLDER}/{volume.name}"
    told = shown if is_bound else None
    way = Way(told.way) if told else None
    if told and told.way == Way.SOCKET:
        lines = [_virtual_machine(path)]
    elif volume.origin_id:
        lines = [Lines("Mount it, read-only", f"mount -o ro,noload {path} /mnt")]
    else:
        lines = _file_system(path, volume.name)
    return Use(path, way, told.clients if told else None, lines)


def _file_system(path: str, name: str) -> list[Lines]:
    mount = f"/srv/{name}"
    return [
        Lines("Make a file system, once: it erases what is there", f"mkfs.ext4 {path}"),
        Lines("Mount it", f"mkdir -p {mount} && mount {path} {mount}"),
        Lines(
            "Or in /etc/fstab, mounted once it is attached",
            f"{path}  {mount}  ext4  _netdev,noauto,nofail,x-systemd.device-timeout=5min  0 0",
        ),
    ]


def _virtual_machine(path: str) -> Lines:
    return Lines(
        "A virtual machine of QEMU",
        f"-blockdev driver=nbd,node-name=disk0,server.type=unix,server.path={path},"
        "reconnect-delay=30 \\\n-device virtio-blk-pci,drive=disk0",
    )
