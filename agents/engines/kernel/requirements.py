"""The kernel's modules that this engine needs: loaded by the agent, which is root, at its start."""

import errno
from collections.abc import Sequence
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel.command import run

STORAGE = ("dm-mod", "target_core_mod", "target_core_iblock", "iscsi_target_mod")
HEAD = (
    "dm-mod",
    "dm-multipath",
    "dm-service-time",
    "dm-snapshot",
    "raid1",
    "iscsi_tcp",
    "sd_mod",
)
CONFIGFS = Path("/sys/kernel/config")


def load(modules: Sequence[str]) -> None:
    """Load what is not there; EngineError that names what cannot be."""
    run("modprobe", "--all", *modules)


def mount_configfs() -> None:
    """See that the kernel's targets can be made; a service manager has seen to it as a rule."""
    if not CONFIGFS.is_dir():
        raise EngineError(errno.ENODEV, f"{CONFIGFS} is not there: the kernel has no configfs")
    if not CONFIGFS.is_mount():
        run("mount", "-t", "configfs", "configfs", str(CONFIGFS))
