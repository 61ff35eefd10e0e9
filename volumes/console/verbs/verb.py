"""What a verb of the console is: something that may be done to rows, previewed before it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.db.models import Model

from volumes.console.frame.permissions import Right
from volumes.models import Job

Rows = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was filled in; who asks is known to the audit log."""

    values: Mapping[str, Any] = field(default_factory=dict)


def _nothing_refused(_: Rows) -> dict[int, str]:
    return {}


def _nothing_hit(_: Rows) -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that may be done, through the same use case as the API.

    `refuse` tells beforehand, by primary key, what would be declined and why; the use case decides.
    `hits` says what else is touched. `at_stake` names what would lose its last replica (or
    whatever `stake` says): then the name has to be typed. It has to be typed in any case where the
    verb `asks` for something. One that `explains` stands on a row's page while it would be refused,
    disabled and with the reason; another one is not there then.
    """

    name: str
    title: str
    promise: str
    icon: str
    model: type[Model]
    do: Callable[[Any, Wish], Job | None]
    right: Right = Right.OPERATE
    form: type[forms.Form] | None = None
    refuse: Callable[[Rows], dict[int, str]] = _nothing_refused
    hits: Callable[[Rows], list[str]] = _nothing_hit
    at_stake: Callable[[Rows], list[str]] = _nothing_hit
    stake: str = "The last good replica is at stake of"
    asks: Callable[[Any], str] | None = None
    one_only: bool = False
    explains: bool = False
    danger: bool = False
