"""Whatever bytes arrive, an answer that XML-RPC clients understand goes out."""

import gzip
import logging
import xml.etree.ElementTree as ET
import xmlrpc.client
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from inventory.errors import Invalid
from tests.contract.api import Api

EINVAL, EPROTO, PARSE, REQUEST = 22, 71, -32700, -32600


def call(value: str, method: str = "listEvents") -> str:
    return (
        f"<?xml version='1.0'?><methodCall><methodName>{method}</methodName>"
        f"<params><param>{value}</param></params></methodCall>"
    )


def struct(members: str) -> str:
    return f"<value><struct>{members}</struct></value>"


def nested(depth: int) -> str:
    """Values so deep: the call's struct, arrays in arrays, and a string."""
    arrays = depth - 2
    inner = (
        "<value><array><data>" * arrays + "<value>x</value>" + "</data></array></value>" * arrays
    )
    return call(struct(f"{VER}<member><name>deep</name>{inner}</member>"))


VER = "<member><name>ver</name><value><int>5</int></value></member>"
GOOD = call(struct(VER))
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)

UNREADABLE = {
    "nothing but blanks": (b"   ", PARSE),
    "not XML": (b"hello", PARSE),
    "JSON": (b'{"method": "listEvents"}', PARSE),
    "half a document": (GOOD[:-20].encode(), PARSE),
    "two documents": ((GOOD + GOOD).encode(), PARSE),
    "a form": (b"a=1&b=2", PARSE),
    "zero bytes": (b"\0" * 100, PARSE),
    "compressed": (gzip.compress(GOOD.encode()), PARSE),
    "not UTF-8": (GOOD.replace("listEvents", "é").encode("latin-1"), PARSE),
    "an unknown encoding": (GOOD.replace("?>", " encoding='klingon'?>", 1).encode(), REQUEST),
    "a control character": (GOOD.replace("listEvents", "a\x01b").encode(), PARSE),
    "a control reference": (GOOD.replace("listEvents", "a&#1;b").encode(), PARSE),
    "an undefined entity": (GOOD.replace("listEvents", "&nbsp;").encode(), PARSE),
    "an entity bomb": (BOMB.encode() + b"<methodCall>&i;</methodCall>", PARSE),
    "a harmless document type": (GOOD.replace("?>", "?><!DOCTYPE methodCall>", 1).encode(), PARSE),
    "an external entity": (
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><methodCall>&e;</methodCall>',
        PARSE,
    ),
    "another document": (b"<html><body>hello</body></html>", REQUEST),
    "an answer": (xmlrpc.client.dumps((1,), methodresponse=True).encode(), REQUEST),
    "a fault": (xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x")).encode(), REQUEST),
    "a call of nothing": (GOOD.replace("listEvents", " ").encode(), REQUEST),
    "a call of two methods": (
        GOOD.replace("<params>", "<methodName>listEvents</methodName><params>").encode(),
        REQUEST,
    ),
    "text between elements": (GOOD.replace("<params>", "hello<params>").encode(), REQUEST),
    "a version that is no int": (call(struct(VER.replace("int>", "double>"))).encode(), EPROTO),
    "an int of letters": (call("<value><int>abc</int></value>").encode(), REQUEST),
    "an empty int": (call("<value><int></int></value>").encode(), REQUEST),
    "an endless int": (call(f"<value><int>{'9' * 5000}</int></value>").encode(), EINVAL),
    "an endless int with a letter": (
        call(f"<value><int>{'9' * 5000}x</int></value>").encode(),
        REQUEST,
    ),
    "a double of letters": (call("<value><double>x</double></value>").encode(), REQUEST),
    "a decimal of letters": (call("<value><bigdecimal>x</bigdecimal></value>").encode(), REQUEST),
    "a date of letters": (
        call("<value><dateTime.iso8601>x</dateTime.iso8601></value>").encode(),
        REQUEST,
    ),
    "a boolean of letters": (call("<value><boolean>maybe</boolean></value>").encode(), REQUEST),
    "base64 of noise": (call("<value><base64>a</base64></value>").encode(), REQUEST),
    "a member without value": (call(struct("<member><name>ver</name></member>")).encode(), REQUEST),
    "a member without name": (
        call(struct("<member><value><int>5</int></value></member>")).encode(),
        REQUEST,
    ),
    "an unknown type": (call("<value><quaternion>1</quaternion></value>").encode(), REQUEST),
    "values 17 deep": (nested(17).encode(), REQUEST),
    "values 2,000 deep": (nested(2000).encode(), REQUEST),
    "elements 2,000 deep": (("<a>" * 2000 + "</a>" * 2000).encode(), REQUEST),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_no_call_is_a_fault(api: Api, what: str) -> None:
    body, code = UNREADABLE[what]

    response = api.post(body)

    assert response.status_code == 200
    assert api.fault_of(lambda: api.read(response)) == code


TAGS = [
    *("methodName", "params", "param", "value", "array", "data", "struct", "member", "name", "nil"),
    *(
        "int",
        "i8",
        "string",
        "boolean",
        "double",
        "base64",
        "dateTime.iso8601",
        "bigdecimal",
        "fault",
    ),
]
documents = st.recursive(
    st.sampled_from(["", "1", "abc", "listEvents", "5"]),
    lambda inner: st.lists(st.tuples(st.sampled_from(TAGS), inner), max_size=4).map(
        lambda elements: "".join(f"<{tag}>{text}</{tag}>" for tag, text in elements)
    ),
    max_leaves=12,
)


@given(st.sampled_from(["methodCall", "methodResponse"]), documents)
def test_no_heap_of_elements_is_more_than_a_fault(root: str, text: str) -> None:
    api = Api(Client())

    response = api.post(f"<{root}>{text}</{root}>")

    assert response.status_code == 200
    assert api.fault_of(lambda: api.read(response)) in {PARSE, REQUEST, -32601, 22, 71}


READABLE = {
    "as every client sends it": GOOD.encode(),
    "no declaration": GOOD.removeprefix("<?xml version='1.0'?>").encode(),
    "UTF-8 declared": GOOD.replace("?>", " encoding='utf-8'?>", 1).encode(),
    "UTF-8 with a mark": GOOD.encode("utf-8-sig"),
    "latin-1 declared": GOOD.replace("?>", " encoding='iso-8859-1'?>", 1).encode("latin-1"),
    "UTF-16": GOOD.encode("utf-16"),
    "blanks around the name": GOOD.replace("listEvents", " listEvents\n").encode(),
    "i4": GOOD.replace("int>", "i4>").encode(),
    "i8": GOOD.replace("int>", "i8>").encode(),
    "comments": GOOD.replace("<params>", "<!-- hello --><params>").encode(),
    "unknown members": call(
        struct(VER + "<member><name>x</name><value>untyped</value></member>")
    ).encode(),
    "values 16 deep": nested(16).encode(),
}


@pytest.mark.parametrize("what", READABLE)
def test_every_legal_way_to_write_a_call_is_read(api: Api, what: str) -> None:
    assert api.read(api.post(READABLE[what])) == []


@pytest.mark.parametrize("method", ["noSuchMethod", "system.multicall", "__class__", "rpc.x", "é"])
def test_an_unknown_method_is_a_fault_and_the_server_lives_on(api: Api, method: str) -> None:
    assert api.fault_of(lambda: api.send(method, {"ver": 5})) == -32601
    assert api("listEvents") == []


# -- bugs of ours: each is put in on purpose, to see that it gives nothing away --------------------

SECRET = "password=hunter2"
BUGS = [TypeError, ValueError, KeyError, RuntimeError, RecursionError, AttributeError, MemoryError]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make vastsky.clusterInfo do something else."""

    def _broken(body: Any) -> None:
        monkeypatch.setattr("inventory.server_rpc.servers.cluster", body)

    return _broken


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_500_for_the_caller_and_a_traceback_in_the_log(
    api: Api, broken: Any, bug: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def body() -> None:
        raise bug(SECRET)

    broken(body)
    with pytest.raises(xmlrpc.client.Fault) as caught:
        api("vastsky.clusterInfo")

    assert (caught.value.faultCode, caught.value.faultString) == (500, "internal server error")
    assert SECRET in caplog.text
    assert "Traceback" in caplog.text


class Pretender:
    """Stands in for the cluster's row."""

    def __init__(self, uuid: object, incarnation: object = 1) -> None:
        self.uuid, self.incarnation, self.recovery = uuid, incarnation, ""
        self.backed_up = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.mark.parametrize("unsendable", [1 << 31, -(1 << 31) - 1, object(), {1: 2}])
def test_a_result_that_xml_rpc_cannot_carry_is_500_and_not_echoed(
    api: Api, broken: Any, unsendable: object, caplog: pytest.LogCaptureFixture
) -> None:
    broken(lambda: Pretender(SECRET, unsendable))

    response = api.post(xmlrpc.client.dumps(({"ver": 5},), "vastsky.clusterInfo"))

    assert api.fault_of(lambda: api.read(response)) == 500
    assert SECRET not in response.content.decode()
    assert any(record.levelno == logging.ERROR for record in caplog.records)


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "a\ud800b", "a\uffffb", "]]>&<"])
def test_no_text_makes_an_answer_ill_formed(api: Api, broken: Any, text: str) -> None:
    broken(lambda: Pretender(text))

    response = api.post(xmlrpc.client.dumps(({"ver": 5},), "vastsky.clusterInfo"))

    ET.fromstring(response.content)
    assert api.read(response)["cluster"][0] in "a]"


