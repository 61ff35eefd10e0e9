"""One word for one thing: no two classes have a name unless they are of the same thing."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("agents", "client", "inventory", "vastsky_site", "volumes")
OF_DJANGO = ("migrations", "management")
"""Folders in which all files hold a class that Django gives a name."""
STRUCTS = "client/vastsky_client/api/structs.py"
"""What the manager's rows look like to a client; so they are called the same."""
SAME_ON_BOTH_SIDES = {
    "NoManager": "to a node and to a client: no manager answers",
    "Refused": "a refusal as the manager makes it, and as a client gets it",
    "RefusedDisk": "what a node tells, and the row that it becomes",
    "Way": "how users reach a volume, as its head tells it, and as its row keeps it",
}
OF_THEIR_CLASS = {"Meta", "Kind", "State", "Status"}
"""Said with the class around them: `Job.Kind`, `Batch.Kind`."""


def _classes() -> dict[str, list[str]]:
    found = defaultdict(list)
    for path in (path for folder in OURS for path in (ROOT / folder).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if not {*OF_DJANGO} & {*path.parts} and name != STRUCTS:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and node.name not in OF_THEIR_CLASS:
                    found[node.name].append(name)
    return found


def test_no_two_things_are_called_the_same() -> None:
    shared = {name: files for name, files in _classes().items() if len(files) > 1}

    assert shared.keys() == SAME_ON_BOTH_SIDES.keys(), shared
