"""Files that keep udev, md, LVM and multipathd off the devices below volumes.

A replica has what the users of its volume put there: file systems, arrays, volume groups. Whoever
finds these on a path or on a replica, and uses them there, goes past the mirror: LVM, for one,
takes any of the devices that look like the same disk. The files are looked at whenever an agent
starts, and written where they are not as they have to be.
"""

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel.command import run

BELOW = "/dev/vastsky/below/"
"""Where udev names what is below volumes. LVM knows devices by their names only."""
UDEV_RULES = """\
# Written by the agent of VastSky's kernel engine at each start. Paths, replicas, mirrors, exports
# are devices below volumes: what is on them is for nobody to find here, but on the volumes. Nor is
# it on snapshots, which have the names of their origins on them.
SUBSYSTEM!="block", GOTO="vastsky_end"
KERNEL=="sd*", ATTRS{vendor}=="LIO-ORG*", ATTRS{model}=="vas-export-*", GOTO="vastsky_below"
KERNEL=="md_vas*", GOTO="vastsky_below"
KERNEL=="dm-*", ATTR{dm/name}=="vas-replica-*", GOTO="vastsky_below"
KERNEL=="dm-*", ATTR{dm/name}=="vas-origin-*", GOTO="vastsky_below"
KERNEL=="dm-*", ATTR{dm/name}=="vas-store-*", GOTO="vastsky_below"
KERNEL=="dm-*", ATTR{dm/name}=="vas-snapshot-*", GOTO="vastsky_below"
KERNEL=="dm-*", ATTR{dm/name}=="vas-export-*", GOTO="vastsky_below"
GOTO="vastsky_end"
LABEL="vastsky_below"
OPTIONS+="nowatch", SYMLINK+="vastsky/below/%k"
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
LVM_FILE = "etc/lvm/lvmlocal.conf"
LVM_FILTER = f"r|^{BELOW}|"
LVM_CONF = f"""
# Written by the agent of VastSky's kernel engine: LVM is kept off the devices below volumes.
devices {{
\tglobal_filter = [ "{LVM_FILTER}" ]
}}
"""
NOTHING_ELSE = "r|.*|"
"""With this in a filter, LVM takes just what the filter names."""


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
SETTLE_SECONDS = 10
ANY_STATUS = tuple(range(256))
"""The daemon may not run; then it reads the file when it starts."""


def keep_others_off(root: Path = Path("/")) -> None:
    """See that all files are there; EngineError, one sentence, where one is not and cannot be."""
    for file in FILES:
        if shutil.which(file.program) and _put(root / file.path, file):
            run(*file.reread, ok=ANY_STATUS)
    if shutil.which("lvm"):
        _filter_lvm(root / LVM_FILE)


def await_names() -> None:
    """Wait until udev has named the devices that were made: LVM may be asked from then on."""
    if shutil.which("udevadm"):
        run("udevadm", "settle", f"--timeout={SETTLE_SECONDS}", ok=ANY_STATUS)


def _filter_lvm(path: Path) -> None:
    """Have LVM's filter leave out what is below volumes; one that somebody else made is theirs."""
    told = run("lvm", "lvmconfig", "devices/global_filter", ok=ANY_STATUS)
    if LVM_FILTER in told or NOTHING_ELSE in told:
        return
    if "global_filter" in told:
        raise EngineError(
            errno.EEXIST,
            f'LVM would use replicas as disks of its own: add "{LVM_FILTER}" to its global_filter,'
            " as the first element",
        )
    try:
        before = path.read_text() if path.exists() else ""
        path.write_text(before + LVM_CONF)
    except OSError as error:
        raise _unwritten("LVM", path, error) from None


def _put(path: Path, file: KeepOff) -> bool:
    """Have a file as it has to be; True if it was not."""
    try:
        if path.is_file() and path.read_text() == file.content:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
    except OSError as error:
        raise _unwritten(file.program, path, error) from None
    return True


def _unwritten(program: str, path: Path, error: OSError) -> EngineError:
    return EngineError(
        error.errno or errno.EIO,
        f"{program} would use replicas as disks of its own, and the file that keeps it off them,"
        f" {path}, is not there and cannot be written: {error.strerror}",
    )
