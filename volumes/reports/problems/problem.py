"""A problem: one thing that is wrong, and by what it is so."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from django.db.models import Model

SEEN = 4
"""Other rows that a problem leads to."""


class Risk(IntEnum):
    """How near data is to being lost or out of reach; lower is worse."""

    UNREACHABLE = 0
    LAST_REPLICA = 1
    UNEQUAL = 2
    BROKEN = 3
    STRANGE = 4
    STOPPED = 5
    FAILED = 6
    NETWORK = 7
    REDUCED = 8
    WEAR = 9
    MENDING = 10
    """The cluster mends it by itself, has only just begun, and no data hangs on it."""


class ProblemKind(NamedTuple):
    """What several problems of a kind are called after their number: of one, and of more."""

    one: str
    more: str


THINGS = ProblemKind("thing is wrong", "things are wrong")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, why, since when on the wall.

    `key` names what is behind it: problems with one key are told as one, by the `root` among them,
    and the others by their `kind` and number. `verb` helps its row, `about`, and puts no data at
    risk; `see` are other rows to look at. `count` is how many things it stands for.
    """

    risk: Risk
    about: Model | None
    title: str
    cause: str
    since: datetime | None = None
    verb: str = ""
    see: tuple[Model, ...] = ()
    key: str = ""
    kind: ProblemKind = THINGS
    count: int = 1
    root: bool = False


def key_of(row: Model) -> str:
    """Name a row as what is behind problems."""
    return f"{row._meta.model_name}-{row.pk}"  # noqa: SLF001  Django's documented API
