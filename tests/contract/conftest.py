"""Calls to the API as a client makes them: through the URL and the wire."""

from typing import Any

import pytest
from django.test import Client

from tests.contract.api import Api, add_disk, zero_everything


@pytest.fixture
def api() -> Api:
    return Api(Client(raise_request_exception=True))


@pytest.fixture
def head(api: Api, db: None) -> Any:
    return api("registerHeadServer", ip_data=["10.0.9.1", "10.1.9.1"])


@pytest.fixture
def storage(api: Api, db: None) -> Any:
    return api("registerStorageServer", ip_data=["10.0.0.1", "10.1.0.1"])


@pytest.fixture
def disk(api: Api, storage: int) -> Any:
    return add_disk(api, storage, "/dev/disk/by-id/first")


@pytest.fixture
def pool(api: Api, db: None) -> list[int]:
    """Three storage servers with a zeroed disk of 100 GB each; the ids of the disks."""
    disks = []
    for number in range(1, 4):
        ssvrid = api("registerStorageServer", ip_data=[f"10.0.2.{number}", f"10.1.2.{number}"])
        disks.append(add_disk(api, ssvrid, f"/dev/disk/by-id/pool-{number}"))
    zero_everything()
    return disks


@pytest.fixture
def volume(api: Api, pool: list[int]) -> Any:
    return api("createLogicalVolume", lvolname="data", capacity=5)
