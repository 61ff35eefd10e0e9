"""Every method against every wrong struct: too old, too little, of the wrong type."""

import xmlrpc.client
from typing import Any

import pytest

from tests.contract.api import Api
from vastsky_site.api import endpoint, signatures

EINVAL, EPROTO = 22, 71

NAMED: dict[str, Any] = {"lvolid": 1, "lvolname": "data"}
AGAIN: dict[str, Any] = {**NAMED, "converge": 1}
PAGE: dict[str, Any] = {"after": 1, "limit": 1}
SERVER: dict[str, Any] = {
    "ip_data": ["10.0.0.1"],
    "node_uuid": "n",
    "boot_id": "b",
    "started": "p",
    "site": "s",
    "rack": "r",
    "host_name": "h",
    "version": "5.1",
}

METHODS: dict[str, dict[str, Any]] = {
    "registerHeadServer": {**SERVER, "hsvrid": 1},
    "registerStorageServer": {**SERVER, "ssvrid": 1, "iscsi_port": 3260, "data_port": 8884},
    "registerPhysicalDisk": {
        "ssvrid": 1,
        "local_path": "/dev/x",
        "capacity": "1",
        "disk_uuid": "u",
        "generation": 0,
        "tags": "hdd",
        "copied": 0,
    },
    "deletePhysicalDisk": {"pdskid": 1},
    "deleteHeadServer": {"hsvrid": 1},
    "deleteStorageServer": {"ssvrid": 1},
    "createLogicalVolume": {
        "lvolname": "data",
        "capacity": 1,
        "redundancy": 3,
        "tags": "hdd",
        "converge": 1,
    },
    "createSnapshot": {
        "origin_lvolid": 1,
        "origin_lvolname": "d",
        "snapshot_lvolname": "snap",
        "converge": 1,
    },
    "deleteLogicalVolume": AGAIN,
    "attachLogicalVolume": {**AGAIN, "hsvrid": 1, "hsvrname": "h"},
    "detachLogicalVolume": AGAIN,
    "listLogicalVolumes": {**NAMED, **PAGE},
    "showLogicalVolume": NAMED,
    "listHeadServers": {"hsvrid": 1, **PAGE},
    "listStorageServers": {"ssvrid": 1, **PAGE},
    "listPhysicalDisks": {"ssvrid": 1, **PAGE},
    "listEvents": {"event_status": 1, "all": 1},
    "notifyFailure": {"target": 1, "targetid": 1, "reason": "io"},
    "notifyBadBlocks": {"pdskid": 1, "blocks": [1]},
    "notifyShredFinished": {"dextid": 1, "eventid": 1},
    "notifyRebuildMirrorFinished": {
        "mirrorid": 1,
        "dexts": [{"dextid": 1, "dext_status": 2}],
        "eventid": 1,
    },
    "shutdownAll": {},
    "vastsky.clusterInfo": {},
    "vastsky.resume": {},
    "vastsky.forceAttach": {**NAMED, "hsvrid": 1},
    "vastsky.listJobs": PAGE,
    "vastsky.showJob": {"eventid": 1},
    "vastsky.capacity": {"redundancy": 3, "tags": "hdd"},
    "vastsky.planVolume": {"capacity": 1, "redundancy": 3, "tags": "hdd"},
    "vastsky.planFailure": {"hsvrid": 1, "ssvrid": 1, "pdskid": 1, "site": "s", "rack": "r"},
    "vastsky.listTokens": {**PAGE, "after": "n"},
    "vastsky.createToken": {"name": "n", "role": "reader", "hsvrid": 1, "ssvrid": 1},
    "vastsky.revokeToken": {"name": "n"},
    "vastsky.listWebhooks": {},
    "vastsky.addWebhook": {
        "name": "n",
        "url": "http://127.0.0.1/",
        "severity": "error",
        "kinds": ["offline"],
    },
    "vastsky.removeWebhook": {"name": "n"},
    "vastsky.testWebhook": {"name": "n"},
    "vastsky.listEvents": {
        "lvolid": 1,
        "hsvrid": 0,
        "ssvrid": 0,
        "pdskid": 0,
        "eventid": 1,
        "severity": "info",
        "kind": "offline",
        "since": "2026-11-28T06:00:00Z",
        "until": "2026-11-28T07:00:00Z",
        "limit": 10,
        "cursor": "1",
        "follow": 0,
    },
    "vastsky.samples": {"lvolid": 1, "hsvrid": 0, "ssvrid": 0, "pdskid": 0, "span": "day"},
    "vastsky.listOrphans": PAGE,
    "vastsky.listWaiting": PAGE,
    "vastsky.moveServer": {"hsvrid": 1, "ssvrid": 1, "ip_data": ["10.0.0.1"]},
    "vastsky.listNodes": {**PAGE, "after": "hsvr-00000001"},
    "vastsky.renameServer": {"hsvrid": 1, "ssvrid": 1, "name": "n"},
    "vastsky.forgetNode": {"hsvrid": 1, "ssvrid": 1},
    "vastsky.planEvacuation": {"ssvrid": 1, "pdskid": 1},
    "vastsky.evacuate": {"ssvrid": 1, "pdskid": 1, "converge": 1},
    "vastsky.returnToService": {"ssvrid": 1, "pdskid": 1},
    "vastsky.maintenance": {"ssvrid": 1, "pdskid": 1, "minutes": 1, "converge": 1},
    "vastsky.pauseJob": {"eventid": 1},
    "vastsky.resumeJob": {"eventid": 1},
    "vastsky.cancelJob": {"eventid": 1},
    "vastsky.retryJob": {"eventid": 1},
    "vastsky.forceJob": {"eventid": 1},
    "vastsky.scrubVolume": NAMED,
    "vastsky.pauseScrubs": {},
    "vastsky.resumeScrubs": {},
    "vastsky.listUnequalBlocks": PAGE,
    "vastsky.mendBlock": {"blockid": 1, "dextid": 1},
}
"""Every method with every member it knows."""

