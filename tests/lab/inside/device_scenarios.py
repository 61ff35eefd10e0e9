"""What becomes of a volume's block device, on a real kernel. To be run in a guest, as root:

    modprobe nbd
    python3 -m tests.lab.inside.device_scenarios [NAME ...]     all of them, or those named

FOLDER=/a/path says where the disks' files are, 6 GB of sparse ones. One line each tells what came
out, with its figures; the status is that of all.
"""

import contextlib
import errno
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from agents.ondisk import GB
from tests.lab.inside.device_uses import USES
from tests.lab.inside.head_in_a_guest import (
    LINKS,
    MOUNTED,
    NAME,
    GuestHead,
    Writer,
    a_file_system,
    error_of_a_read,
    run,
    wait_until,
)
from tests.lab.inside.steady_writer import check

FILE = MOUNTED / "file"
LONGEST_PAUSE = 10.0
"""Seconds. 5 are promised; guests without KVM that share two cores take some for any write."""


@contextlib.contextmanager
def a_head(**settings: object) -> Iterator[GuestHead]:
    head = GuestHead(device="nbd", **settings)
    try:
        yield head
    except BaseException:
        print(head.log())
        raise
    finally:
        run("umount", "-q", MOUNTED) if MOUNTED.is_mount() else None
        head.close()
        for node in Path("/sys/block").glob("nbd1???"):
            print("left:", node)


def is_left() -> list[str]:
    """Tell what there is of volumes on this machine."""
    found = [*LINKS.iterdir(), *Path("/sys/block").glob("nbd1???"), *Path("/dev").glob("nbd1???")]
    return list(map(str, found))


def a_device_comes_and_goes() -> str:
    with a_head() as head:
        began = time.monotonic()
        device = head.attach()
        attached = time.monotonic() - began
        assert device.is_block_device()
        assert (LINKS / "lvol-00000007").resolve() == device
        assert int(run("blockdev", "--getsize64", device)) == GB
        backend = Path(f"/sys/block/{device.name}/backend").read_text()
        assert "epoch 1 group lvol-00000007" in backend
        head.detach()
        assert is_left() == []
        return f"attach {attached:.1f} s with the guest's slow processor"


def writes_flushes_and_discards_reach_the_replicas() -> str:
    with a_head() as head:
        device = head.attach()
        descriptor = os.open(device, os.O_RDWR)
        os.pwrite(descriptor, b"a" * 8192, 0)
        os.fsync(descriptor)
        for store in head.lab.stores:
            assert store.extent(0, 8192) == b"a" * 8192
        run("blkdiscard", "-o", 0, "-l", 4096, device)
        run("blkdiscard", "-z", "-o", 4096, "-l", 1024, device)
        os.fsync(descriptor)
        for store in head.lab.stores:
            assert store.extent(0, 8192) == bytes(4096 + 1024) + b"a" * 3072
        os.close(descriptor)
        head.detach()
        queue = Path(f"/sys/block/{device.name}/queue")
        return f"{queue.name} gone: {not queue.exists()}"


def a_snapshot_is_a_read_only_device() -> str:
    with a_head() as head:
        device = head.attach()
        with a_file_system(device):
            FILE.write_text("before")
            run("sync")
            snapshot = head.snapshot()
            FILE.write_text("after")
            run("sync")
            assert run("blockdev", "--getro", snapshot).strip() == "1"
            with contextlib.suppress(OSError), snapshot.open("r+b", buffering=0) as opened:
                opened.write(b"x" * 4096)
                os.fsync(opened.fileno())
                raise AssertionError("a snapshot was written to")
            other = Path("/mnt/snapshot")
            other.mkdir(exist_ok=True)
            run("mount", "-o", "ro,noload", snapshot, other)
            assert (other / "file").read_text() == "before"
            run("umount", other)
            head.unsnapshot()
            assert not (LINKS / "snap").is_symlink()
        head.detach()
        assert is_left() == []
        return "its file system is that of its instant"


def its_process_may_be_killed_under_a_file_system(kind: str = "ext4") -> str:
    with a_head() as head:
        device = head.attach()
        with a_file_system(device, kind):
            writer = Writer(FILE)
            for _ in range(3):
                time.sleep(6)
                head.kill_process()
                wait_until(lambda: head.process, "the process runs again")
            time.sleep(6)
            count, longest, error = writer.stop()
            assert not error, error
            check(FILE, count)
        fsck = ["e2fsck", "-fn"] if kind == "ext4" else ["xfs_repair", "-n"]
        run(*fsck, device)
        head.detach()
        assert longest <= LONGEST_PAUSE, longest
        return f"{kind}: 3 kills, {count} writes, longest {longest} s, file system clean"


