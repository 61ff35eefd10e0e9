"""What happens to the managers while clients are at work: a power cut, or an upgrade."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deploy.local import observe
from tests.ha.managers import Managers
from vastsky_client.api import Access, Manager

TAKEN_OVER = 12
"""Seconds in which another worker takes up the watch over nodes, and has asked them all."""


@dataclass(frozen=True)
class Interval:
    """Between two happenings, by the monotonic clock."""

    name: str
    began: float
    over: float


Happening = Callable[[Managers, int, str], Iterator[Interval]]


def cut_power(managers: Managers, seconds: int, receiver: str) -> Iterator[Interval]:
    """Halfway, kill all of one manager."""
    _add_webhook(managers.urls, receiver)
    yield _phase("two managers", seconds / 2)
    managers.kill_first()
    yield _phase("one manager", seconds / 2)


def roll(managers: Managers, seconds: int, receiver: str) -> Iterator[Interval]:
    """Upgrade one manager after the other, with a disk's replicas on their way meanwhile.

    In between the newer one looks after the nodes, which run its release, and writes what they tell
    where the older one knows no table.
    """
    disk = managers.first_disk()
    Manager(Access(managers=managers.urls)).call("vastsky.evacuate", pdskid=disk)
    yield _phase("two of the older release", seconds / 4)
    began = time.monotonic()
    managers.renew_second()
    yield Interval("the second is replaced", began, time.monotonic())
    _add_webhook(managers.urls[1:], receiver)
    managers.kill_first("worker")
    yield _phase("the older without its worker", TAKEN_OVER)
    managers.start_first("worker")
    yield _phase("one of each release", seconds / 4)
    began = time.monotonic()
    managers.renew_first()
    yield Interval("the first is replaced", began, time.monotonic())
    yield _phase("two of this release", seconds / 4)
    call = Manager(Access(managers=managers.urls)).call
    observe.wait(lambda: not call("vastsky.listJobs"), "no open work", 120)


def _phase(name: str, seconds: float) -> Interval:
    began = time.monotonic()
    time.sleep(seconds)
    return Interval(name, began, time.monotonic())


def _add_webhook(urls: tuple[str, ...], receiver: str) -> None:
    Manager(Access(managers=urls)).add_webhook(name="ha", url=receiver)
