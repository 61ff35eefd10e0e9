"""`check --deploy` tries each address of each node, and compares names with certificates."""

import socket
from pathlib import Path

import pytest
from django.core.checks import CheckMessage, run_checks
from pytest_django import Settings

from agents.identity import Identity
from inventory.models import Address, HeadServer, Priority, StorageServer
from vastsky_site import reach
from vastsky_site.access import certificates


def found(codes: set[str]) -> list[CheckMessage]:
    return [one for one in run_checks(include_deployment_checks=True) if one.id in codes]


@pytest.mark.django_db
def test_an_address_at_which_no_agent_listens_is_named_with_its_node_and_port(
    settings: Settings,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as agent:
        settings.VASTSKY_STORAGE_AGENT_PORT = agent.getsockname()[1]
        server = StorageServer.objects.create(pk=1, name="storage-1")
        for position, address in enumerate(("127.0.0.1", "127.0.0.2")):
            Address.objects.create(storage=server, address=address, position=position)

        (finding,) = found({"vastsky.W021"})

    port = settings.VASTSKY_STORAGE_AGENT_PORT
    assert finding.msg == (f"storage-1 cannot be reached at 127.0.0.2:{port}: Connection refused.")
    assert "systemctl status vastsky-storage" in str(finding.hint)


@pytest.mark.django_db
def test_a_server_that_is_out_of_service_is_not_tried(settings: Settings) -> None:
    settings.VASTSKY_HEAD_AGENT_PORT = 1
    server = HeadServer.objects.create(pk=1, priority=Priority.OFFLINE)
    Address.objects.create(head=server, address="127.0.0.1", position=0)

    assert found({"vastsky.W021"}) == []


def test_a_name_that_the_certificate_lacks_is_named(settings: Settings, tmp_path: Path) -> None:
    certificates.issue(tmp_path, "manager", ["manager.example", "10.1.0.1"], may_call=True)
    files = [tmp_path / name for name in ("manager.pem", "manager.key", "authority.pem")]
    settings.VASTSKY_IDENTITY, settings.VASTSKY_WEB_TLS = Identity(*files), True
    settings.ALLOWED_HOSTS = ["manager.example", ".example.org"]
    another_manager = "https://203.0.113.2:8881"
    settings.VASTSKY_MANAGER_URLS = ["https://10.1.0.1:8881", "https://127.0.0.2:8881"]
    settings.VASTSKY_MANAGER_URLS += [another_manager]

    (finding,) = reach._names()

    assert finding.id == "vastsky.W022"
    assert "does not name 127.0.0.2:" in finding.msg

    settings.VASTSKY_MANAGER_URLS = []
    assert [one.id for one in reach._names()] == ["vastsky.W023"]
