"""The main job, told as it happens on the running cluster; every claim in it is checked."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from deploy.local import observe
from deploy.local.cluster import LocalCluster
from deploy.local.ledger import BLOCK, Ledger, spread
from deploy.local.nbd import NbdClient
from deploy.local.place import DISKS, HEADS, STORAGES
from deploy.local.rpc_calls import RpcCalls
from deploy.local.screen import Bar, Screen

CAPACITY_GB = 24
BLOCKS = 256
"""MiB of random data, spread over the whole volume."""
REWRITTEN = 64


@dataclass
class Story:
    """What the steps share."""

    cluster: LocalCluster
    screen: Screen
    call: RpcCalls
    name: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    wrong: int = 0

    @property
    def link(self) -> Path:
        return self.cluster.place.links / self.name


def tell(cluster: LocalCluster, screen: Screen) -> bool:
    """Go through the whole life of a volume; whether every byte was right."""
    story = Story(cluster, screen, RpcCalls(cluster.place.rpc_url))
    began = time.monotonic()
    try:
        _register(story)
        _shred(story)
        _create(story)
        _attach(story)
        _write_and_kill(story)
        _heal(story)
        _verify(story)
        _snapshot(story)
        _leave(story)
    except (observe.Failed, OSError) as failure:
        screen.bad(str(failure))
        story.wrong += 1
    _judge(story)
    screen.say(f"The story took {time.monotonic() - began:.0f} s.")
    return not story.wrong


def _register(story: Story) -> None:
    story.screen.step("Servers register themselves, each with its addresses in two networks")

    wanted = (HEADS, STORAGES, STORAGES * DISKS)
    observe.wait(lambda: observe.present(story.call) >= wanted, "all servers and disks registered")
    kinds = [("hsvr", server) for server in story.call("listHeadServers")]
    kinds += [("ssvr", server) for server in story.call("listStorageServers")]
    rows = [
        [f"{kind}-{server[f'{kind}id']:08x}", *server["ip_data"], _capacity(server)]
        for kind, server in kinds
    ]
    story.screen.table(["server", "network A", "network B", "disks"], rows)


def _shred(story: Story) -> None:
    story.screen.step("Disks are zeroed; only space that is certified zero may be used")
    with story.screen.bar("zeroed") as bar:
        _available(story, bar)


def _create(story: Story) -> None:
    taken = {volume["lvolname"] for volume in story.call("listLogicalVolumes")}
    story.name = next(name for n in count(1) if (name := f"story-{n}") not in taken)
    story.screen.step(f"A volume of {CAPACITY_GB} GB in three replicas is created through /RPC2")
    began = time.monotonic()
    lvolid = story.call(
        "createLogicalVolume", lvolname=story.name, capacity=CAPACITY_GB, redundancy=3
    )
    story.screen.say(f"lvol-{lvolid:08x} {story.name}, {1000 * (time.monotonic() - began):.0f} ms")
    _show_replicas(story)


def _attach(story: Story) -> None:
    story.screen.step("It is attached to the head server")
    head = story.call("listHeadServers")[0]["hsvrid"]
    began = time.monotonic()
    story.call("attachLogicalVolume", lvolname=story.name, hsvrid=head)
    with NbdClient(story.link) as device:
        story.screen.say(
            f"{1000 * (time.monotonic() - began):.0f} ms; {story.link} is a device of"
            f" {device.size >> 30} GB that any NBD client can use"
        )


def _write_and_kill(story: Story) -> None:
    story.screen.step(f"{BLOCKS} MiB of random data are written, each MiB with its SHA-256")
    victim = observe.holder(story.call, story.cluster.place, story.name)
    with NbdClient(story.link) as device, story.screen.bar("written") as bar:
        offsets = spread(device.size, BLOCKS)
        before = 0.0
        for done, offset in enumerate(offsets, start=1):
            story.ledger.write(device, offset)
            bar.show(done, len(offsets), f"{done} of {BLOCKS} MiB")
            if done == len(offsets) // 2:
                before = story.ledger.longest_write
                killed = story.cluster.kill(victim)
                story.screen.say(f"[red]kill -9[/] {victim}: {killed} processes, writing goes on")
    story.screen.good(
        f"no write failed; the longest took {1000 * story.ledger.longest_write:.0f} ms"
        f" (before the kill: {1000 * before:.0f} ms)"
    )


def _heal(story: Story) -> None:
    story.screen.step(
        "The lost replicas are made anew on another server, while the writing goes on"
    )
    wanted = 3 * len(observe.mirrors(story.call, story.name))
    with _busy(story), story.screen.bar("replicas in sync") as bar:

        def healed() -> bool:
            good = observe.in_sync(story.call, story.name)
            done, total = observe.rebuilding(story.call)
            running = f", {done} of {total} MiB being copied" if total else ""
            share = done / total if total else 0
            bar.show(min(good + share, wanted), wanted, f"{good} of {wanted}{running}")
            return good == wanted

        observe.wait(healed, "all replicas in sync again", 120)
    _show_replicas(story)


def _verify(story: Story) -> None:
    story.screen.step("Every byte that was acknowledged is read back")
    with NbdClient(story.link) as device:
        _compare(story, story.ledger, device, "the volume")
        empty = [o for o in spread(device.size, 64, start=7) if o not in story.ledger.digests]
        dirty = [offset for offset in empty if any(device.read(offset, BLOCK))]
    story.wrong += len(dirty)
    if not dirty:
        story.screen.good(f"{len(empty)} MiB between them, never written, read as zero")


def _snapshot(story: Story) -> None:
    story.screen.step("A snapshot stays what it was while the volume is overwritten")
    snapshot = f"{story.name}-before"
    story.call("createSnapshot", origin_lvolname=story.name, snapshot_lvolname=snapshot)
    frozen = story.ledger.copy()
    with NbdClient(story.link) as device:
        for offset in list(story.ledger.digests)[:REWRITTEN]:
            story.ledger.write(device, offset)
        story.screen.say(f"{REWRITTEN} MiB overwritten")
        _compare(story, story.ledger, device, "the volume (new content)")
    with NbdClient(story.cluster.place.links / snapshot) as device:
        _compare(story, frozen, device, "the snapshot (old content)")


def _leave(story: Story) -> None:
    story.screen.step("Detached, deleted, and every block of it shredded")
    for server in story.cluster.fallen():
        story.cluster.launch(server)
        story.screen.say(f"{server} is switched on again")
    story.call("detachLogicalVolume", lvolname=story.name)
    story.screen.say("detached")
    story.call("deleteLogicalVolume", lvolname=f"{story.name}-before")
    story.call("deleteLogicalVolume", lvolname=story.name)
    story.screen.say("snapshot and volume deleted")
    with story.screen.bar("zeroed") as bar:
        _available(story, bar)


def _judge(story: Story) -> None:
    story.screen.step("The database is checked against every invariant")
    checked = story.cluster.manage("fsck")
    if checked.returncode:
        story.wrong += 1
        story.screen.bad(checked.stdout + checked.stderr)
        return
    story.screen.good("manage.py fsck finds nothing to say")


def _available(story: Story, bar: Bar) -> None:
    """Wait until every GB that no volume has can be allocated."""

    def zeroed() -> bool:
        free, total = observe.space(story.call)
        bar.show(free, total, f"{free} of {total} GB")
        return free == total

    observe.wait(zeroed, "all space zeroed", 120)


def _show_replicas(story: Story) -> None:
    rows = [
        [f"mirr-{mirror['lvolid']:08x}", f"{mirror['capacity']} GB"]
        + [
            f"ssvr-{replica['lvolspec']['ssvrid']:08x} #{replica['lvolspec']['pdskid']}"
            for replica in mirror["components"]
        ]
        for mirror in observe.mirrors(story.call, story.name)
    ]
    story.screen.table(["mirror", "size", *["server #disk"] * 3], rows)


def _compare(story: Story, ledger: Ledger, device: NbdClient, what: str) -> None:
    with story.screen.bar("read back") as bar:
        wrong = ledger.verify(device, bar.show)
    story.wrong += len(wrong)
    if wrong:
        story.screen.bad(f"{what}: {len(wrong)} of {ledger.mib} MiB differ, first at {wrong[0]}")
        return
    story.screen.good(f"{what}: {ledger.mib} MiB, every byte right")


@contextmanager
def _busy(story: Story) -> Iterator[None]:
    """Go on writing, at a gentle pace, while something else is told."""
    over = threading.Event()
    failures: list[OSError] = []

    def scribble() -> None:
        try:
            with NbdClient(story.link) as device:
                for offset in spread(device.size, 4000, start=3):
                    if over.wait(0.03):
                        return
                    story.ledger.write(device, offset)
        except OSError as failure:
            failures.append(failure)

    writer = threading.Thread(target=scribble)
    before = story.ledger.mib
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
    if failures:
        raise observe.Failed(f"a write failed meanwhile: {failures[0]}")
    story.screen.good(f"{story.ledger.mib - before} MiB were written meanwhile")


def _capacity(server: dict[str, Any]) -> str:
    return f"{server['capacity']} GB" if "capacity" in server else ""
