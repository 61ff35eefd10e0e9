"""The planted faults: one patch a file, whose first lines say what it breaks and who must notice.

What: a sentence.
Test: words for pytest, as a shell splits them: a narrow selection of tests.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("patches")
WHAT, TEST = "What: ", "Test: "


class NoPatch(Exception):
    """A patch does not begin with the two lines."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One fault: its patch, what it breaks, and the tests that are to notice."""

    path: Path
    what: str
    selection: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def files(self) -> list[str]:
        """Name the files and folders of its tests."""
        return [word.partition("::")[0] for word in self.selection if word.startswith("tests/")]


def load(names: list[str]) -> list[Planted]:
    """Read the patches whose file names hold one of these words; all, where there are none."""
    paths = sorted(FOLDER.glob("*.patch"))
    return [_read(path) for path in paths if not names or any(name in path.stem for name in names)]


def _read(path: Path) -> Planted:
    what, test, *_ = path.read_text().splitlines()
    if not what.startswith(WHAT) or not test.startswith(TEST):
        raise NoPatch(f"{path.name} does not begin with {WHAT!r} and {TEST!r}")
    return Planted(path, what.removeprefix(WHAT), tuple(shlex.split(test.removeprefix(TEST))))
