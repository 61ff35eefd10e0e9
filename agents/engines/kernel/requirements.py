"""What this engine needs of a machine: modules, which an agent loads at its start, and programs."""

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel.command import run

CONFIGFS = Path("/sys/kernel/config")
LOADER = "modprobe"
FOR_ROOT = ":/usr/sbin:/sbin"
"""Where programs are that only root has in its path on some systems."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What one kind of node needs; each program with the package that Debian has it in."""

    modules: tuple[str, ...]
    programs: Mapping[str, str]

    def load(self) -> None:
        """Load what is not there; EngineError that names what cannot be."""
        run(LOADER, "--all", *self.modules)

    def missing_programs(self) -> list[tuple[str, str]]:
        """List the programs that are not here, each with its package."""
        return [(name, package) for name, package in self.programs.items() if not _find(name)]

    def missing_modules(self) -> list[str]:
        """List the modules that this kernel does not have; none is loaded by asking."""
        loader = _find(LOADER)
        return [name for name in self.modules if loader and not _is_known(loader, name)]


STORAGE = Requirements(
    ("dm-mod", "target_core_mod", "target_core_iblock", "iscsi_target_mod"),
    {LOADER: "kmod", "mount": "mount"},
)
HEAD = Requirements(
    (
        "dm-mod",
        "dm-multipath",
        "dm-service-time",
        "dm-snapshot",
        "raid1",
        "iscsi_tcp",
        "sd_mod",
    ),
    {LOADER: "kmod", "iscsiadm": "open-iscsi"},
)


def mount_configfs() -> None:
    """See that the kernel's targets can be made; a service manager has seen to it as a rule."""
    if not CONFIGFS.is_dir():
        raise EngineError(errno.ENODEV, f"{CONFIGFS} is not there: the kernel has no configfs")
    if not CONFIGFS.is_mount():
        run("mount", "-t", "configfs", "configfs", str(CONFIGFS))


def _find(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + FOR_ROOT)


def _is_known(loader: str, module: str) -> bool:
    try:
        run(loader, "--dry-run", module)
    except EngineError:
        return False
    return True
