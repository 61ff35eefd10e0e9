"""What goes wrong between a head's kernel and the targets, and while arrays are made equal."""

import threading
from collections.abc import Callable
from contextlib import suppress
from xmlrpc.client import Fault

import pytest

from deploy.local import observe
from tests.lab import standing, volumes
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.place import ENGINE
from tests.lab.using import STALL, attach, create, in_use, keeps_writing, tell
from tests.lab.volumes import Writer

pytestmark = pytest.mark.skipif(ENGINE != "kernel", reason="`make lab ENGINE=kernel` runs these")

PORTAL_GROUPS = "/sys/kernel/config/target/iscsi/iqn*/tpgt_1"
SWITCH = "for one in {groups}; do echo {on} > $one/enable; done"
NOP_SECONDS = 4
"""After which a server that says nothing is out of reach: 2 s of silence, 2 s for an answer."""
LINKS = "udevadm settle; ls -l /dev/vas /dev/vastsky/below | awk '{print $9, $10, $11}'"
REPLAY = """
for action in change add remove add; do udevadm trigger --subsystem-match=block --action=$action
done
udevadm settle
vgchange -ay 2>&1; mdadm --assemble --scan 2>&1; pvscan --cache -aay 2>&1; true
"""
"""What a machine's start, or an administrator, does with all block devices that there are."""
HOLDERS = "for one in /sys/block/*/holders/*; do echo $one; done | sort"
SLOWLY = """
for one in /sys/block/md_vas*/md; do
    echo {0} > $one/sync_speed_min; echo {0} > $one/sync_speed_max
    echo {0} > $one/sync_speed_min; cat $one/sync_action
done
"""
MAPS = "cat /sys/block/dm-*/dm/name | grep -c ^vas-replica"


@pytest.fixture
def head(lab: VirtualLab) -> Guest:
    return lab.heads[0]


def pause_of(lab: VirtualLab, head: Guest, what: str, happens: Callable[[Guest], object]) -> None:
    """Have something happen to a server under a writer: it pauses, and all is whole in the end."""
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head)

        happens(standing.holders(lab, "db")[0])

        keeps_writing(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", TIMEOUT)
        tell(what, written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)


def test_a_server_that_says_nothing_for_longer_than_it_may_is_a_short_pause(
    lab: VirtualLab, head: Guest
) -> None:
    def is_silent(server: Guest) -> None:
        server.freeze()
        try:
            head.run(f"sleep {4 * NOP_SECONDS}")
        finally:
            server.thaw()

    pause_of(lab, head, "a server that was frozen", is_silent)


def test_a_target_that_is_taken_down_and_put_up_again_is_a_short_pause(
    lab: VirtualLab, head: Guest
) -> None:
    def restarts(server: Guest) -> None:
        server.run(SWITCH.format(groups=PORTAL_GROUPS, on=0))
        try:
            head.run(f"sleep {2 * NOP_SECONDS}")
        finally:
            server.run(SWITCH.format(groups=PORTAL_GROUPS, on=1))

    pause_of(lab, head, "a target taken down", restarts)


def test_udev_and_who_assembles_by_hand_leave_a_volume_alone(lab: VirtualLab, head: Guest) -> None:
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head)
        links, holders = head.run(LINKS), head.run(HOLDERS)

        head.run(REPLAY, timeout=TIMEOUT)

        keeps_writing(head)
        written = writer.stop()
        assert (head.run(LINKS), head.run(HOLDERS)) == (links, holders)
        assert written.error == ""
        assert standing.is_whole(lab, "db")
        volumes.verify(head, written)


def test_maps_that_an_agent_left_when_it_was_killed_are_no_hindrance(
    lab: VirtualLab, head: Guest
) -> None:
    create(lab)
    attaching = threading.Thread(target=attaches, args=(lab, head))
    attaching.start()
    observe.wait(lambda: maps(head) > 0, "the first maps are made", TIMEOUT)

    head.run("pkill -9 -f '[m] agents head'")
    attaching.join(TIMEOUT)
    assert not attaching.is_alive()
    if not standing.is_attached(lab, "db"):
        observe.wait(lab.is_up, "its agent is back", TIMEOUT)
        attach(lab, head)

    head.run("dd if=/dev/urandom of=/dev/vas/db bs=1M count=4 oflag=direct")
    assert standing.is_whole(lab, "db")
    assert maps(head) == 3


def attaches(lab: VirtualLab, head: Guest) -> bool:
    """Try to attach the volume; tell whether it could be done."""
    with suppress(Fault):
        attach(lab, head)
        return True
    return False


def maps(head: Guest) -> int:
    """Count the devices of replicas."""
    return int(head.attempt(MAPS).text or "0")


def test_a_replica_moves_while_its_mirror_is_made_equal(lab: VirtualLab, head: Guest) -> None:
    makes_equal(lab, head)
    disk = min(standing.disks(lab, "db"))

    lab.call("vastsky.evacuate", pdskid=disk)
    try:
        observe.wait(lambda: "recover" in head.run(SLOWLY.format(40_000)), "it is copied", TIMEOUT)
        observe.wait(lambda: disk not in standing.disks(lab, "db"), "it has moved", TIMEOUT)
    finally:
        lab.call("vastsky.returnToService", pdskid=disk)
    assert "resync" in head.run(SLOWLY.format(400_000)), "the rest is made equal after it"
    observe.wait(lambda: head.run(SLOWLY.format(400_000)).split() == ["idle"], "equal", TIMEOUT)
    assert standing.is_whole(lab, "db")


def test_a_volume_is_detached_though_it_is_made_equal_and_a_server_is_gone(
    lab: VirtualLab, head: Guest
) -> None:
    makes_equal(lab, head)

    standing.holders(lab, "db")[0].kill()

    standing.detach(lab, "db")
    attach(lab, head)
    assert len(observe.replicas(lab.call, "db")) > observe.in_sync(lab.call, "db") >= 1
    head.run("dd if=/dev/vas/db of=/dev/null bs=1M count=8 iflag=direct", timeout=TIMEOUT)


def makes_equal(lab: VirtualLab, head: Guest) -> None:
    """Have a volume whose head ended uncleanly: its replicas are made equal, slowly."""
    create(lab)
    attach(lab, head)
    head.run("dd if=/dev/urandom of=/dev/vas/db bs=1M count=4 oflag=direct,dsync")
    head.reset()
    head.wait()
    standing.detach(lab, "db")
    observe.wait(lambda: attaches(lab, head), "the head is known to be back", TIMEOUT)
    assert head.run(SLOWLY.format(500)).split() == ["resync"]
