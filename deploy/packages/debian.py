"""What all Debian packages of ours share: a tree of files becomes a package, by dpkg-deb alone."""

import gzip
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from agents.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "deploy" / "packages"
CONTROL = ("postinst", "prerm", "postrm", "conffiles")
BYTE_CODE = shutil.ignore_patterns("__pycache__", "*.pyc")
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


@dataclass(frozen=True, slots=True)
class Package:
    """One package: its folder of sources, what lays its files out, the pages that go with it."""

    name: str
    source: str
    lay_out: Callable[[Path], None]
    pages: tuple[str, ...] = ()
    architecture: str = "all"
    substitutions: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its units, scripts and control file are."""
        return SOURCES / self.source


def build(package: Package, target: Path) -> Path:
    """Build a package into a folder; its path."""
    target.mkdir(parents=True, exist_ok=True)
    made = target / f"{package.name}_{debian_version(VERSION)}_{package.architecture}.deb"
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / package.name
        package.lay_out(tree)
        _lay_out_the_rest(package, tree)
        command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(made)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return made


def debian_version(release: str) -> str:
    """Write a release so that a development version sorts before what it leads to."""
    return release.replace(".dev", "~dev")


def put(source: Path, place: Path, mode: int = 0o644) -> None:
    """Copy a file to its place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    place.chmod(mode)


def put_tree(source: Path, place: Path) -> None:
    """Copy a folder without byte code."""
    shutil.copytree(source, place, ignore=BYTE_CODE)


def put_units(folder: Path, tree: Path) -> None:
    """Copy the units of a package's sources to where systemd finds them."""
    for unit in sorted(folder.glob("vastsky-*.*")):
        put(unit, tree / "lib/systemd/system" / unit.name)


def _lay_out_the_rest(package: Package, tree: Path) -> None:
    """Write documentation and control files, and give every file its mode."""
    doc = tree / "usr/share/doc" / package.name
    doc.mkdir(parents=True, exist_ok=True)
    (doc / "copyright").write_text(COPYRIGHT)
    version, date = debian_version(VERSION), format_datetime(datetime.now(UTC))
    _zip(doc / "changelog.gz", CHANGELOG.format(name=package.name, version=version, date=date))
    for page in package.pages:
        _zip(doc / f"{page}.gz", (ROOT / "docs" / page).read_text())
    control = tree / "DEBIAN"
    for script in CONTROL:
        if (package.folder / script).exists():
            put(
                package.folder / script, control / script, 0o644 if script == "conffiles" else 0o755
            )
    if (package.folder / "lintian-overrides").exists():
        overrides = tree / "usr/share/lintian/overrides" / package.name
        put(package.folder / "lintian-overrides", overrides)
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            runs = path.is_dir() or (path.stat().st_mode & stat.S_IXUSR and ".so" not in path.name)
            path.chmod(0o755 if runs else 0o644)
    text = (package.folder / "control").read_text()
    words = {"version": version, "size": _kib(tree), "architecture": package.architecture}
    (control / "control").write_text(text.format(**words, **package.substitutions))


def _kib(tree: Path) -> int:
    files = [Path(folder) / name for folder, _, names in os.walk(tree) for name in names]
    return sum(1 + path.lstat().st_size // 1024 for path in files)


def _zip(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
