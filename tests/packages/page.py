"""What a page has people type: lines such as `manager-1# command`, with what follows them."""

import re
from dataclasses import dataclass
from pathlib import Path

PROMPT = re.compile(r"    ([\w-]+)# (.*)")
HERE_DOCUMENT = re.compile(r"<<'(\w+)'")


@dataclass(frozen=True, slots=True)
class Typed:
    """One command, and where it is typed."""

    machine: str
    script: str


def typed(page: Path, section: str = "") -> list[Typed]:
    """Read all that a page, or a section of it, has typed, in its order."""
    lines, found = iter(_lines(page, section)), list[Typed]()
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


def _lines(page: Path, section: str) -> list[str]:
    """Read the lines of a page, or those below one of its headings."""
    return sections(page)[section] if section else page.read_text().splitlines()


def sections(page: Path) -> dict[str, list[str]]:
    """Read the lines of a page below each heading of the second level."""
    parts = page.read_text().split("\n## ")[1:]
    return {lines[0]: lines[1:] for lines in (part.splitlines() for part in parts)}


def blocks(page: Path) -> list[list[str]]:
    """Read what stands indented by itself, a block after the other."""
    found, block = list[list[str]](), list[str]()
    for line in [*page.read_text().splitlines(), ""]:
        if line.startswith("    "):
            block.append(line)
        elif block:
            found.append(block)
            block = []
    return found


def steps(page: Path) -> list[int]:
    """Read the numbers of the steps."""
    return [
        int(number) for number in re.findall(r"^\*\*(\d+)\.\*\*", page.read_text(), re.MULTILINE)
    ]
