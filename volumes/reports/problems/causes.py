"""Problems by what is behind them: one card for each, with its victims and their true numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Model

from volumes.models import Acknowledgement
from volumes.reports.problems.problem import SEEN, Problem, ProblemKind, Risk


@dataclass(frozen=True, slots=True)
class Victims:
    """What suffers in one way: how many, and the first of them."""

    risk: Risk
    kind: ProblemKind
    count: int
    rows: tuple[Model, ...]

    @property
    def text(self) -> str:
        """Say it in words."""
        return f"{self.count} {self.kind.one if self.count == 1 else self.kind.more}"


@dataclass(frozen=True, slots=True)
class Card:
    """A cause: the problem that it is known by, and what suffers from it.

    `risk` is the worst of all, so a server that data hangs on stands where that data would.
    """

    key: str
    risk: Risk
    problem: Problem
    victims: list[Victims]

    @property
    def count(self) -> int:
        """Count all that is wrong by it."""
        return self.problem.count + sum(victims.count for victims in self.victims)


Known = list[tuple[Card, Acknowledgement]]


def by_cause(problems: Iterable[Problem]) -> list[Card]:
    """Gather what has the same key; what threatens data most comes first, then what hits most."""
    groups: dict[str, list[Problem]] = {}
    for number, problem in enumerate(problems):
        groups.setdefault(problem.key or f"only-{number}", []).append(problem)
    cards = [_card(key, members) for key, members in groups.items()]
    return sorted(cards, key=lambda card: (card.risk, -card.count))


def split(cards: Iterable[Card], known: Mapping[str, Acknowledgement]) -> tuple[list[Card], Known]:
    """Part what is told from what somebody knows of and what has not got worse since."""
    told: list[Card] = []
    quiet: Known = []
    for card in cards:
        row = known.get(card.key)
        if row and card.risk >= row.risk:
            quiet.append((card, row))
        else:
            told.append(card)
    return told, quiet


def _card(key: str, members: Sequence[Problem]) -> Card:
    risk = min(problem.risk for problem in members)
    known = next((problem for problem in members if problem.root), None)
    if known is None and len(members) == 1:
        known = members[0]
    if known is None:
        return Card(key, risk, _together(members), _victims(members))
    return Card(key, risk, known, _victims([one for one in members if one is not known]))


def _together(members: Sequence[Problem]) -> Problem:
    """Tell of several problems with one reason, which no row of its own stands for."""
    (first, *_), count = members, sum(problem.count for problem in members)
    begun = [problem.since for problem in members if problem.since]
    title = f"{count} {first.kind.more}"
    since = min(begun) if begun else None
    return Problem(first.risk, None, title, first.cause, since, key=first.key, count=0)


def _victims(members: Iterable[Problem]) -> list[Victims]:
    """Count what suffers in the same way."""
    kinds: dict[tuple[Risk, ProblemKind], list[Problem]] = {}
    for problem in members:
        kinds.setdefault((problem.risk, problem.kind), []).append(problem)
    return [
        Victims(risk, kind, sum(problem.count for problem in some), _named(some))
        for (risk, kind), some in sorted(kinds.items())
    ]


def _named(problems: Iterable[Problem]) -> tuple[Model, ...]:
    rows = [row for one in problems for row in ([one.about] if one.about else one.see)]
    return tuple(dict.fromkeys(rows))[:SEEN]
