"""For whom a thread works, and by which way in the wish came."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from inventory.models import AuditEntry

Entrance = AuditEntry.Entrance


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and by which way in."""

    name: str
    way: Entrance


SYSTEM = Actor("system", Entrance.SYSTEM)

_acting: ContextVar[Actor] = ContextVar("acting", default=SYSTEM)


@contextmanager
def acting_as(name: str, way: Entrance) -> Iterator[None]:
    """Let everything that is done in here be written down under this name."""
    before = _acting.set(Actor(name, way))
    try:
        yield
    finally:
        _acting.reset(before)


def actor() -> Actor:
    """Tell for whom this thread works; the system itself unless an edge said otherwise."""
    return _acting.get()