REQUIRED = {
    "registerHeadServer": ["ip_data"],
    "registerStorageServer": ["ip_data"],
    "registerPhysicalDisk": ["ssvrid", "local_path", "capacity"],
    "deletePhysicalDisk": ["pdskid"],
    "deleteHeadServer": ["hsvrid"],
    "deleteStorageServer": ["ssvrid"],
    "createLogicalVolume": ["lvolname", "capacity"],
    "createSnapshot": ["snapshot_lvolname"],
    "notifyFailure": ["target", "targetid"],
    "notifyBadBlocks": ["pdskid", "blocks"],
    "notifyShredFinished": ["dextid"],
    "notifyRebuildMirrorFinished": ["mirrorid", "dexts"],
    "vastsky.forceAttach": ["hsvrid"],
    "vastsky.moveServer": ["ip_data"],
    "vastsky.renameServer": ["name"],
    "vastsky.showJob": ["eventid"],
    "vastsky.planVolume": ["capacity"],
    "vastsky.createToken": ["name", "role"],
    "vastsky.revokeToken": ["name"],
    "vastsky.addWebhook": ["name", "url"],
    "vastsky.removeWebhook": ["name"],
    "vastsky.testWebhook": ["name"],
    "vastsky.pauseJob": ["eventid"],
    "vastsky.resumeJob": ["eventid"],
    "vastsky.cancelJob": ["eventid"],
    "vastsky.retryJob": ["eventid"],
    "vastsky.forceJob": ["eventid"],
    "vastsky.mendBlock": ["blockid", "dextid"],
}

OTHER_TYPES: list[Any] = ["1", b"1", 1.0, True, None, [], {}, 1, xmlrpc.client.DateTime(0)]

MEMBERS = [(method, member) for method, struct in METHODS.items() for member in struct]
INTS = [(method, member) for method, member in MEMBERS if METHODS[method][member] == 1]


