"""Engine processes count what clients ask, and what fails, whoever was the client."""

import os

import pytest

from agents.engines.base import OperationFigures
from agents.ondisk import GB
from deploy.local.nbd import NbdClient, NbdError
from tests.engine.conftest import MakeLab
from tests.engine.lab import VOLUME, Lab


def on_the_head(lab: Lab, operation: str) -> OperationFigures:
    lab.head.groups()
    (device,) = lab.head.figures()
    assert device.lvolid == VOLUME
    return next(one for one in device.operations if one.operation == operation)


def on_the_disk(lab: Lab, server: int, operation: str) -> OperationFigures:
    figures = lab.stores[server].engine.figures()
    assert figures is not None
    (disk,) = figures.disks
    assert disk.path == str(lab.stores[server].disk)
    return next(one for one in disk.operations if one.operation == operation)


def test_a_write_is_counted_once_on_the_head_and_once_at_each_replica(make_lab: MakeLab) -> None:
    lab = make_lab(servers=3)
    lab.attach()
    before = [on_the_disk(lab, server, "write").requests for server in range(3)]

    for _ in range(3):  # whichever connection it comes by
        with NbdClient(lab.device) as client:
            client.write(0, b"a" * 8192)

    written = on_the_head(lab, "write")
    assert (written.requests, written.bytes, written.errors) == (3, 3 * 8192, 0)
    assert sum(written.counts) == 1
    after = [on_the_disk(lab, server, "write").requests for server in range(3)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [3, 3, 3]


def test_what_a_disk_cannot_read_is_counted_as_an_error(make_lab: MakeLab) -> None:
    lab = make_lab(servers=2)
    lease = lab.stores[0].lease(10, 0, 1)
    with NbdClient(("127.0.0.1", lab.stores[0].engine.port), lease.name) as client:
        client.write(0, b"a" * 4096)
        os.truncate(lab.stores[0].disk, 0)

        with pytest.raises(NbdError):
            client.read(0, 4096)
        with pytest.raises(NbdError):
            client.read(2 * GB, 4096)  # beyond the end: no disk was asked

    read = on_the_disk(lab, 0, "read")
    assert (read.requests, read.errors) == (1, 1)
