"""`make deb`: build/vastsky-node_VERSION_all.deb, of this checkout, by dpkg-deb alone."""

import gzip
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from agents.version import VERSION  # noqa: E402  the path comes first

SOURCE = ROOT / "deploy" / "packages" / "node"
NAME = "vastsky-node"
UNITS = sorted(path.name for path in SOURCE.glob("vastsky-*.*"))
SCRIPTS = ("postinst", "prerm", "postrm")
CHANGELOG = """\
{name} ({version}) unstable; urgency=medium

  * See CHANGELOG.md of the release.

 -- VastSky maintainers <vastsky@vastsky.invalid>  {date}
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: VastSky

Files: *
Copyright: 2026 the VastSky authors
License: Apache-2.0
 On Debian systems the text of the license is in
 /usr/share/common-licenses/Apache-2.0.
"""


def debian_version(release: str) -> str:
    """Write a release so that a development version sorts before what it leads to."""
    return release.replace(".dev", "~dev")


def build(target: Path) -> Path:
    """Build the package into a folder; its path."""
    target.mkdir(parents=True, exist_ok=True)
    package = target / f"{NAME}_{debian_version(VERSION)}_all.deb"
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / NAME
        lay_out(tree)
        command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return package


def lay_out(tree: Path) -> None:
    """Write the package's files under `tree` as they will lie under the root."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "agents", tree / "usr/lib/vastsky/node/agents", ignore=ignored)
    _put(SOURCE / NAME, tree / "usr/bin" / NAME, 0o755)
    for unit in UNITS:
        _put(SOURCE / unit, tree / "lib/systemd/system" / unit)
    doc = tree / "usr/share/doc" / NAME
    doc.mkdir(parents=True)
    (doc / "copyright").write_text(COPYRIGHT)
    version, date = debian_version(VERSION), format_datetime(datetime.now(UTC))
    _zip(doc / "changelog.gz", CHANGELOG.format(name=NAME, version=version, date=date))
    _zip(doc / "join.md.gz", (ROOT / "docs" / "join.md").read_text())
    control = tree / "DEBIAN"
    for script in SCRIPTS:
        _put(SOURCE / script, control / script, 0o755)
    (control / "control").write_text((SOURCE / "control").read_text().format(version=version))
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _put(source: Path, place: Path, mode: int = 0o644) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    place.chmod(mode)


def _zip(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    print(build(ROOT / "build"))
