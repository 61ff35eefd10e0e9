"""Tools of this machine, run as the lab's own steps, and the Debian packages that have them."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import IO

from deploy.local.place import Unusable

PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mksquashfs": "squashfs-tools",
    "depmod": "kmod",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "zstd": "zstd",
    "unshare": "util-linux",
}
"""Where to get each program that the lab needs. Redis is not among them: our wheels have one."""
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def run(
    *command: str | Path,
    folder: Path = Path("/"),
    stdin: IO[bytes] | None = None,
    ok: tuple[int, ...] = (0,),
) -> str:
    """Run a tool; what it says, or Unusable with its last words where it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **ENVIRONMENT},
    )
    if done.returncode not in ok:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it did not say why"]
        raise Unusable(f"{command[0]} failed: {words[-1]}")
    return done.stdout


def see_to_packages() -> None:
    """Install what is missing on this machine; Unusable, in one sentence, where that cannot be."""
    if os.geteuid():
        raise Unusable("the lab makes network namespaces and taps: run it as root")
    if os.uname().machine != "x86_64":
        raise Unusable(
            f"the lab's guests are x86_64 machines, and this one is {os.uname().machine}"
        )
    if not Path("/dev/net/tun").exists():
        raise Unusable("the lab needs /dev/net/tun, which this kernel does not have")
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unusable(f"the lab is made of Debian's packages, and there is no {tool} here")
    missing = [package for tool, package in PACKAGES.items() if not shutil.which(tool)]
    if missing:
        print(f"Installing {' '.join(missing)} ...", flush=True)
        update()
        run("apt-get", "--yes", "--quiet", "--no-install-recommends", "install", *missing)


def update() -> None:
    """Read Debian's lists anew; what a third party's mirror says about it is no matter."""
    run("apt-get", "--quiet", "update", ok=tuple(range(256)))