def test_a_refusal_arrives_as_it_was_but_for_what_xml_cannot_carry(api: Api, broken: Any) -> None:
    def body() -> None:
        raise Invalid("bad \x07 <bell> & \r]]> \ud800")

    broken(body)
    response = api.post(xmlrpc.client.dumps(({"ver": 5},), "vastsky.clusterInfo"))

    with pytest.raises(xmlrpc.client.Fault) as refusal:
        api.read(response)
    assert refusal.value.faultCode == 22
    assert refusal.value.faultString == "bad \ufffd <bell> & \r]]> \ufffd"


# -- introspection --------------------------------------------------------------------------------


def test_introspection_lists_every_method_with_help_and_signature(api: Api) -> None:
    names = api.send("system.listMethods")

    assert len([name for name in names if "." not in name]) == 22
    for name in names:
        assert api.send("system.methodHelp", name)
        assert api.send("system.methodSignature", name)[0][0] in {
            "int",
            "string",
            "array",
            "struct",
        }


def test_help_names_the_members_of_the_struct(api: Api) -> None:
    text = api.send("system.methodHelp", "createLogicalVolume")

    assert "lvolname string" in text
    assert "redundancy int, optional" in text


@pytest.mark.parametrize("params", [(), (1,), ("a", "b"), ([],), ({"ver": 5},)])
def test_introspection_with_wrong_parameters_is_einval(api: Api, params: tuple[Any, ...]) -> None:
    assert api.fault_of(lambda: api.send("system.methodHelp", *params)) == 22


