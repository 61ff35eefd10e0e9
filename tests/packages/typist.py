"""Types what a page has people type, each line on the machine that it names."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.packages.machines import Machine
from tests.packages.page import Typed, typed

PASSWORD = "a password that is not a common one"
STRING = re.compile(r"vastsky-node join (\S+)")
INVITED = re.compile(r"node (?:add|rekey) (\S+)")


class Typist:
    """Knows the machines, and the join string of each that was invited."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self.machines = {machine.name: machine for machine in machines}
        self._strings = dict[str, str]()

    def type(
        self, page: Path, section: str = "", before: Callable[[str, str], None] | None = None
    ) -> str:
        """Type a page, or a section of it; all that was printed. AssertionError if a line fails.

        `before` does, at a machine's name and a line, what somebody does there first.
        """
        told = ""
        for one in typed(page, section):
            for name in self.named(one.machine):
                if before:
                    before(name, one.script)
                told += self._type(self.machines[name], one)
        return told

    def named(self, word: str) -> list[str]:
        """Say which machines the word before a # means."""
        kinds = {"every-node": ("head-", "storage-"), "every-storage": ("storage-",)}
        beginnings = kinds.get(word, word)
        return [name for name in self.machines if name.startswith(beginnings)]

    def _type(self, machine: Machine, one: Typed) -> str:
        script = one.script.replace("STRING", self._strings.get(machine.name, "STRING"))
        asked = f"{PASSWORD}\n{PASSWORD}\n" if "createsuperuser" in script else ""
        began = time.monotonic()
        told = machine.run(script, typed=asked)
        print(f"{machine.name}# {script} ({time.monotonic() - began:.0f} s)\n{told}")
        if found := STRING.search(told):
            invited = INVITED.search(script)
            assert invited, f"nobody was invited, and was told a string: {script}"
            self._strings[invited[1]] = found[1]
        return told