def on_xfs_too() -> str:
    return its_process_may_be_killed_under_a_file_system("xfs")


def it_goes_on_without_its_agent() -> str:
    with a_head() as head:
        device = head.attach()
        with a_file_system(device):
            writer = Writer(FILE)
            time.sleep(2)
            head.kill_agent()
            time.sleep(4)
            head.start_agent()
            time.sleep(2)
            _, longest, error = writer.stop()
            assert not error, error
            assert longest < 2, longest
        head.detach()
        assert is_left() == []
        return f"longest write {longest} s"


def agent_and_process_may_die_together() -> str:
    with a_head() as head:
        device = head.attach()
        with a_file_system(device):
            writer = Writer(FILE)
            time.sleep(3)
            head.kill_agent()
            head.kill_process()
            time.sleep(10)
            head.start_agent()
            time.sleep(5)
            count, longest, error = writer.stop()
            assert not error, error
            check(FILE, count)
        run("e2fsck", "-fn", device)
        head.detach()
        return f"both away for 10 s and more: no error, longest write {longest} s"


def a_newer_version_takes_over_under_a_file_system() -> str:
    with a_head() as head:
        device = head.attach()
        with a_file_system(device):
            writer = Writer(FILE)
            time.sleep(3)
            head.kill_agent()
            head.stop_engine()
            head.start_agent()
            wait_until(lambda: head.process, "the process runs again")
            time.sleep(5)
            count, longest, error = writer.stop()
            assert not error, error
            check(FILE, count)
        head.detach()
        return f"no error, longest write {longest} s (two starts of Python included)"


def who_uses_it_is_named() -> str:
    said = []
    with a_head() as head:
        device = head.attach()
        for use, words in USES.items():
            with use(device):
                refusal = head.refusal()
                assert words in refusal, refusal
                assert NAME.resolve() == device
                said.append(refusal.rpartition(": ")[2])
        head.detach()
        assert is_left() == []
    return "; ".join(said)


def fenced_it_fails_at_once_and_goes_when_closed() -> str:
    with a_head() as head:
        device = head.attach()
        run("mkfs.ext4", "-q", "-E", "nodiscard", device)
        run("mount", device, MOUNTED)
        writer = Writer(FILE)
        time.sleep(2)
        began = time.monotonic()
        head.detach(force=True)
        _, _, error = writer.stop()
        took = time.monotonic() - began
        assert error, "a fenced volume was written to"
        assert not NAME.is_symlink()
        other = head.attach(epoch=2)
        assert other != device
        assert NAME.resolve() == other
        run("umount", MOUNTED)
        wait_until(lambda: not device.exists(), "the fenced device is gone")
        head.detach(epoch=2)
        assert is_left() == []
        return f"EIO after {took:.1f} s ({error}); the next epoch is {other.name}"


def given_up_it_fails_and_comes_back_as_another_device() -> str:
    with a_head(storage_wait_seconds=0) as head:
        opened = os.open(head.attach(), os.O_RDONLY | os.O_DIRECT)
        for store in head.lab.stores:
            store.freeze()
        head.kill_process()
        began = time.monotonic()
        error = error_of_a_read(opened)
        took = time.monotonic() - began
        os.close(opened)
        assert error == errno.EIO, f"{error} after {took:.1f} s"
        for store in head.lab.stores:
            store.thaw()
        wait_until(lambda: NAME.is_block_device() and head.process, "the volume is back", 120)
        with NAME.open("rb") as again:
            assert again.read(4096) == bytes(4096)
        head.detach()
        wait_until(lambda: not is_left(), "the first device is gone as well")
        return f"EIO after {took:.0f} s; back by itself once its storage was"


def storage_may_be_away_for_a_while() -> str:
    with a_head() as head:
        device = head.attach()
        with a_file_system(device):
            writer = Writer(FILE)
            time.sleep(2)
            for store in head.lab.stores:
                store.freeze()
            time.sleep(20)
            for store in head.lab.stores:
                store.thaw()
            time.sleep(8)
            count, longest, error = writer.stop()
            assert not error, error
            check(FILE, count)
        run("e2fsck", "-fn", device)
        head.detach()
        return f"away for 20 s: no error, longest write {longest} s"


