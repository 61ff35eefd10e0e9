"""Two managers of one database: one is killed in the midst of work, and nothing is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from deploy import postgres
from tests.client.own_manager import OwnManager
from vastsky_client.api import Access, Manager

VOLUMES, BEFORE = 60, 10
ZERO = "from tests.contract.api import zero_everything; zero_everything()"


@pytest.fixture
def database() -> Iterator[str]:
    """A PostgreSQL, for SQLite serves the processes of one manager only."""
    binaries = postgres.binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL is installed")
    with postgres.server(binaries) as url:
        yield url


def test_every_create_and_delete_ends_well_and_once(tmp_path: Path, database: str) -> None:
    homes = [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        home.mkdir()
    first, second = (OwnManager(home, database) for home in homes)
    first.manage("migrate", "--verbosity=0")
    urls = tuple(f"http://127.0.0.1:{manager.port}" for manager in (first, second))

    with ExitStack() as running, ThreadPoolExecutor(1) as pool:
        web = running.enter_context(first.serving())
        running.enter_context(second.serving())
        manager = Manager(Access(managers=urls))
        for number in range(1, 4):
            ssvrid = manager.register_storage_server(ip_data=[f"10.8.0.{number}"])
            capacity = str(1001 << 21)
            manager.register_physical_disk(
                ssvrid=ssvrid, local_path=f"/dev/{number}", capacity=capacity
            )
        first.manage("shell", "--verbosity=0", "--command", ZERO)
        made: dict[str, int] = {}
        begun = Event()

        def work() -> None:
            """Create volumes, and delete every third again."""
            for number in range(VOLUMES):
                name = f"v{number}"
                if number == BEFORE:
                    begun.set()
                made[name] = manager.create_logical_volume(lvolname=name, capacity=1)
                if number % 3 == 2:
                    manager.delete_logical_volume(lvolname=name)
                    del made[name]

        working = pool.submit(work)
        begun.wait(60)
        web.kill()
        working.result(timeout=120)

        found = manager.list_logical_volumes()
    assert {volume["lvolname"]: volume["lvolid"] for volume in found} == made
    assert len(made) == VOLUMES * 2 // 3
