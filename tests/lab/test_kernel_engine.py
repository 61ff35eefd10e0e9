"""What only nodes with the kernel engine have: targets, arrays, another engine beside theirs."""

from xmlrpc.client import Fault

import pytest

from deploy.local import observe
from tests.lab import standing, volumes
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.place import ENGINE
from tests.lab.using import STALL, attach, create, in_use, keeps_writing, mount, tell
from tests.lab.volumes import Writer

pytestmark = pytest.mark.skipif(ENGINE != "kernel", reason="`make lab ENGINE=kernel` runs these")

MEMBERS = "/sys/block/md_vas*/md/dev-*"
TARGET = "$(ls /sys/kernel/config/target/iscsi | grep group)"
AT_MIB = 40
"""Where in a volume a block is spoiled, behind its GB on the disk."""
ARRAYS = "udevadm settle; sed -n 's/^\\(md[^ ]*\\) .*/\\1/p' /proc/mdstat"
FILL = "dd if=/dev/urandom of=/dev/vas/db bs=1M seek=$((RANDOM % 16)) count=16 oflag=direct 2>&1"
READ = "dd if=/dev/vas/{} of=/dev/null bs=1M count=1 iflag=direct"
DIGEST = "set -o pipefail; dd if=/dev/vas/{} bs=1M count=32 iflag=direct status=none | sha256sum"
OFFLINE = """
for store in $(grep -l ^vas-store /sys/block/dm-*/dm/name); do
    for path in ${store%/dm/name}/slaves/*/slaves/*/slaves/*; do
        echo offline > $path/device/state
    done
done
"""
"""Has the kernel try no path to the replicas of snapshots' stores."""
COPIED = 300
"""Seconds for some MiB of a device whose mirrors are being made equal: that leaves others little of
the little that a guest does in a second."""
LOG_IN = "iscsiadm -m node -T {target} -p {address}:3260,1 -o {what}"


def places(lab: VirtualLab) -> list[tuple[Guest, str, int]]:
    """Tell of each replica of "db" its server, its disk, and which 4k block is the one to spoil."""
    paths = {disk["pdskid"]: disk["local_path"] for disk in lab.call("listPhysicalDisks")}
    guests = {standing.server(lab, guest): guest for guest in lab.storages}
    return [
        (guests[at["ssvrid"]], paths[at["pdskid"]], (at["offset"] << 18) + (AT_MIB << 8))
        for at in (replica["lvolspec"] for replica in observe.replicas(lab.call, "db"))
    ]


def digest(guest: Guest, device: str, block: int) -> str:
    """Digest a block, read from the medium."""
    read = f"dd if={device} bs=4k skip={block} count=1 iflag=direct status=none"
    return guest.run(f"{read} | sha256sum")


def contents(replicas: list[tuple[Guest, str, int]]) -> set[str]:
    """Digest the block on all replicas: one where they are equal."""
    return {digest(*replica) for replica in replicas}


def begin_of(head: Guest, name: str) -> str:
    """Digest the beginning of a volume, all that is written here."""
    return head.run(DIGEST.format(name), timeout=COPIED)


def test_a_volume_goes_from_the_embedded_engine_to_the_kernel_with_every_byte(
    lab: VirtualLab,
) -> None:
    kernel, embedded = lab.heads
    with in_use(lab, embedded):
        writer = Writer(embedded)
        keeps_writing(embedded, 20)
        written = writer.stop()
        assert written.error == ""
    standing.detach(lab, "db")

    attach(lab, kernel)
    with volumes.device(kernel, "db") as device, volumes.mounted(kernel, device):
        assert device.startswith("/dev/dm-")
        volumes.verify(kernel, written)


def test_a_member_that_somebody_fails_by_hand_is_replaced(lab: VirtualLab) -> None:
    head = lab.heads[0]
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head)

        head.run(f"for one in {MEMBERS}; do echo faulty > $one/state; break; done")
        keeps_writing(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", TIMEOUT)

        tell("a member failed by hand", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)


def test_nobody_logs_in_to_a_target_without_its_name_and_secret(lab: VirtualLab) -> None:
    head, other = lab.heads
    with in_use(lab, head):
        server = standing.holders(lab, "db")[0]
        target, address = server.run(f"echo {TARGET}"), server.machine.addresses[0]

        other.run(LOG_IN.format(target=target, address=address, what="new"))
        tried = other.attempt(f"iscsiadm -m node -T {target} --login", timeout=60)
        other.run(LOG_IN.format(target=target, address=address, what="delete"))

        assert tried.status
        assert b"iSCSI login failure" in tried.errors
        assert not other.attempt("ls /sys/class/iscsi_session/*").text


def test_a_power_cut_of_a_storage_server_is_a_short_pause_though_there_is_no_agent(
    lab: VirtualLab,
) -> None:
    head = lab.heads[0]
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head)
        lost = standing.holders(lab, "db")[0]

        head.run("touch /run/no-agent; pkill -9 -f '[m] agents head'")
        try:
            lost.kill()
            keeps_writing(head, 20)
        finally:
            head.run("rm /run/no-agent")
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", TIMEOUT)

        tell("a power cut of a storage server while there is no agent", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)


