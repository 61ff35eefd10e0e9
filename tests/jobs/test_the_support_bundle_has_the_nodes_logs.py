"""The support bundle has the ends of the nodes' logs, or why one tells none."""

import errno
import io
import tarfile
import time

import pytest

from inventory.models import StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from vastsky_site.support import bundle, node_logs

pytestmark = pytest.mark.django_db(transaction=True)


def taken(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(bundle, "PARTS", ())
    content = b"".join(bundle.stream())
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        files = {
            one.name.partition("/")[2]: (archive.extractfile(one) or io.BytesIO()).read().decode()
            for one in archive.getmembers()
        }
    return {name: text for name, text in files.items() if name.startswith("nodes/")}


def test_each_node_tells_its_log_or_why_it_does_not(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine, older, dead, hung = four.world.storages.values()
    StorageServer.objects.filter(pk=fine.server_id).update(name="shelf 1/../x")
    fine.said = "registered\npostgres://vas:pass-word@db/x\n"
    head.said = "attached\n"
    older.refuse["logs"] = (errno.ENOSYS, "no method 'vastsky.logs' here")
    dead.die()
    hung.hang()
    monkeypatch.setattr(node_logs, "WITHIN", 1.0)

    began = time.monotonic()
    files = taken(monkeypatch)

    assert time.monotonic() - began < 5
    assert files.pop(f"nodes/ssvr-{fine.server_id:08x}-shelf_1_.._x/agent.log") == (
        "registered\npostgres://(secret)@db/x\n"
    )
    assert files.pop(f"nodes/hsvr-{head.server_id:08x}/agent.log") == "attached\n"
    why = {name.split("/")[1]: text for name, text in files.items()}
    assert "of an older release" in why[f"ssvr-{older.server_id:08x}"]
    assert "did not answer" in why[f"ssvr-{dead.server_id:08x}"]
    assert "did not answer" in why[f"ssvr-{hung.server_id:08x}"]
    assert {name.rpartition("/")[2] for name in files} == {"no-logs.txt"}


def test_who_would_have_to_wait_for_too_long_is_not_asked(
    four: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_logs, "LONGEST", 0.0)

    texts = taken(monkeypatch).values()

    assert len(texts) == 5
    assert all("was not asked" in text for text in texts)
