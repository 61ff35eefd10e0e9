"""Why a head of the kernel engine lost a replica: it was evicted, or the server is another life."""

import time

import pytest

from agents.engines.kernel import probes
from agents.engines.kernel.probes import Servers
from agents.engines.userspace.head.state_file import SavedReplica
from agents.engines.userspace.mirror.live_replica import INSYNC
from tests.engine.conftest import MakeLab
from tests.engine.lab import Store


@pytest.fixture
def store(make_lab: MakeLab) -> Store:
    return make_lab(servers=1).stores[0]


@pytest.fixture
def known(store: Store) -> Servers:
    """What a head knows that saw the server serve extent 1."""
    store.lease(1, 0, 1)
    known = Servers()
    known.visit([replica(store)])
    return known


def replica(store: Store, dextid: int = 1) -> SavedReplica:
    spec = store.replica(dextid)
    return SavedReplica(spec.dextid, spec.addresses, spec.port, spec.export, INSYNC)


def test_a_server_that_serves_a_replica_no_more_evicted_it(store: Store, known: Servers) -> None:
    store.engine.drop([replica(store).export])

    assert known.has_evicted(replica(store))


def test_a_server_that_still_serves_it_did_not(store: Store, known: Servers) -> None:
    assert not known.has_evicted(replica(store))


def test_a_server_that_was_started_anew_serves_nothing_yet_and_evicted_nobody(
    store: Store, known: Servers
) -> None:
    store.kill()
    store.restart()

    assert not known.has_evicted(replica(store))


def test_an_eviction_by_the_next_life_of_a_server_is_one_once_that_was_seen(
    store: Store, known: Servers
) -> None:
    store.kill()
    store.restart()
    store.lease(1, 0, 1)
    known.visit([replica(store)])

    store.engine.drop([replica(store).export])

    assert known.has_evicted(replica(store))


def test_a_refusal_of_a_server_that_was_never_seen_is_taken_for_an_eviction(store: Store) -> None:
    assert Servers().has_evicted(replica(store))


def test_a_silent_server_is_not_asked_for_each_of_its_replicas(
    store: Store, known: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "ASK_SECONDS", 0.2)
    store.freeze()
    began = time.monotonic()
    try:
        assert not any(known.has_evicted(replica(store, dextid)) for dextid in range(1, 101))
    finally:
        store.thaw()

    assert time.monotonic() - began < 10, "a hundred replicas, each with its time limit, take 20 s"