def test_help_of_an_unknown_method_is_a_fault(api: Api) -> None:
    assert api.fault_of(lambda: api.send("system.methodHelp", "nope")) == -32601


@pytest.mark.parametrize("digits", ["9" * 11, str(2**70), "9" * 5000, "-" + "9" * 5000])
@pytest.mark.parametrize("tag", ["int", "i4", "i8"])
@pytest.mark.django_db
def test_a_number_beyond_32_bits_is_einval_however_long(api: Api, tag: str, digits: str) -> None:
    member = "<member><name>{}</name><value><{}>{}</{}></value></member>"
    ver, lvolid = member.format("ver", "int", 5, "int"), member.format("lvolid", tag, digits, tag)

    answer = api.post(call(struct(ver + lvolid), "showLogicalVolume"))

    assert api.fault_of(lambda: api.read(answer)) == EINVAL


LONG = "x" * 1_900_000


@pytest.mark.parametrize(
    ("method", "param"),
    [
        ("attachLogicalVolume", {"ver": 5, "lvolname": LONG, "hsvrid": 1}),
        ("createLogicalVolume", {"ver": 5, "lvolname": LONG, "capacity": 1}),
        ("createLogicalVolume", {"ver": 5, "lvolname": "lvol-" + "1" * 1000, "capacity": 1}),
        ("registerHeadServer", {"ver": 5, "ip_data": [LONG]}),
        ("listEvents", {"ver": 5, "all": LONG}),
        (LONG, {"ver": 5}),
        ("system.methodHelp", LONG),
        ("system.methodSignature", LONG),
    ],
)
@pytest.mark.django_db
def test_what_was_sent_is_not_sent_back_at_length(api: Api, method: str, param: Any) -> None:
    answer = api.post(xmlrpc.client.dumps((param,), method))

    assert b"<fault>" in answer.content
    assert len(answer.content) < 600
