"""Reads metrics as strictly as Prometheus does, and more so: what has no type is an error."""

import re
from dataclasses import dataclass, field
from typing import Any

LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
ESCAPED = re.compile(r"\\(.)")
SUFFIXES = ("_bucket", "_sum", "_count")

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    """One metric with its samples by their labels; those of a histogram by the whole name, too."""

    kind: str
    meaning: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def _plain(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]


class Scrape:
    """One answer of /metrics, read."""

    def __init__(self, text: str, *, openmetrics: bool = False) -> None:
        assert text.endswith("\n")
        self.families: dict[str, Family] = {}
        self._meanings: dict[str, str] = {}
        self._openmetrics = openmetrics
        lines = text.splitlines()
        if openmetrics:
            assert lines.pop() == "# EOF"
        for line in lines:
            self._read(line)
        assert all(family.samples for family in self.families.values())

    def value(self, name: str, /, **labels: Any) -> float:
        """Give the value of one sample; KeyError if there is none."""
        wanted = frozenset((key, str(value)) for key, value in labels.items())
        return self.families[self._family(name)].samples[name, wanted]

    def values(self, name: str, label: str) -> dict[str, float]:
        """Give the values of a metric by one of its labels."""
        samples = self.families[self._family(name)].samples
        return {dict(labels)[label]: value for (_, labels), value in samples.items()}

    def names(self) -> set[str]:
        """Name all samples."""
        return {name for family in self.families.values() for name, _ in family.samples}

    def count(self) -> int:
        """Count all samples."""
        return sum(len(family.samples) for family in self.families.values())

    def _read(self, line: str) -> None:
        if line.startswith("# HELP "):
            name, _, meaning = line[7:].partition(" ")
            assert name not in self._meanings, f"{name} comes twice"
            self._meanings[name] = meaning
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert kind in {"gauge", "counter", "histogram"}
            self.families[name] = Family(kind, self._meanings[name])
        else:
            self._read_sample(line)

    def _read_sample(self, line: str) -> None:
        found = LINE.fullmatch(line)
        assert found, line
        name, labels, value = found[1], found[2], found[3]
        text, pairs = labels or "", []
        place = 0
        while place < len(text):
            label = LABEL.match(text, place)
            assert label, line
            pairs.append((label[1], ESCAPED.sub(_plain, label[2])))
            place = label.end()
        family = self._family(name)
        assert family == list(self.families)[-1], f"{name} is not with its family"
        key = name, frozenset(pairs)
        assert len(key[1]) == len(pairs) == len({label for label, _ in pairs}), line
        assert key not in self.families[family].samples, f"{line} comes twice"
        self.families[family].samples[key] = float(value.replace("Inf", "inf"))

    def _family(self, name: str) -> str:
        """Find whose sample it is."""
        if name in self.families and not (self._openmetrics and name.endswith("_total")):
            return name
        if self._openmetrics and name.endswith("_total"):
            family = name.removesuffix("_total")
            assert self.families[family].kind == "counter"
            return family
        for suffix in SUFFIXES:
            family = name.removesuffix(suffix)
            if family != name and self.families[family].kind == "histogram":
                return family
        raise KeyError(name)