def test_the_tables_here_know_every_method_and_member() -> None:
    procedures = endpoint.PROCEDURES

    known = {name: {m.name for m in signatures.members(body)} for name, body in procedures.items()}

    assert known == {method: set(struct) for method, struct in METHODS.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ver", [4, 6, -5, "5", 5.0, True, None, [5]])
def test_another_version_is_eproto(api: Api, method: str, ver: object) -> None:
    assert api.fault(method, **{**METHODS[method], "ver": ver}) == EPROTO


@pytest.mark.parametrize("method", METHODS)
def test_no_version_is_eproto(api: Api, method: str) -> None:
    assert api.fault_of(lambda: api.send(method, METHODS[method])) == EPROTO


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("params", [(), (5,), ("x",), (None,), ([],), ([{"ver": 5}],), ({}, {})])
def test_anything_but_one_struct_is_einval(api: Api, method: str, params: tuple[Any, ...]) -> None:
    assert api.fault_of(lambda: api.send(method, *params)) == EINVAL


@pytest.mark.parametrize(("method", "member"), MEMBERS)
def test_a_member_of_another_type_is_einval(api: Api, method: str, member: str) -> None:
    good = METHODS[method][member]

    for wrong in OTHER_TYPES:
        if type(wrong) is not type(good):
            assert api.fault(method, **{**METHODS[method], member: wrong}) == EINVAL, wrong


@pytest.mark.parametrize(
    ("method", "member"), [(method, member) for method in REQUIRED for member in REQUIRED[method]]
)
def test_a_missing_member_is_einval(api: Api, method: str, member: str) -> None:
    struct = {name: value for name, value in METHODS[method].items() if name != member}

    assert api.fault(method, **struct) == EINVAL


@pytest.mark.parametrize(("method", "member"), INTS)
@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**32 + 1, 2**63, 10**30])
def test_an_int_beyond_32_bits_is_einval(api: Api, method: str, member: str, number: int) -> None:
    body = xmlrpc.client.dumps(({"ver": 5, **METHODS[method], member: 1234567},), method)

    response = api.post(body.replace("1234567", str(number)))

    assert api.fault_of(lambda: api.read(response)) == EINVAL


@pytest.mark.parametrize(
    ("method", "members"),
    [
        ("registerHeadServer", {"ip_data": [True]}),
        ("registerHeadServer", {"ip_data": [["10.0.0.1"]]}),
        ("registerHeadServer", {"ip_data": [1.5]}),
        ("registerStorageServer", {"ip_data": [None]}),
        ("notifyBadBlocks", {"blocks": ["1"]}),
        ("notifyBadBlocks", {"blocks": [True]}),
        ("notifyBadBlocks", {"blocks": [[1]]}),
        ("notifyRebuildMirrorFinished", {"dexts": [1]}),
        ("notifyRebuildMirrorFinished", {"dexts": [{}]}),
        ("notifyRebuildMirrorFinished", {"dexts": [{"dextid": 1}]}),
        ("notifyRebuildMirrorFinished", {"dexts": [{"dextid": 1, "dext_status": "2"}]}),
        ("notifyRebuildMirrorFinished", {"dexts": [{"dextid": True, "dext_status": 2}]}),
    ],
)
def test_a_wrong_element_of_an_array_is_einval(
    api: Api, method: str, members: dict[str, Any]
) -> None:
    assert api.fault(method, **{**METHODS[method], **members}) == EINVAL


@pytest.mark.parametrize(
    ("method", "member", "limit"),
    [
        ("registerHeadServer", "boot_id", 128),
        ("registerHeadServer", "node_uuid", 64),
        ("registerStorageServer", "site", 64),
        ("registerStorageServer", "rack", 64),
        ("registerPhysicalDisk", "local_path", 1024),
        ("registerPhysicalDisk", "disk_uuid", 64),
        ("registerPhysicalDisk", "tags", 256),
        ("createLogicalVolume", "tags", 256),
        ("notifyFailure", "reason", 500),
        *((method, "lvolname", 64) for method, struct in METHODS.items() if "lvolname" in struct),
        ("createSnapshot", "snapshot_lvolname", 64),
        ("createSnapshot", "origin_lvolname", 64),
        ("attachLogicalVolume", "hsvrname", 64),
    ],
)
def test_a_text_that_no_column_holds_is_einval(
    api: Api, method: str, member: str, limit: int
) -> None:
    assert api.fault(method, **{**METHODS[method], member: "x" * (limit + 1)}) == EINVAL


def test_unknown_members_are_ignored(api: Api, db: None) -> None:
    assert api("listHeadServers", colour="red", nested={"a": [1]}) == []
