"""The guests' kernel: Debian's own, unpacked so that QEMU starts it at once, and its modules."""

import lzma
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from deploy.local.place import Unusable
from tests.lab.place import INSIDE
from tests.lab.tools import run

AT_FIRST = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "squashfs", "overlay")
"""What the initrd loads, to come to the root."""
WANTED = (
    *("virtio_net", "virtio_rng", "ext4", "xfs", "nbd", "loop", "bridge", "veth", "kvm"),
    *(
        "dm-mod",
        "dm-flakey",
        "dm-delay",
        "dm-snapshot",
        "dm-crypt",
        "dm-thin-pool",
        "dm-log-writes",
    ),
    *("raid1", "crc32c_generic", "crc32c-intel", "xts", "aesni-intel", "algif_skcipher"),
    *("sha256_generic", "ecb", "cbc", "scsi_debug", "sd_mod", "brd", "sch_netem"),
    *("target_core_mod", "target_core_iblock", "iscsi_target_mod", "iscsi_tcp"),
    *("dm-multipath", "dm-round-robin", "dm-service-time"),
    *("ata_piix", "nvme"),
)
"""What guests have besides; a kernel that has one built in, or not at all, goes without."""
PACKED = {b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def package() -> str:
    """Name the package of Debian's newest kernel."""
    told = run("apt-cache", "depends", "linux-image-amd64")
    for line in told.splitlines():
        if "Depends: linux-image-" in line:
            return line.split()[-1]
    raise Unusable("Debian's package linux-image-amd64 is in no list of apt's")


def put(deb: Path, busybox_deb: Path, root: Path, target: Path) -> None:
    """Put the kernel and an initrd into `target`, and the modules that are wanted into `root`."""
    whole = target / "kernel"
    whole.mkdir()
    _unpack(deb, whole, "./boot", "./lib")
    (image,) = (whole / "boot").glob("vmlinuz-*")
    version = image.name.removeprefix("vmlinuz-")
    (target / "vmlinux").write_bytes(_uncompressed(image.read_bytes()))
    (root / "boot").mkdir(exist_ok=True)
    shutil.copy(image, root / "boot/vmlinuz")  # for guests of a head
    run("depmod", "-b", whole, version)
    modules = Path("lib/modules") / version
    (root / modules).mkdir(parents=True)
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copy(whole / modules / name, root / modules / name)
    for file in _with_dependencies((*AT_FIRST, *WANTED), whole, version):
        place = root / file.relative_to(whole)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    run("depmod", "-b", root, version)
    busybox = target / "busybox"
    _unpack(busybox_deb, target, "--strip-components=2", "./bin/busybox")
    shutil.copy(busybox, root / "usr/bin/busybox")
    _pack_initrd(busybox, _with_dependencies(AT_FIRST, whole, version), target)
    shutil.rmtree(whole)
    busybox.unlink()


def _unpack(deb: Path, target: Path, *words: str) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as files:
        run("tar", "--extract", "--directory", target, *words, stdin=files.stdout)


def _with_dependencies(names: Iterable[str], whole: Path, version: str) -> list[Path]:
    """Name the modules' files and those that they need, in the order of loading."""
    found: dict[Path, None] = {}
    for name in names:
        where = ("-d", whole, "-S", version)
        for line in run("modprobe", *where, "--show-depends", name, ok=(0, 1)).splitlines():
            if line.startswith("insmod "):
                found[Path(line.split()[1])] = None
    return list(found)


def _uncompressed(image: bytes) -> bytes:
    """Take the kernel proper out of what a boot loader would start: QEMU starts it by PVH."""
    for magic, kind in PACKED.items():
        at = image.find(magic)
        while at >= 0:
            found = _unpacked(kind, image[at:])
            if found.startswith(b"\x7fELF"):
                return found
            at = image.find(magic, at + 1)
    raise Unusable("Debian's kernel is packed in a way that the lab does not know")


def _unpacked(kind: str, data: bytes) -> bytes:
    if kind == "xz":
        try:
            return lzma.LZMADecompressor().decompress(data)
        except lzma.LZMAError:
            return b""
    # What follows the packed kernel is no error of ours.
    return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=False).stdout


def _pack_initrd(busybox: Path, modules: list[Path], target: Path) -> None:
    tree = target / "initrd"
    for name in ("bin", "modules", "proc", "dev", "ro", "rw", "new"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    shutil.copy(INSIDE / "initrd_init.sh", tree / "init")
    for module in modules:
        shutil.copy(module, tree / "modules")
    (tree / "modules/order").write_text("".join(f"{module.name}\n" for module in modules))
    pack = f"find . | {busybox} cpio -o -H newc > ../initrd.cpio"
    run("sh", "-c", pack, folder=tree)
    shutil.rmtree(tree)
