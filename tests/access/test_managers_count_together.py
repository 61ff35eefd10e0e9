"""Whoever guesses is refused by all managers of a cluster, by what they count together in Redis."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from deploy.local.broker import server_binary
from vastsky_site.access import shared_counts
from vastsky_site.access.lockout import Attempts
from vastsky_site.access.shared_counts import SharedCounts

Manager = Callable[..., Attempts]


@pytest.fixture
def redis(tmp_path: Path, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis that all managers have."""
    path = tmp_path / "redis.sock"
    words = ("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path))
    process = subprocess.Popen([server_binary(), *words], stdout=subprocess.DEVNULL)
    settings.REDIS_URL = f"redis+socket://{path}"
    end = time.monotonic() + 20
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def manager(*, look: bool = False, most: int = 3, seconds: float = 60) -> Attempts:
    """What one web process of one manager counts by."""
    return Attempts(most, seconds, shared=SharedCounts("tests"), look=look)


@pytest.mark.usefixtures("redis")
def test_failures_at_one_manager_count_at_the_other() -> None:
    one, other = manager(look=True), manager(look=True)
    for _ in range(3):
        one.fail(("alice", "10.0.0.9"))

    assert 50 < other.wait(("alice", "10.0.0.9")) <= 60
    assert other.wait(("alice", "10.0.0.8")) == 0


@pytest.mark.usefixtures("redis")
def test_where_it_is_not_asked_for_each_manager_hears_a_guess_more() -> None:
    one, other = manager(), manager()
    for _ in range(3):
        one.fail("10.0.0.9")

    assert other.wait("10.0.0.9") == 0
    other.fail("10.0.0.9")
    assert other.wait("10.0.0.9") > 0


@pytest.mark.usefixtures("redis")
def test_who_is_right_begins_anew_everywhere() -> None:
    one, other = manager(look=True), manager(look=True)
    for _ in range(2):
        one.fail("alice")
    assert other.wait("alice") == 0
    other.forget("alice")

    one.clear()
    one.fail("alice")
    assert one.wait("alice") == 0


@pytest.mark.usefixtures("redis")
def test_a_manager_that_was_started_anew_knows_it_still_and_forgets_it_in_time() -> None:
    first = manager(look=True, seconds=1)
    for _ in range(3):
        first.fail("alice")

    assert manager(look=True).wait("alice") > 0
    time.sleep(1.1)
    assert manager(look=True).wait("alice") == 0


def test_without_redis_each_manager_counts_for_itself(
    redis: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = manager(look=True)
    one.fail("alice")
    redis.kill()
    redis.wait()
    for _ in range(2):
        one.fail("alice")
    assert one.wait("alice") > 0
    assert manager(look=True).wait("alice") == 0


def test_a_redis_that_hangs_holds_up_a_caller_once_and_briefly(
    redis: subprocess.Popen[bytes],
) -> None:
    one = manager(look=True)
    redis.send_signal(19)
    began = time.monotonic()
    for _ in range(20):
        one.wait("alice")
        one.fail("alice")

    assert time.monotonic() - began < 4 * shared_counts.SECONDS + 0.5
    assert one.wait("alice") > 0
