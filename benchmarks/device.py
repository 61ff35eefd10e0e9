"""A volume's block device beside its socket, and what an attach takes with either, in the lab.

    .venv/bin/python -m benchmarks.device

Starts a lab of virtual machines (docs/lab.md: root, Debian) and measures in a head of it. The load
is Debian's `qemu-img bench`, which takes both: the kernel's device with Linux's asynchronous I/O,
and the engine's socket with QEMU's own NBD client, on the same attached volume, in turn, medians of
the rounds. Attaches are timed where a client stands, with device = "nbd" and device = "socket".

Guests without KVM are some ten to twenty times slower than machines: only the ratios say something
of those.
"""

import time
from statistics import median

from benchmarks import in_lab
from deploy.local import observe
from tests.lab import standing
from tests.lab.cluster import KEPT, TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.using import attach

ROUNDS = 5
ATTACHES = 10
VOLUME = "bench"
GB = 10
LOADS = {
    "4k write, depth 1": "-w -d 1 -c 300 -s 4096 -S 1052672",
    "4k write, depth 16": "-w -d 16 -c 2000 -s 4096 -S 1052672",
    "4k read, depth 1": "-d 1 -c 600 -s 4096 -S 1052672",
    "4k read, depth 16": "-d 16 -c 2000 -s 4096 -S 1052672",
    "1 MiB write, depth 4": "-w -d 4 -c 48 -s 1048576",
    "1 MiB read, depth 4": "-d 4 -c 96 -s 1048576",
}
"""How many requests, of what size, and how far apart: 4k ones are a mebibyte and a block apart."""
WARM = "-w -d 4 -c 1200 -s 1048576"
"""Once over all that the loads touch, so that none pays for space that is new."""


def test_a_device_beside_its_socket(lab: VirtualLab) -> None:
    """Print both figures and their ratio for each load, then those of attaches."""
    head = lab.heads[0]
    lab.call("createLogicalVolume", lvolname=VOLUME, capacity=GB)
    attach(lab, head, VOLUME)
    ends = _ends(head)
    _seconds(head, WARM, ends["device"])
    print(f"\n{'requests a second':24}{'device':>10}{'socket':>10}{'ratio':>8}")
    for title, load in LOADS.items():
        figures: dict[str, list[float]] = {end: [] for end in ends}
        for _ in range(ROUNDS):
            for end, image in ends.items():
                figures[end].append(_count(load) / _seconds(head, load, image))
        device, socket = (median(figures[end]) for end in ends)
        print(f"{title:24}{device:>10.0f}{socket:>10.0f}{device / socket:>8.2f}", flush=True)
    standing.detach(lab, VOLUME)
    print(f"\n{f'attach of {GB} GB, ms':24}{'device':>10}{'socket':>10}")
    device = _attach_ms(lab, head)
    _take_for(head, "socket")
    socket = _attach_ms(lab, head)
    _take_for(head, "nbd")
    print(f"{'':24}{device:>10.0f}{socket:>10.0f}", flush=True)


def _ends(head: Guest) -> dict[str, str]:
    """Name both ends of the attached volume, as qemu-img takes them."""
    backend = head.run(f"cat /sys/block/$(basename $(readlink -f /dev/vas/{VOLUME}))/backend")
    words = backend.split()
    epoch, socket = words[words.index("epoch") + 1], words[words.index("socket") + 1]
    return {
        "device": f"-f raw -n -t none /dev/vas/{VOLUME}",
        "socket": f"-f raw -t none 'nbd+unix:///epoch/{epoch}?socket={socket}'",
    }


def _seconds(head: Guest, load: str, image: str) -> float:
    """Run one load; the time that it tells."""
    told = head.run(f"qemu-img bench {load} {image}", timeout=600)
    return float(told.split("completed in ")[1].split(maxsplit=1)[0])


def _count(load: str) -> int:
    return int(load.split("-c ")[1].split(maxsplit=1)[0])


def _attach_ms(lab: VirtualLab, head: Guest) -> float:
    """Attach and detach it some times; the median of the attaches."""
    took = []
    for _ in range(ATTACHES):
        began = time.monotonic()
        attach(lab, head, VOLUME)
        took.append(time.monotonic() - began)
        standing.detach(lab, VOLUME)
    return median(took) * 1000


def _take_for(head: Guest, device: str) -> None:
    """Have the head's agent serve this kind from its next start on, and start it anew."""
    settings = f"{KEPT}/agent.toml"
    head.run(f"sed -i '/^device = /d' {settings}; sed -i '1i device = \"{device}\"' {settings}")
    started = "pgrep -f '[m] agents head'"
    before = head.run(started)
    head.run("pkill -f '[m] agents head'")

    def is_anew() -> bool:
        now = head.attempt(started)
        return not now.status and now.output.decode().strip() != before

    observe.wait(is_anew, "the agent has started anew", TIMEOUT)


if __name__ == "__main__":
    in_lab.run(__file__)
