"""One word on the state of the cluster's data, and what it rests on."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from inventory import clock
from volumes import acknowledgements
from volumes.reports import problems, protection
from volumes.reports.problems import Risk, causes
from volumes.reports.problems.causes import Card, Known


class Verdict(StrEnum):
    """How the cluster's data is, best first."""

    SAFE = "safe"
    MENDING = "mending"
    ATTENTION = "attention"
    RECOVERING = "recovering"
    SNAPSHOT_LOST = "snapshot_lost"
    AT_RISK = "at_risk"
    OUT_OF_REACH = "out_of_reach"


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, by cause: what is told, and what somebody knows of."""

    told: list[Card]
    known: Known

    @property
    def wrong(self) -> list[Card]:
        """All that the verdict rests on: of what is known, what puts data at risk."""
        return self.told + [card for card, _ in self.known if card.risk <= Risk.BROKEN]


def find(weak: dict[int, protection.Weak]) -> Findings:
    """Find what is wrong now."""
    cards = causes.by_cause(problems.find(weak))
    return Findings(*causes.split(cards, acknowledgements.current(clock.now())))


def judge(wrong: Iterable[Card]) -> Verdict:
    """Say how the data is."""
    cards = list(wrong)
    worst = min((card.risk for card in cards), default=None)
    if worst is None:
        return Verdict.SAFE
    if worst == Risk.MENDING:
        return Verdict.MENDING
    if worst in WORST:
        return WORST[worst]
    recovering = any(card.key == "recovery" for card in cards)
    return Verdict.RECOVERING if recovering else Verdict.ATTENTION


WORST = {
    Risk.UNREACHABLE: Verdict.OUT_OF_REACH,
    Risk.LAST_REPLICA: Verdict.AT_RISK,
    Risk.UNEQUAL: Verdict.AT_RISK,
    Risk.BROKEN: Verdict.SNAPSHOT_LOST,
}
