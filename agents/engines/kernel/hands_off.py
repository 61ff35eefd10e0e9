"""Files that keep udev, md, LVM and multipathd off the devices below volumes.

A replica has what the users of its volume put there: file systems, arrays, volume groups. Whoever
finds these on a path or on a replica, and uses them there, goes past the mirror. The files are
looked at whenever an agent starts, and written where they are not as they have to be.
"""

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel.command import run

UDEV_RULES = """\
# Written by the agent of VastSky's kernel engine at each start. Paths and mirrors are devices below
# volumes: what is on them is for nobody to find here, but on the volumes.
SUBSYSTEM!="block", GOTO="vastsky_end"
KERNEL=="sd*", ATTRS{vendor}=="LIO-ORG*", ATTRS{model}=="vas-export-*", GOTO="vastsky_below"
KERNEL=="md_vas*", GOTO="vastsky_below"
GOTO="vastsky_end"
LABEL="vastsky_below"
OPTIONS+="nowatch"
ENV{SYSTEMD_READY}="0", ENV{UDISKS_IGNORE}="1", ENV{DM_MULTIPATH_DEVICE_PATH}="1"
ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1", ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"
LABEL="vastsky_end"
"""
MULTIPATH_CONF = """\
# Written by the agent of VastSky's kernel engine, which makes its maps by itself.
blacklist {
    device {
        vendor "LIO-ORG"
        product "vas-export-.*"
    }
}
"""


@dataclass(frozen=True, slots=True)
class KeepOff:
    """A file that keeps somebody off, where that program is, and how it is told to read it."""

    program: str
    path: str
    content: str
    reread: tuple[str, ...]


FILES = (
    KeepOff(
        "udevadm",
        "run/udev/rules.d/59-vastsky-kernel.rules",
        UDEV_RULES,
        ("udevadm", "control", "--reload"),
    ),
    KeepOff(
        "multipathd",
        "etc/multipath/conf.d/vastsky.conf",
        MULTIPATH_CONF,
        ("multipathd", "reconfigure"),
    ),
)
ANY_STATUS = tuple(range(256))
"""The daemon may not run; then it reads the file when it starts."""


def keep_others_off(root: Path = Path("/")) -> None:
    """See that all files are there; EngineError, one sentence, where one is not and cannot be."""
    for file in FILES:
        if shutil.which(file.program) and _put(root / file.path, file):
            run(*file.reread, ok=ANY_STATUS)


def _put(path: Path, file: KeepOff) -> bool:
    """Have a file as it has to be; True if it was not."""
    try:
        if path.is_file() and path.read_text() == file.content:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
    except OSError as error:
        raise EngineError(
            error.errno or errno.EIO,
            f"{file.program} would use replicas as disks of its own, and the file that keeps it off"
            f" them, {path}, is not there and cannot be written: {error.strerror}",
        ) from None
    return True
