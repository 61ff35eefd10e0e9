"""Pure: where the digests of replicas differ, and whose content is right, if that can be known."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.checksums import UNREADABLE, fold

Digests = Mapping[int, Sequence[str]]
"""By dextid: the digests of the same chunks, or blocks, in their order."""


@dataclass(frozen=True, slots=True)
class Run:
    """Adjacent blocks that differ, and what each replica has there, by dextid."""

    first: int
    count: int
    contents: Mapping[int, str]


def differing(digests: Digests) -> list[int]:
    """Tell the places that are not the same, and readable, on all replicas."""
    columns = zip(*digests.values(), strict=True)
    return [p for p, found in enumerate(columns) if len(set(found)) > 1 or UNREADABLE in found]


def runs(digests: Digests, first: int = 0) -> list[Run]:
    """Gather adjacent differing blocks in which the same replicas agree with each other."""
    found: list[Run] = []
    begun: list[int] = []
    for place in [*differing(digests), -1]:
        goes_on = begun and place == begun[-1] + 1
        if begun and not (goes_on and _pattern(digests, place) == _pattern(digests, begun[0])):
            folded = {
                dextid: fold([told[block] for block in begun]) for dextid, told in digests.items()
            }
            found.append(Run(first + begun[0], len(begun), folded))
            begun = []
        begun.append(place)
    return found


def choose(contents: Mapping[int, str]) -> int | None:
    """Tell the replica whose content is right; None where that would be a guess.

    Right is what more than half of the replicas have; or what all have that can be read, where
    the disk of another one reports an error.
    """
    readable = [digest for digest in contents.values() if digest != UNREADABLE]
    if not readable:
        return None
    ((common, times), *_) = Counter(readable).most_common()
    only_errors_differ = times == len(readable) < len(contents)
    if not only_errors_differ and times * 2 <= len(contents):
        return None
    return min(dextid for dextid, digest in contents.items() if digest == common)


def _pattern(digests: Digests, place: int) -> list[tuple[int, bool]]:
    """Tell who agrees with whom: the same list for the same partition."""
    column = [told[place] for told in digests.values()]
    return [(column.index(digest), digest == UNREADABLE) for digest in column]
