"""The Debian package of nodes: what is in it runs by itself, and its units are sound."""

import shutil
import subprocess
from pathlib import Path

import pytest

from agents.version import VERSION

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make deb` builds, unpacked, with its control files."""
    folder = tmp_path_factory.mktemp("deb")
    command = ["python3", "-I", str(ROOT / "deploy/packages/build.py"), "vastsky-node", str(folder)]
    built = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    unpack = ["dpkg-deb", "--raw-extract", built.stdout.strip(), str(folder / "tree")]
    subprocess.run(unpack, check=True, timeout=60)
    return folder / "tree"


def test_the_agents_run_by_what_is_in_the_package_alone(tree: Path) -> None:
    for module in ("agents", "agents.vastsky_node"):
        done = subprocess.run(
            ["python3", "-I", "-S", "-B", "-c", RUN, str(tree / "usr/lib/vastsky/node"), module],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        name = "vastsky-node" if module == "agents.vastsky_node" else "vastsky"
        assert done.stdout == f"{name} {VERSION}\n", done.stderr


RUN = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
module, sys.argv = sys.argv[2], ["agents", "--version"]
runpy.run_module(module, run_name="__main__")
"""


@pytest.mark.parametrize("role", ["head", "storage"])
def test_what_an_agent_serves_outlives_its_service(tree: Path, role: str) -> None:
    unit = (tree / f"lib/systemd/system/vastsky-{role}.service").read_text().splitlines()

    assert "KillMode=process" in unit
    assert "RuntimeDirectoryPreserve=yes" in unit
    assert f"RuntimeDirectory=vastsky/{role}" in unit
    assert f"StateDirectory=vastsky/{role}" in unit
    assert any(f"agents {role} --config /etc/vastsky/{role}.toml" in line for line in unit)
    # A namespace of its own would keep devices and links from everybody else.
    assert not [line for line in unit if line.startswith(("Protect", "Private", "ReadWrite"))]


def test_the_scripts_of_the_package_are_shell(tree: Path) -> None:
    for script in ("postinst", "prerm", "postrm"):
        path = tree / "DEBIAN" / script
        assert path.stat().st_mode & 0o111
        subprocess.run(["sh", "-n", str(path)], check=True, timeout=10)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_nothing_in_the_units(tree: Path, tmp_path: Path) -> None:
    command = tmp_path / "vastsky-node"
    shutil.copy(tree / "usr/bin/vastsky-node", command)
    for unit in (tree / "lib/systemd/system").iterdir():
        # The command is where the package has it only once that is installed.
        text = unit.read_text().replace("/usr/bin/vastsky-node", str(command))
        (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.glob("*.*")))

    done = subprocess.run(
        ["systemd-analyze", "verify", *units],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_nothing_is_in_the_package_that_others_could_change(tree: Path) -> None:
    assert not [path for path in tree.rglob("*") if path.stat().st_mode & 0o022]
    assert not list(tree.rglob("__pycache__"))
