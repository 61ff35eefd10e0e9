"""The page of paths shows which head reaches which storage server by which network."""

import errno
import re

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inventory.models import Address, HeadServer, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head

pytestmark = pytest.mark.django_db(transaction=True)
LIVE = "/admin/console/paths/live/"


@pytest.fixture
def head(cluster: Cluster) -> Head:
    """A head and a storage server that has an address in each network."""
    node = cluster.add_storage()
    Address.objects.create(storage_id=node.server_id, position=1, address="127.8.9.9")
    return cluster.add_head()


def read() -> str:
    client = Client()
    user, _ = User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)
    client.force_login(user)
    answer = client.get(LIVE, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def marks(page: str) -> list[tuple[str, str, str]]:
    return re.findall(r'class="vs-p-(\w+)" title="([AB]): ([^"]*)"', page)


def test_each_network_is_told_by_itself(head: Head) -> None:
    head.micros["127.8.9.9"] = -1

    page = read()

    assert marks(page) == [("ok", "A", "ok, 0.2 ms"), ("down", "B", "down")]
    assert "by network B" in page


def test_heads_measure_the_port_of_data_which_alone_a_firewall_may_leave_them(head: Head) -> None:
    one = StorageServer.objects.get()
    for kind, port in [({}, 8884), ({"data_port": 9999}, 9999), ({"iscsi_port": 3260}, 3260)]:
        StorageServer.objects.update(data_port=None, iscsi_port=None)
        StorageServer.objects.filter(pk=one.pk).update(**kind)
        read()
        assert head.measured["127.8.9.9"] == port


def test_a_path_that_takes_long_is_slow(head: Head) -> None:
    head.micros["127.8.9.9"] = 50_000

    assert marks(read())[1] == ("slow", "B", "slow, 50.0 ms")


def test_what_was_measured_long_ago_is_unknown(head: Head) -> None:
    head.paths_age = 300

    page = read()
    assert {state for state, *_ in marks(page)} == {"unknown"}
    assert "its report is 300 s old" in page


def test_a_head_of_an_older_release_leaves_its_paths_unknown(head: Head) -> None:
    head.refuse["paths"] = (errno.ENOSYS, "no method 'vastsky.paths' here")

    page = read()
    assert {state for state, *_ in marks(page)} == {"unknown"}
    assert "of an older release" in page


def test_a_head_that_is_silent_is_not_waited_for(head: Head, cluster: Cluster) -> None:
    head.die()
    HeadServer.objects.update(silent_since="2020-01-01T00:00:00Z")

    assert "unknown, it does not answer" in read()


def test_few_and_many_servers_take_the_same_number_of_questions(
    head: Head, cluster: Cluster
) -> None:
    with CaptureQueriesContext(connection) as few:
        read()
    for _ in range(4):
        cluster.add_storage()
    cluster.add_head()
    with CaptureQueriesContext(connection) as many:
        assert len(marks(read())) == 2 * (2 + 4)
    assert len(many) <= len(few)
