"""What only nodes with the kernel engine have: targets, arrays, another engine beside theirs."""

import pytest

from deploy.local import observe
from tests.lab import standing, volumes
from tests.lab.cluster import PATIENCE, VirtualLab
from tests.lab.place import ENGINE
from tests.lab.using import STALL, attach, in_use, keeps_writing, tell
from tests.lab.volumes import Writer

pytestmark = pytest.mark.skipif(ENGINE != "kernel", reason="`make lab ENGINE=kernel` runs these")

MEMBERS = "/sys/block/md_vas*/md/dev-*"
TARGET = "$(ls /sys/kernel/config/target/iscsi | grep group)"
LOG_IN = "iscsiadm -m node -T {target} -p {address}:3260,1 -o {what}"


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
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", PATIENCE)

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
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", PATIENCE)

        tell("a power cut of a storage server while there is no agent", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)
