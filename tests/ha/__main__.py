"""Kill or upgrade managers under load: nothing that was answered is lost, and work goes on."""

import argparse
import sys
import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from deploy.local import observe
from deploy.local.nbd import NbdClient
from deploy.local.place import ROOT
from tests.ha.happenings import Happening, Interval, cut_power, roll
from tests.ha.load import Client
from tests.ha.managers import Managers, running
from tests.ha.receiver import Receiver
from vastsky_client.api import Access, Manager

HEAL_SECONDS = 120


def main() -> int:
    """Run it; status 1 where anything was lost or failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.ha", description=__doc__)
    parser.add_argument("--seconds", type=int, default=90, help="of load; halfway it happens")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument(
        "--older",
        type=Path,
        metavar="TREE",
        help="kill none: both managers are of this checkout of an older release, and are upgraded",
    )
    words = parser.parse_args()
    tree = words.older.resolve() if words.older else ROOT
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), tree) as managers:
        observe.wait(lambda: observe.present(_call(managers))[1:] >= (4, 8), "nodes and disks")
        observe.wait(lambda: len(set(observe.space(_call(managers)))) == 1, "space zeroed", 120)
        happening = roll if words.older else cut_power
        return _load(managers, words.seconds, words.clients, happening)


def _load(managers: Managers, seconds: int, number: int, happening: Happening) -> int:
    links = managers.first.place.links
    # Every other client asks the second manager first.
    urls = managers.urls
    clients = [Client(f"c{n}", urls[:: 1 if n % 2 else -1], links) for n in range(number)]
    receiver = Receiver()
    for client in clients:
        client.start()
    phases = list(happening(managers, seconds, receiver.url))
    for client in clients:
        client.stop()
    for client in clients:
        client.join(HEAL_SECONDS)
    _say(clients, phases)
    wrong = [failure for client in clients for failure in client.failures]
    wrong += _check(managers, clients)
    wrong += _untold(managers, receiver)
    receiver.stop()
    for line in wrong:
        _out(f"WRONG: {line}")
    return 1 if wrong else 0


def _say(clients: list[Client], phases: list[Interval]) -> None:
    """Tell how it went: the rate in each phase, the longest call, the longest silence."""
    calls = sorted(
        (end, seconds)
        for client in clients
        for end, seconds in zip(client.timed.ends, client.timed.seconds, strict=True)
    )
    for phase in phases:
        some = sorted(seconds for end, seconds in calls if phase.began <= end < phase.over)
        rate = len(some) / (phase.over - phase.began)
        median, worst = (some[len(some) // 2], some[-1]) if some else (0.0, 0.0)
        text = f"{rate:.1f} changes/s, median {median:.2f} s, longest {worst:.2f} s"
        _out(f"{phase.name}: {len(some)} changes, {text}")
    ends = [end for end, _ in calls]
    gaps = [after - before for before, after in pairwise(ends)]
    _out(f"longest time in which no change of anybody was answered: {max(gaps, default=0):.2f} s")


def _check(managers: Managers, clients: list[Client]) -> list[str]:
    """Compare what is there with all that was answered; read back all that was written."""
    manager = Manager(Access(managers=managers.urls[1:]))
    there = {volume["lvolname"] for volume in manager.list_logical_volumes()}
    kept = {n: ledger for client in clients for n, ledger in client.kept.items()}
    gone = {name for client in clients for name in client.gone}
    wrong = [f"{name} was created and is not there" for name in sorted(set(kept) - there)]
    wrong += [f"{name} was deleted and is there" for name in sorted(there & gone)]
    wrong += [f"nobody created {name}" for name in sorted(there - set(kept) - gone)]
    (head, *_) = manager.list_head_servers()
    for name in sorted(set(kept) & there):
        manager.call("attachLogicalVolume", lvolname=name, hsvrid=head["hsvrid"], converge=1)
        with NbdClient(managers.first.place.links / name) as device:
            wrong += [f"{name} at {offset}" for offset in kept[name].verify(device)]
        manager.call("detachLogicalVolume", lvolname=name, converge=1)
    _out(f"{len(kept)} volumes read back, {len(gone)} deleted")
    if not managers.first.runs("web"):
        managers.start_first()
    observe.wait(lambda: not _call(managers)("vastsky.listJobs"), "no open work", HEAL_SECONDS)
    fsck = managers.first.manage("fsck")
    return wrong + [line for line in (fsck.stdout + fsck.stderr).splitlines() if line]


def _untold(managers: Managers, receiver: Receiver) -> list[str]:
    """Wait until the webhook was told all that happened; tell what it was not."""
    manager = Manager(Access(managers=managers.urls[1:]))
    ids: list[int] = []
    cursor = ""
    while page := manager.events(follow=1, limit=1000, cursor=cursor)["events"]:
        ids += [int(event["id"]) for event in page]
        cursor = page[-1]["id"]
    hook = next((number for number in ids if number in receiver.told), 0)
    wanted = {number for number in ids if number >= hook}
    with suppress(observe.Failed):
        observe.wait(lambda: wanted <= receiver.told.keys(), "", HEAL_SECONDS)
    twice = sum(count > 1 for count in receiver.told.values())
    _out(f"{len(wanted)} events were told by webhook, {twice} of them more than once")
    return [f"event {number} was not told" for number in sorted(wanted - receiver.told.keys())]


def _call(managers: Managers) -> observe.Call:
    manager = Manager(Access(managers=managers.urls))
    return manager.call


def _out(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
