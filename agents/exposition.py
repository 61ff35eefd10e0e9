"""Metrics as text: Prometheus's format 0.0.4, or OpenMetrics 1.0.

A family says once what is counted; its samples are read when somebody asks. The manager and the
agents write the same way, and agents have the standard library only.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TOTAL = "_total"


class MetricKind(StrEnum):
    """How the values of a family behave."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many values were above the bound before and up to this one; last: above all bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


Value = float | Distribution


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """A metric: its base unit ends its name, and its labels tell its samples apart."""

    name: str
    kind: MetricKind
    meaning: str
    labels: tuple[str, ...] = ()

    def of(self, value: Value, *labels: object) -> "MetricSample":
        """Make a sample of it."""
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {labels}")
        return MetricSample(self, tuple(map(str, labels)), value)


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One value of a family, now."""

    family: MetricFamily
    labels: tuple[str, ...]
    value: Value


def gauge(name: str, meaning: str, *labels: str) -> MetricFamily:
    """Describe what goes up and down."""
    return MetricFamily(name, MetricKind.GAUGE, meaning, labels)


def counter(name: str, meaning: str, *labels: str) -> MetricFamily:
    """Describe what only goes up while a process lives."""
    return MetricFamily(name, MetricKind.COUNTER, meaning, labels)


def histogram(name: str, meaning: str, *labels: str) -> MetricFamily:
    """Describe how values are spread."""
    return MetricFamily(name, MetricKind.HISTOGRAM, meaning, labels)


def families_of(*modules: ModuleType) -> list[MetricFamily]:
    """List the families that are described in modules."""
    return [
        one for module in modules for one in vars(module).values() if isinstance(one, MetricFamily)
    ]


def is_openmetrics(accept: str) -> bool:
    """Tell from a request's Accept whether its sender reads OpenMetrics."""
    return "application/openmetrics-text" in accept


def write(samples: Iterable[MetricSample], *, openmetrics: bool = False) -> bytes:
    """Write samples, those of a family together and in the order in which they came."""
    gathered: dict[str, list[MetricSample]] = {}
    for sample in samples:
        gathered.setdefault(sample.family.name, []).append(sample)
    lines: list[str] = []
    for members in gathered.values():
        lines += _head(members[0].family, openmetrics=openmetrics)
        for sample in members:
            lines += _lines(sample)
    if openmetrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines).encode()


def _head(family: MetricFamily, *, openmetrics: bool) -> list[str]:
    name = family.name.removesuffix(TOTAL) if openmetrics else family.name
    meaning = _escaped(family.meaning) if openmetrics else _on_one_line(family.meaning)
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {family.kind}"]


def _lines(sample: MetricSample) -> Iterator[str]:
    name, value = sample.family.name, sample.value
    pairs = list(zip(sample.family.labels, sample.labels, strict=True))
    if not isinstance(value, Distribution):
        yield f"{name}{_labels(pairs)} {_number(value)}"
        return
    count = 0
    for bound, more in zip((*value.bounds, math.inf), value.counts, strict=True):
        count += more
        yield f"{name}_bucket{_labels([*pairs, ('le', _number(float(bound)))])} {count}"
    yield f"{name}_sum{_labels(pairs)} {_number(value.total)}"
    yield f"{name}_count{_labels(pairs)} {count}"


def _labels(pairs: list[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{text}}}" if text else ""


def _escaped(text: str) -> str:
    return _on_one_line(text).replace('"', '\\"')


def _on_one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
