"""The kernel engine beside the embedded one and a plain network disk, in the lab.

    .venv/bin/python -m benchmarks.kernel_engine

Starts a lab of virtual machines (docs/lab.md: root, Debian) whose nodes have the kernel engine, but
for one head. Each head has a volume of three replicas, the first one another one besides: one path
to a replica of that, a disk of the kernel's that comes over iSCSI, is the plain network disk. The
load is Debian's `qemu-img bench` on block devices, on the three in turn, medians of the rounds.

Guests without KVM are some ten to twenty times slower than machines: only the ratios say something
of those.
"""

import time
from statistics import median

from benchmarks import in_lab
from deploy.local import observe
from tests.lab import standing
from tests.lab.cluster import VirtualLab
from tests.lab.guest import Guest
from tests.lab.using import attach

ROUNDS = 3
GB = 1
LOADS = {
    "4k write, depth 1": "-w -d 1 -c 200 -s 4096 -S 1052672",
    "4k write, depth 16": "-w -d 16 -c 800 -s 4096 -S 1052672",
    "4k read, depth 1": "-d 1 -c 300 -s 4096 -S 1052672",
    "4k read, depth 16": "-d 16 -c 800 -s 4096 -S 1052672",
    "1 MiB write, depth 4": "-w -d 4 -c 48 -s 1048576",
    "1 MiB read, depth 4": "-d 4 -c 96 -s 1048576",
}
"""How many requests, of what size, and how far apart: 4k ones are a mebibyte and a block apart."""
OUTAGE_SECONDS = 30
MISSED_MIB = 8
COPIED_SECONDS = 900
COPY = """
until grep -q recover /sys/block/md_vas*/md/sync_action; do sleep 0.1; done; began=$(date +%s.%N)
while grep -q recover /sys/block/md_vas*/md/sync_action; do sleep 0.1; done
awk "BEGIN { print $(date +%s.%N) - $began }"
"""
"""Tells how many seconds md copied."""
WARM = "-w -d 4 -c 800 -s 1048576"
"""Once over all that the loads touch, so that none pays for space that is new."""


def test_the_kernel_engine_beside_others(lab: VirtualLab) -> None:
    """Print requests a second and their ratios for each load."""
    one, other = lab.heads
    ends = {
        "kernel": (one, _device(lab, one, "kernel", 3)),
        "embedded": (other, _device(lab, other, "embedded", 3)),
        "disk": (one, _path(lab, one)),
    }
    for head, device in ends.values():
        _seconds(head, WARM, device)
    titles = [*ends, "kernel/embedded", "kernel/disk"]
    print(f"\n{'requests a second':22}" + "".join(f"{title:>17}" for title in titles))
    for name, load in LOADS.items():
        figures: dict[str, list[float]] = {end: [] for end in ends}
        for _ in range(ROUNDS):
            for end, (head, device) in ends.items():
                figures[end].append(_count(load) / _seconds(head, load, device))
        kernel, embedded, disk = (median(figures[end]) for end in ends)
        told = [f"{rate:>17.0f}" for rate in (kernel, embedded, disk)]
        told += [f"{kernel / rate:>17.2f}" for rate in (embedded, disk)]
        print(f"{name:22}" + "".join(told), flush=True)


def test_how_fast_replicas_are_copied(lab: VirtualLab) -> None:
    """Print how fast a replica is built, beside writing a disk, and how long catching up takes."""
    head = lab.heads[0]
    device = _device(lab, head, "kernel", 3)
    path = _path(lab, head)
    _seconds(head, WARM, path)
    _seconds(head, WARM, device)
    written = median(_count(WARM) / _seconds(head, WARM, path) for _ in range(ROUNDS))

    built = _move_seconds(lab)
    rate = GB * 1024 / built
    print(f"\nMiB/s: a disk is written {written:.0f}, a replica built {rate:.0f}", end="")
    print(f": {rate / written:.2f}", flush=True)

    lost = standing.holders(lab, "kernel")[0]
    lost.freeze()
    head.run(f"sleep {OUTAGE_SECONDS / 2}")
    head.run(f"dd if=/dev/urandom of={device} bs=1M count={MISSED_MIB} oflag=direct")
    head.run(f"sleep {OUTAGE_SECONDS / 2}")
    lost.thaw()
    began = time.monotonic()
    observe.wait(lambda: standing.is_whole(lab, "kernel"), "caught up", COPIED_SECONDS)
    caught_up = time.monotonic() - began
    print(f"{MISSED_MIB} MiB missed in an outage are caught up in {caught_up:.0f} s,", end="")
    print(f" all of it is copied in {built:.0f} s", flush=True)


def _move_seconds(lab: VirtualLab) -> float:
    """Have the replica on one disk move to another; how long md copies."""
    disk = min(standing.disks(lab, "kernel"))
    lab.call("vastsky.evacuate", pdskid=disk)
    copied = lab.heads[0].run(COPY, timeout=COPIED_SECONDS)
    observe.wait(lambda: disk not in standing.disks(lab, "kernel"), "it moved", COPIED_SECONDS)
    lab.call("vastsky.returnToService", pdskid=disk)
    return float(copied)


def _device(lab: VirtualLab, head: Guest, name: str, replicas: int) -> str:
    lab.call("createLogicalVolume", lvolname=name, capacity=GB, redundancy=replicas)
    began = time.monotonic()
    attach(lab, head, name)
    print(f"\nattached {name} in {time.monotonic() - began:.1f} s", end="", flush=True)
    return f"/dev/vas/{name}"


def _path(lab: VirtualLab, head: Guest) -> str:
    """Name one path to one replica of another volume, which nobody else uses."""
    _device(lab, head, "disk", 2)
    mirror = head.run("ls -d /sys/block/md_vas* | tail -1").strip()
    replica = head.run(f"ls {mirror}/slaves | head -1").strip()
    return "/dev/" + head.run(f"ls /sys/block/{replica}/slaves | head -1").strip()


def _seconds(head: Guest, load: str, device: str) -> float:
    """Run one load; the time that it tells."""
    told = head.run(f"qemu-img bench {load} -f raw -n -t none {device}", timeout=600)
    return float(told.split("completed in ")[1].split(maxsplit=1)[0])


def _count(load: str) -> int:
    return int(load.split("-c ")[1].split(maxsplit=1)[0])


if __name__ == "__main__":
    in_lab.run(__file__, LAB_ENGINE="kernel")
