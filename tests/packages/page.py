"""What a page has people type: lines such as `manager-1# command`, with what follows them."""

import re
from dataclasses import dataclass
from pathlib import Path

PROMPT = re.compile(r"    ([\w-]+)# (.*)")
HERE_DOCUMENT = re.compile(r"<<'(\w+)'")
STEP = re.compile(r"^\*\*(\d+)\.\*\*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Typed:
    """One command, and where it is typed."""

    machine: str
    script: str


def typed(page: Path) -> list[Typed]:
    """Read all that a page has typed, in its order."""
    lines, found = iter(page.read_text().splitlines()), list[Typed]()
    for line in lines:
        if not (prompt := PROMPT.fullmatch(line)):
            continue
        machine, script = prompt.groups()
        if here := HERE_DOCUMENT.search(script):
            for more in lines:
                script += f"\n{more.strip()}"
                if more.strip() == here[1]:
                    break
        found.append(Typed(machine, script))
    return found


def steps(page: Path) -> list[int]:
    """Read the numbers of the steps."""
    return [
        int(number) for number in re.findall(r"^\*\*(\d+)\.\*\*", page.read_text(), re.MULTILINE)
    ]
