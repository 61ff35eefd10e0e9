import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.engine.lab import Lab

MakeLab = Callable[..., Lab]
MakeFolder = Callable[[], Path]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder short enough for unix sockets, in memory where possible: it holds sparse disks."""
    memory = Path("/dev/shm")  # noqa: S108
    root = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="vas", dir=root))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_lab(short_path: Path) -> Iterator[MakeLab]:
    """Make labs; every process that they started is ended afterwards, by its id."""
    made: list[Lab] = []

    def make(sizes: Sequence[int] = (1,), servers: int = 3) -> Lab:
        folder = short_path / f"l{len(made)}"
        folder.mkdir()
        made.append(Lab(folder, sizes, servers))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    return lambda: Path(tempfile.mkdtemp(dir=tmp_path))
