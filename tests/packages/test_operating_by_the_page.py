"""What docs/operate.md has people type says on which machine, and names commands that exist."""

import inspect
import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from agents import vastsky_node
from tests.packages.page import HERE_DOCUMENT, PROMPT, blocks
from vastsky_client.command.nouns import COMMANDS

PAGE = Path(__file__).parents[2] / "docs/operate.md"
NO_MACHINE = {
    "make deb": "in a checkout, with Docker",
}
COMMAND = re.compile(r"`(vastsky|vastsky-manage|vastsky-node) ([a-z-]+)(?: ([a-z-]+))?")


def test_each_block_says_on_which_machine_it_is_typed() -> None:
    for block in blocks(PAGE):
        commands = filter(None, map(PROMPT.fullmatch, block))
        document = any(HERE_DOCUMENT.search(command[2]) for command in commands)
        typed_there = PROMPT.fullmatch(block[0]) if document else all(map(PROMPT.fullmatch, block))
        assert bool(typed_there) != (block[0].strip() in NO_MACHINE), block


@pytest.mark.parametrize("found", sorted(set(COMMAND.findall(PAGE.read_text()))), ids=" ".join)
def test_a_command_that_is_named_in_a_sentence_exists(found: tuple[str, str, str]) -> None:
    program, first, second = found
    if program == "vastsky":
        assert (first, second) in COMMANDS
    elif program == "vastsky-node":
        assert re.search(rf'add_parser\(\s*"{first}"', inspect.getsource(vastsky_node))
    else:
        assert first in get_commands()
