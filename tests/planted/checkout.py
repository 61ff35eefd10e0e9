"""A copy of the tree in a folder of its own, in which faults are planted one after the other."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.local.place import ROOT
from tests.planted.patches import Planted

LONGEST = 150
"""Seconds for a selection of tests; one that hangs by a fault has noticed it, too."""
ENDS = 30


class DoesNotApply(Exception):
    """A patch is of another state of the tree: make it anew."""


class Checkout:
    """The copy; whatever is planted in it is taken out again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = _git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        for name in filter(None, listed.stdout.split("\0")):
            source = ROOT / name
            if source.is_file() and not source.is_symlink():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, folder / name)

    @contextmanager
    def planted(self, fault: Planted) -> Iterator[None]:
        """Have a fault in the tree for a while."""
        applied = apply(self.folder, fault)
        if applied:
            raise DoesNotApply(applied)
        try:
            yield
        finally:
            apply(self.folder, fault, "--reverse")

    def test(self, words: Sequence[str]) -> tuple[int | None, str]:
        """Run pytest; its status, None where it did not end in time, and what it said."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        with (self.folder / "pytest.out").open("w+") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", *words],
                cwd=self.folder,
                # A patch may leave size and second of a file as they were: then old code would run.
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "VASTSKY_HOME": str(home)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            status = _wait(process)
            output.seek(0)
            return status, output.read()


def apply(tree: Path, fault: Planted, *options: str) -> str:
    """Apply a patch; what git says where that fails."""
    done = _git(tree, "apply", *options, str(fault.path))
    return done.stderr.strip() or "git apply failed" if done.returncode else ""


@contextmanager
def checkout() -> Iterator[Checkout]:
    """Make the copy, and remove it in the end."""
    with tempfile.TemporaryDirectory(prefix="vastsky-planted-", ignore_cleanup_errors=True) as name:
        yield Checkout(Path(name))


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End pytest, if it has not ended: in order at first, for fixtures end what they started."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(ENDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _git(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Outside of any repository, so that `git apply` does not look for one above the copy.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    return subprocess.run(
        ["git", *words], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
