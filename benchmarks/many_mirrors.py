"""A volume of 64 mirrors is attached and detached, in the lab: how long, and what takes it.

    .venv/bin/python -m benchmarks.many_mirrors

Starts a lab of virtual machines (docs/lab.md: root, Debian) with large empty disks, one head of
which has the embedded engine, the others the kernel engine. Zeroing the disks takes some minutes.
Guests without KVM are some ten to twenty times slower than machines.
"""

import time

from benchmarks import in_lab
from tests.lab import standing
from tests.lab.cluster import VirtualLab
from tests.lab.using import attach

MIRRORS = 64
MIRROR_GB = 10
"""The least that a mirror has where the volume is larger (volumes/placement/layout.py)."""
ROUNDS = 2
DISK_GB = 260
"""Eight disks have room for 192 replicas."""
AGENT_LOG = "/var/lib/vastsky/agent.log"


def test_a_volume_of_many_mirrors(lab: VirtualLab) -> None:
    """Print the seconds of each attach and detach, and what the kernel engine tells of them."""
    lab.call("createLogicalVolume", lvolname="many", capacity=MIRRORS * MIRROR_GB, redundancy=3)
    for head in lab.heads:
        for _ in range(ROUNDS):
            began = time.monotonic()
            attach(lab, head, "many")
            attached = time.monotonic()
            standing.detach(lab, "many")
            detached = time.monotonic()
            print(f"\n{head.machine.engine}: attached in {attached - began:.1f} s,", end=" ")
            print(f"detached in {detached - attached:.1f}", end="", flush=True)
    told = lab.heads[0].attempt(f"grep -h 'group [0-9]*: ' {AGENT_LOG}").text
    print(f"\n{told}", flush=True)


if __name__ == "__main__":
    in_lab.run(__file__, LAB_ENGINE="kernel", LAB_DISK_GB=str(DISK_GB))
