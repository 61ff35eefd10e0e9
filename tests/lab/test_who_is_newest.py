"""Whichever replicas a volume lacked when it was used last, what was written last is read then.

There is a volume for each set of replicas that may be lacking, all at once on one head.
"""

from dataclasses import dataclass

import pytest

from deploy.local import observe
from tests.lab import network, standing
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.place import ENGINE
from tests.lab.using import attach, create

pytestmark = pytest.mark.skipif(ENGINE != "kernel", reason="paths are lost in the kernel's way")

POWER_CUT, DETACH = "a power cut of the head", "a detach"
LACKING: dict[str, list[tuple[int, ...]]] = {
    POWER_CUT: [(), (0,), (1,), (2,), (0, 1), (1, 2), (2, 0)],
    DETACH: [(), (0,), (1,), (2,), (1, 0), (2, 1), (0, 2)],
}
"""How the volumes' use ends, and which replicas each lacks then, in the order in which they go."""
WRITE = "dd if=/dev/urandom of=/dev/vas/{} bs=4k count=1 oflag=direct,dsync status=none"
LOSE = """
for name in $(grep -l '^vas-replica-{:08x}-' /sys/block/dm-*/dm/name); do
    for path in ${{name%/dm/name}}/slaves/*; do echo offline > $path/device/state; done
done
"""
"""Has the kernel try no path to a replica any more, until its session ends."""


@dataclass(frozen=True, slots=True)
class StoredReplica:
    """Where a replica is, and whether it counts as good."""

    dextid: int
    good: bool
    guest: Guest
    device: str
    block: int


def first_block(guest: Guest, device: str, block: int = 0) -> str:
    """Digest a block, read from the medium."""
    read = f"dd if={device} bs=4k skip={block} count=1 iflag=direct status=none"
    return guest.run(f"set -o pipefail; {read} | sha256sum", timeout=TIMEOUT)


def places(lab: VirtualLab, name: str) -> list[StoredReplica]:
    """Tell of each replica of a volume where it is."""
    paths = {disk["pdskid"]: disk["local_path"] for disk in lab.call("listPhysicalDisks")}
    guests = {standing.server(lab, guest): guest for guest in lab.storages}
    return [
        StoredReplica(
            one["lvolid"],
            one["mirror_status"] == observe.INSYNC,
            guests[at["ssvrid"]],
            paths[at["pdskid"]],
            at["offset"] << 18,
        )
        for one in observe.replicas(lab.call, name)
        for at in (one["lvolspec"],)
    ]


@pytest.mark.parametrize("end", LACKING)
def test_what_was_written_last_is_read_whichever_replicas_missed_it(
    lab: VirtualLab, end: str
) -> None:
    head = lab.heads[0]
    lacking = {f"without-{number}": some for number, some in enumerate(LACKING[end])}
    for name in lacking:
        create(lab, name)
        attach(lab, head, name)
        head.run(WRITE.format(name))
    replicas = {name: places(lab, name) for name in lacking}
    gone = {
        name: [replicas[name][which].dextid for which in some] for name, some in lacking.items()
    }

    network.hide(head.machine)  # lest the manager hears of it: marks alone are to tell
    try:
        for turn in range(2):
            head.run("".join(LOSE.format(some[turn]) for some in gone.values() if some[turn:]))
            for name in lacking:
                head.run(WRITE.format(name), timeout=TIMEOUT)
        last = {name: first_block(head, f"/dev/vas/{name}") for name in lacking}
        if end == POWER_CUT:
            head.reset()
    finally:
        network.show(head.machine)
    head.wait()
    observe.wait(lab.is_up, "the head is back", TIMEOUT)

    for name in lacking:
        standing.detach(lab, name)
    for name in lacking:
        attach(lab, head, name)
        good = [one for one in places(lab, name) if one.good]
        if end == POWER_CUT:
            assert not {one.dextid for one in good} & set(gone[name])
        assert first_block(head, f"/dev/vas/{name}") == last[name]
        assert {first_block(one.guest, one.device, one.block) for one in good} == {last[name]}
        standing.detach(lab, name)
