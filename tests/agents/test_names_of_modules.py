"""A file is named after what it holds: no two have a name unless they hold the same thing."""

from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("agents", "client", "inventory", "vastsky_site", "volumes")
OF_DJANGO = {"__init__", "__main__", "admin", "apps", "models", "urls"}
"""Names that Python and Django look for, one to each package or app."""
SAME = {
    "base": "what any engine is, and by Django's rule a backend of the database",
    "disks": "disks as their node has them, and as the manager registers them",
    "errors": "the exceptions of an agent, and those of the manager",
    "group": "a volume and its snapshots on a head, by each of the two engines",
    "main": "where the old commands begin, and where `vastsky` does",
    "masking": "what is secret in a text, known to agents, and the manager's besides",
    "registration": "both sides of a node's registration",
    "structs": "the API's structs as the manager makes them, and as a client gets them",
    "verification": "that a device is the replica it should be, by each of the two engines",
    "version": "the release, of the system and of the client, which is installed alone",
}


def _modules() -> dict[str, list[str]]:
    found = defaultdict(list)
    for path in (path for folder in OURS for path in (ROOT / folder).rglob("*.py")):
        if not {"migrations", "management"} & {*path.parts} and path.stem not in OF_DJANGO:
            found[path.stem].append(str(path.relative_to(ROOT)))
    return found


def test_no_two_files_are_called_the_same() -> None:
    shared = {name: files for name, files in _modules().items() if len(files) > 1}

    assert shared.keys() == SAME.keys(), shared
