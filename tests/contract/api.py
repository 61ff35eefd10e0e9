"""A client of the API for tests, and what nodes and people do behind its back."""

import xmlrpc.client
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from inventory import space
from inventory.models import Disk, Extent, HeadServer, Priority, StorageServer
from volumes.models import Job

SECTORS_PER_GB = 1 << 21


class Api:
    """The methods of /RPC2; a fault is raised as xmlrpc.client.Fault."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(self, method: str, **struct: Any) -> Any:
        return self.send(method, {"ver": 5, **struct})

    def send(self, method: str, *params: Any) -> Any:
        return self.read(self.post(xmlrpc.client.dumps(params, method, allow_none=True)))

    def post(self, body: str | bytes) -> Any:
        return self.client.generic("POST", "/RPC2", body, content_type="text/xml")

    def read(self, response: Any) -> Any:
        assert response["Content-Type"] == "text/xml"
        (result,), _ = xmlrpc.client.loads(response.content)
        return result

    def fault(self, method: str, **struct: Any) -> int:
        """Make a call that must fail, and return the code of its fault."""
        return self.fault_of(lambda: self(method, **struct))

    def fault_of(self, call: Callable[[], Any]) -> int:
        with pytest.raises(xmlrpc.client.Fault) as caught:
            call()
        return int(caught.value.faultCode)


def add_disk(api: Api, ssvrid: int, local_path: str, gb: int = 100) -> Any:
    capacity = str(gb * SECTORS_PER_GB)
    return api("registerPhysicalDisk", ssvrid=ssvrid, local_path=local_path, capacity=capacity)


def zero_everything() -> None:
    """What shredding by a storage server leads to; the work is forgotten."""
    Job.objects.filter(kind=Job.Kind.SHRED).delete()
    for extent in Extent.objects.filter(status=Extent.Status.OFFLINE):
        space.certify(extent.pk, extent.generation)


def put_down(kind: type[HeadServer | StorageServer | Disk], pk: int, to: Priority) -> None:
    """What the sweep or a person does to a server or disk."""
    kind.objects.filter(pk=pk).update(priority=to, priority_since=timezone.now())
