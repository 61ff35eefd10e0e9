import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.engine.lab import Lab
from tests.engine.small_disk import SmallDisk

MakeLab = Callable[..., Lab]
MakeFolder = Callable[[], Path]
MountSmallDisk = Callable[[Path], SmallDisk]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder short enough for unix sockets, in memory where possible: it holds sparse disks."""
    memory = Path("/dev/shm")  # noqa: S108
    root = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="vas", dir=root))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def mount_small_disk(short_path: Path) -> Iterator[MountSmallDisk]:
    """Mount small disks; ask for it before `make_lab`, so that the processes end first."""
    mounted: list[SmallDisk] = []

    def mount(folder: Path) -> SmallDisk:
        try:
            mounted.append(SmallDisk(folder, 16))
        except PermissionError as error:
            pytest.skip(f"nothing can be mounted here: {error}")
        return mounted[-1]

    yield mount
    for disk in mounted:
        disk.unmount()


@pytest.fixture
def make_lab(short_path: Path) -> Iterator[MakeLab]:
    """Make labs; every process that they started is ended afterwards, by its id."""
    made: list[Lab] = []

    def make(sizes: Sequence[int] = (1,), servers: int = 3, **options: float) -> Lab:
        folder = short_path / f"l{len(made)}"
        folder.mkdir()
        made.append(Lab(folder, sizes, servers, **options))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    return lambda: Path(tempfile.mkdtemp(dir=tmp_path))
