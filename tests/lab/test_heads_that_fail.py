"""Heads that lose their power, their networks or their manager while somebody writes."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from deploy.local import observe
from tests.lab import network, standing, volumes
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.using import attach, create, in_use, keeps_writing, mount, tell
from tests.lab.volumes import Writer

HEAD = 1
"""A target of notifyFailure."""
AWAY = 20
"""Seconds; less than heads wait for storage."""
DIGEST = "dd if={} bs=1M count=256 iflag=direct status=none | sha256sum"


def make(lab: VirtualLab, head: Guest) -> str:
    """Have a mounted file system on a small volume, and leave it so; its device."""
    create(lab)
    attach(lab, head)
    with volumes.device(head, "db") as device:
        volumes.make_file_system(head, device)
    return mount(head)


def fail(lab: VirtualLab, head: Guest) -> None:
    """Say that a head failed, as a hardware monitor does, and wait until its volumes are free."""
    lab.call("notifyFailure", target=HEAD, targetid=standing.server(lab, head))
    observe.wait(lambda: not standing.is_attached(lab, "db"), "it is fenced off", TIMEOUT)


@contextmanager
def manager_away(lab: VirtualLab) -> Iterator[None]:
    """Let no machine hear of the manager, nor it of them."""
    with ExitStack() as hidden:
        for guest in lab.guests.values():
            network.hide(guest.machine)
            hidden.callback(network.show, guest.machine)
        yield


def test_what_was_written_before_a_head_lost_its_power_is_there_on_another(
    lab: VirtualLab,
) -> None:
    one, other = lab.heads
    make(lab, one)
    Writer(one)
    keeps_writing(one, 20)
    acknowledged = volumes.written(one) - 1

    one.kill()
    fail(lab, one)
    attach(lab, other)

    with volumes.device(other, "db") as device, volumes.mounted(other, device):
        volumes.check(other, acknowledged)


def test_a_head_that_the_manager_lost_goes_on_until_its_volume_is_used_elsewhere(
    lab: VirtualLab,
) -> None:
    one, other = lab.heads
    old = make(lab, one)
    writer = Writer(one)
    keeps_writing(one)

    network.hide(one.machine)
    try:
        time.sleep(AWAY)
        keeps_writing(one, 20)
        fail(lab, one)
        attach(lab, other)
        written = writer.stop()
        with volumes.device(other, "db") as device:
            before = other.run(DIGEST.format(device), timeout=300)
            late = f"test -b {old} && dd if=/dev/urandom of={old} bs=64k count=1 oflag=direct"
            assert one.attempt(late).status
            assert other.run(DIGEST.format(device), timeout=300) == before
            with volumes.mounted(other, device):
                volumes.verify(other, written)
    finally:
        network.show(one.machine)

    assert written.error
    one.run(f"umount -l {volumes.MOUNTED}")


def test_the_loss_of_both_data_networks_is_waited_for(lab: VirtualLab) -> None:
    head = lab.heads[0]
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head)

        lab.cut(head, "data-a", "data-b")
        time.sleep(AWAY)
        network.heal(head.name, "data-a", "data-b")
        keeps_writing(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", TIMEOUT)

        tell(f"the loss of both data networks for {AWAY} s", written)
        assert written.error == ""
        volumes.verify(head, written)


def test_nothing_is_lost_while_the_manager_is_away_for_long(lab: VirtualLab) -> None:
    head = lab.heads[0]
    with in_use(lab, head):
        lost = standing.holders(lab, "db")[0]
        writer = Writer(head)
        keeps_writing(head)

        with manager_away(lab):
            lost.kill()
            keeps_writing(head, 20)
            lost.start()
            time.sleep(2 * AWAY)
            keeps_writing(head, 20)
        lost.wait()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", TIMEOUT)
        written = writer.stop()

        tell("a storage server lost while the manager is away", written)
        assert written.error == ""
        volumes.verify(head, written)
