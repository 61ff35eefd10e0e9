"""The image that all guests start from: Debian's packages unpacked, made once and kept.

No maintainer script runs: a few lines here do what is wanted of theirs. That takes seconds where
an installation takes minutes, and needs nothing but apt and dpkg-deb. Which versions went in stands
in the image's file `versions`. A new image is made when the recipe changes or the cache is removed.
"""

import fcntl
import hashlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from deploy.local.place import Unusable
from tests.lab import kernel
from tests.lab.place import CACHE, INSIDE
from tests.lab.tools import run, update

PACKAGES = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "gawk", "grep"),
    *("gzip", "hostname", "libc-bin", "mount", "ncurses-base", "psmisc", "procps", "sed", "tar"),
    *("util-linux", "util-linux-extra", "iproute2", "iputils-ping", "kmod", "lsof", "strace"),
    *("udev", "cryptsetup-bin", "dmsetup", "e2fsprogs", "fdisk", "lvm2", "mdadm"),
    *("nbd-client", "xfsprogs", "python3", "open-iscsi", "smartmontools"),
    *("qemu-system-x86", "qemu-utils", "extlinux", "syslinux-common"),
)
"""What a node needs, and what tests do with its devices."""
UNWANTED = (
    *(
        "adduser_",
        "cpio_",
        "debconf_",
        "initramfs-tools",
        "klibc-utils_",
        "libklibc_",
        "linux-base_",
    ),
    *(
        "libperl",
        "perl",
        "passwd_",
        "usrmerge_",
        "libpam",
        "busybox",
        "linux-image",
        "systemd-sysv",
        "dbus",
        "libdebconfclient",
    ),
)
"""What only maintainer scripts and people who log in need."""
SPARED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/lib/udev/hwdb.d",
)
FOLDERS = (
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "root",
    "src",
    "mnt",
    "var/lib/vastsky",
    "var/tmp",
    "etc",
)
KEPT_GROUPS = ("kvm", "render", "sgx", "input")
"""Groups that udev's rules name and no master file has."""
APT = ("apt-get", "--quiet", "--quiet", "--yes")
OWN_DEBS = ("-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root")


def ensure() -> Path:
    """Tell the folder of the image; make it first where there is none of this recipe."""
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = CACHE / f"image-{_recipe()}"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for older in CACHE.glob("image-*"):
                shutil.rmtree(older)
            began = time.monotonic()
            print("Making the guests' image ...", flush=True)
            with _draft() as draft:
                _make(draft)
                draft.rename(folder)
            print(f"Made the guests' image in {time.monotonic() - began:.0f} s.", flush=True)
    return folder


def _recipe() -> str:
    """Fingerprint all that decides what is in the image."""
    parts = [Path(__file__), Path(kernel.__file__), INSIDE / "initrd_init.sh"]
    return hashlib.sha256(b"\0".join(part.read_bytes() for part in parts)).hexdigest()[:12]


@contextmanager
def _draft() -> Iterator[Path]:
    draft = CACHE / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _make(draft: Path) -> None:
    debs = _download()
    root = draft / "root"
    _unpack([deb for deb in debs if not deb.name.startswith(UNWANTED)], root)
    _finish(root)
    kernel.put(_only(debs, "linux-image-"), _only(debs, "busybox-static_"), root, draft)
    run("mksquashfs", root, draft / "root.squashfs", "-noappend", "-quiet", "-comp", "lz4")
    (draft / "versions").write_text("".join(f"{deb.stem}\n" for deb in debs))
    shutil.rmtree(root)
    shutil.rmtree(debs[0].parent)


def _download() -> list[Path]:
    """Fetch the packages and all that they depend on, as if nothing were installed."""
    folder = CACHE / "debs"
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    options = [*APT, *OWN_DEBS, "-o", "Dir::State::status=/dev/null"]
    options += ["-o", "APT::Install-Recommends=false", "-o", f"Dir::Cache::archives={folder}"]
    update()
    run(*options, "--download-only", "install", *PACKAGES)
    run(*APT, *OWN_DEBS, "download", kernel.package(), "busybox-static", folder=folder)
    return sorted(folder.glob("*.deb"))


def _only(debs: list[Path], start: str) -> Path:
    (found,) = (deb for deb in debs if deb.name.startswith(start))
    return found


def _unpack(debs: list[Path], root: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    leave = [f"--exclude=./{path}" for path in SPARED]
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(
            lambda deb: _unpack_one(deb, root, *leave, "--keep-directory-symlink"), debs
        )
        for _ in done:
            pass


def _unpack_one(deb: Path, target: Path, *options: str) -> None:
    """Put what is in a package under a folder."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as files:
        run("tar", "--extract", "--directory", target, *options, stdin=files.stdout)
    if files.returncode:
        raise Unusable(f"{deb.name} is damaged; remove {deb.parent}")


def _finish(root: Path) -> None:
    """Do what maintainer scripts would have done."""
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("passwd", "group"):
        shutil.copy(root / "usr/share/base-passwd" / f"{name}.master", root / "etc" / name)
    with (root / "etc/group").open("a") as groups:
        groups.writelines(f"{name}:x:{number}:\n" for number, name in enumerate(KEPT_GROUPS, 990))
    (root / "etc/fstab").touch()
    (root / "etc/mtab").symlink_to("/proc/self/mounts")
    # A storage server's disks are nobody else's: md and LVM take nothing by themselves.
    (root / "etc/mdadm").mkdir(exist_ok=True)
    (root / "etc/mdadm/mdadm.conf").write_text("AUTO -all\n")
    awk = root / "usr/bin/awk"
    if not awk.exists():
        awk.symlink_to("gawk")
    run("chroot", root, "ldconfig")
    run("chroot", root, "python3", "-m", "compileall", "-q", "/usr/lib", ok=(0, 1))