def test_a_head_that_was_reset_has_every_byte_when_its_volume_is_attached_again(
    lab: VirtualLab,
) -> None:
    head = lab.heads[0]
    create(lab)
    attach(lab, head)
    with volumes.device(head, "db") as device:
        volumes.make_file_system(head, device)
    mount(head)
    Writer(head)
    keeps_writing(head, 20)
    acknowledged = volumes.written(head) - 1

    head.reset()
    head.wait()
    standing.detach(lab, "db")
    attach(lab, head)

    mount(head)
    volumes.check(head, acknowledged)
    head.run(f"umount {volumes.MOUNTED}")


def test_a_block_that_one_replica_has_otherwise_is_mended(lab: VirtualLab) -> None:
    head = lab.heads[0]
    create(lab)
    attach(lab, head)
    head.run(f"dd if=/dev/urandom of=/dev/vas/db bs=1M seek={AT_MIB} count=1 oflag=direct")
    replicas = places(lab)
    guest, disk, block = replicas[0]
    guest.run(f"dd if=/dev/urandom of={disk} bs=4k seek={block} count=1 oflag=direct")
    assert len(contents(replicas)) == 2, "it is spoiled on one replica, and equal on the others"

    lab.call("vastsky.scrubVolume", lvolname="db")

    observe.wait(lambda: len(contents(replicas)) == 1, "all replicas are equal again", TIMEOUT)
    assert contents(replicas) == {digest(head, "/dev/vas/db", AT_MIB << 8)}


def test_a_snapshot_is_kept_when_its_origin_goes_and_comes_and_its_head_ends(
    lab: VirtualLab,
) -> None:
    head = lab.heads[0]
    create(lab)
    attach(lab, head)
    head.run(FILL)
    lab.call("createSnapshot", origin_lvolname="db", snapshot_lvolname="then")
    was = begin_of(head, "then")
    head.run(FILL)
    now = begin_of(head, "db")
    assert (begin_of(head, "then"), now == was) == (was, False)

    standing.detach(lab, "db")
    attach(lab, head)
    assert (begin_of(head, "then"), begin_of(head, "db")) == (was, now)

    head.reset()
    head.wait()
    standing.detach(lab, "db")
    observe.wait(lab.is_up, "the head is back", TIMEOUT)
    attach(lab, head)
    head.run(FILL, timeout=COPIED)
    assert begin_of(head, "then") == was

    with volumes.opened(head, "/dev/vas/then"), pytest.raises(Fault, match="in use"):
        lab.call("deleteLogicalVolume", lvolname="then")
    lab.call("deleteLogicalVolume", lvolname="then")
    assert head.attempt("test -e /dev/vas/then").status
    head.run(FILL, timeout=COPIED)


def test_an_origin_goes_on_without_the_store_of_its_snapshot(lab: VirtualLab) -> None:
    head = lab.heads[0]
    with in_use(lab, head):
        lab.call("createSnapshot", origin_lvolname="db", snapshot_lvolname="then")
        writer = Writer(head)
        keeps_writing(head)

        head.run(OFFLINE)
        keeps_writing(head, 20)
        written = writer.stop()

        tell("the loss of a snapshot's store", written)
        assert written.error == ""
        assert written.longest < STALL
        assert head.attempt("dd if=/dev/vas/then of=/dev/null bs=1M iflag=direct").status
        observe.wait(lambda: is_broken(lab, "then"), "the manager hears of it", TIMEOUT)
        lab.call("deleteLogicalVolume", lvolname="then")
        volumes.verify(head, written)


def test_a_snapshot_stays_with_the_engine_that_has_kept_it(lab: VirtualLab) -> None:
    kernel, embedded = lab.heads
    create(lab)
    for keeper, other, says in (
        (kernel, embedded, "is the kernel engine's"),
        (embedded, kernel, "was kept by the embedded engine"),
    ):
        attach(lab, keeper)
        lab.call("createSnapshot", origin_lvolname="db", snapshot_lvolname="then")
        standing.detach(lab, "db")

        with pytest.raises(Fault, match=says):
            attach(lab, other)

        standing.detach(lab, "db")
        attach(lab, keeper)
        keeper.run(READ.format("then"))
        lab.call("deleteLogicalVolume", lvolname="then")
        standing.detach(lab, "db")


def is_broken(lab: VirtualLab, name: str) -> bool:
    """Tell whether the manager knows that a snapshot is broken."""
    (volume,) = lab.call("listLogicalVolumes", lvolname=name)
    return bool(volume["fault"])


def test_what_users_put_on_a_volume_is_found_on_the_volume_only(lab: VirtualLab) -> None:
    head = lab.heads[0]
    create(lab)
    attach(lab, head)
    head.run("mv /etc/mdadm/mdadm.conf /run")  # which says that nothing is to be assembled
    try:
        make = "mdadm --create /dev/md/users --metadata=1.2 --level=1 --raid-devices=2"
        head.run(f"{make} --run /dev/vas/db missing && mdadm --stop /dev/md/users")
        standing.detach(lab, "db")
        attach(lab, head)
        found = head.run(ARRAYS).split()
    finally:
        head.run("mv /run/mdadm.conf /etc/mdadm")
    assert [name[:6] for name in found] == ["md_vas"]

    head.run("wipefs -qa /dev/vas/db && pvcreate -qq /dev/vas/db")
    standing.detach(lab, "db")
    attach(lab, head)
    (volume,) = head.run("udevadm settle; pvs --noheadings -o pv_name 2>&1").splitlines()
    same = f"readlink -f {volume} /dev/vas/db | uniq | wc -l"
    assert head.run(same).strip() == "1"