def writeback_goes_on_without_memory() -> str:
    """Pages are dirtied beyond the machine's memory, and the process is killed meanwhile."""
    with a_head() as head:
        device = head.attach()
        with a_file_system(device):
            process = Path(f"/proc/{head.process}")
            assert (process / "oom_score_adj").read_text().strip() == "-1000"
            locked = (process / "status").read_text().partition("VmLck:")[2].split()[0]
            assert int(locked) > 0
            hog = subprocess.Popen([sys.executable, "-c", HOG])
            filler = subprocess.Popen(
                ["dd", "if=/dev/urandom", f"of={FILE}", "bs=1M", "count=600", "conv=fsync"]
            )
            time.sleep(15)
            head.kill_process()
            assert not filler.wait(600)
            hog.kill()
            hog.wait()
        run("e2fsck", "-fn", device)
        head.detach()
        return f"600 MB through {memory_mb()} MB of memory, with a kill meanwhile"


HOG = """
import time
held = []
while True:
    free = int(open('/proc/meminfo').read().split('MemAvailable:')[1].split()[0])
    if free > 60 << 10:
        held.append(bytearray(4 << 20))
    else:
        time.sleep(0.2)
"""


def memory_mb() -> int:
    return int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) >> 10


def what_is_a_socket_stays_one() -> str:
    with a_head() as head:
        head.kill_agent()
        head.start_agent(device="socket")
        head.attach()
        assert NAME.is_socket()
        head.kill_agent()
        head.start_agent(device="nbd")
        head.kill_process()
        wait_until(lambda: head.process, "the process runs again")
        assert NAME.is_socket()
        head.detach()
        assert head.attach(epoch=2).is_block_device()
        head.detach(epoch=2)
        return "until the next attach"


def others_may_open_it_and_nobody_looks_what_is_on_it() -> str:
    with a_head(device_group="daemon", device_mode="0640") as head:
        run(*head.command, "--install-files")
        run(*head.command, "--check-files")
        device = head.attach()
        run("mkfs.ext4", "-q", "-E", "nodiscard", "-U", "clear", "-L", "found", device)
        run("udevadm", "trigger", "--settle", "--action=change", f"/sys/block/{device.name}")
        told = run("udevadm", "info", device)
        assert "ID_FS" not in told, told
        assert "SYSTEMD_ALIAS=/dev/vas/vol /dev/vas/lvol-00000007" in told, told
        mode = device.stat()
        head.detach()
        assert (mode.st_gid, mode.st_mode & 0o777) == (1, 0o640), (mode.st_gid, oct(mode.st_mode))
        head.kill_agent()
        head.start_agent(device="socket")
        head.attach(epoch=2)
        mode = NAME.stat()
        assert (mode.st_gid, mode.st_mode & 0o777) == (1, 0o640)
        head.detach(epoch=2)
        return "device and socket are daemon's, 0640"


SCENARIOS: list[Callable[[], str]] = [
    a_device_comes_and_goes,
    writes_flushes_and_discards_reach_the_replicas,
    a_snapshot_is_a_read_only_device,
    its_process_may_be_killed_under_a_file_system,
    on_xfs_too,
    it_goes_on_without_its_agent,
    agent_and_process_may_die_together,
    a_newer_version_takes_over_under_a_file_system,
    who_uses_it_is_named,
    fenced_it_fails_at_once_and_goes_when_closed,
    given_up_it_fails_and_comes_back_as_another_device,
    storage_may_be_away_for_a_while,
    writeback_goes_on_without_memory,
    what_is_a_socket_stays_one,
    others_may_open_it_and_nobody_looks_what_is_on_it,
]


def main(names: list[str]) -> int:
    failed = 0
    for scenario in SCENARIOS:
        if names and scenario.__name__ not in names:
            continue
        began = time.monotonic()
        try:
            told = scenario()
        except Exception:  # noqa: BLE001 - what went wrong is told, and the next one is tried
            failed += 1
            told = traceback.format_exc()
        verdict = "FAILED" if told.startswith("Traceback") else "ok"
        print(
            f"{verdict} {scenario.__name__} ({time.monotonic() - began:.0f} s): {told}", flush=True
        )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
