"""The one reader of XML-RPC takes what the standard writes, and its exact structure alone."""

import xmlrpc.client
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.struct_codec import Malformed
from agents.xmlrpc import (
    MAX_DEPTH,
    EndlessNumber,
    Fault,
    NotXml,
    dump_answer,
    dump_call,
    dump_fault,
    load_answer,
    load_call,
)

legible = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=30)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.integers(-0x80000000, 0x7FFFFFFF),
        st.booleans(),
        legible,
        st.binary(max_size=100),
        st.floats(allow_nan=False, allow_infinity=False),
        st.datetimes(min_value=datetime(1900, 1, 1)).map(lambda when: when.replace(microsecond=0)),  # noqa: DTZ001 - the wire has no zone
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(legible, inner, max_size=4),
    max_leaves=12,
)


@given(st.from_regex(r"[a-zA-Z0-9_.:/]+", fullmatch=True), st.lists(values, max_size=3))
def test_a_call_is_read_as_it_was_written(method: str, params: list[Any]) -> None:
    name, read = load_call(dump_call(method, *params))

    assert name == method
    assert list(read) == params


@given(values)
def test_an_answer_is_read_as_it_was_written(value: Any) -> None:
    assert load_answer(dump_answer(value)) == value


def test_a_fault_is_read_as_it_was_written() -> None:
    with pytest.raises(Fault, match="in use") as raised:
        load_answer(dump_fault(16, "in use"))

    assert raised.value.errno == 16


def call(inner: str, name: str = "<methodName>m</methodName>") -> bytes:
    return f"<methodCall>{name}<params>{inner}</params></methodCall>".encode()


def param(value: str) -> bytes:
    return call(f"<param><value>{value}</value></param>")


STRANGE = {
    "two names": call("", "<methodName>a</methodName><methodName>b</methodName>"),
    "the name last": b"<methodCall><params/><methodName>a</methodName></methodCall>",
    "two lists of params": b"<methodCall><methodName>a</methodName><params/><params/></methodCall>",
    "a value that is no param": call("<value>x</value>"),
    "a param of two values": call("<param><value>1</value><value>2</value></param>"),
    "a param of no value": call("<param/>"),
    "a value of two": param("<int>1</int><int>2</int>"),
    "text beside a value": param("x<int>1</int>"),
    "text after a value": param("<int>1</int>x"),
    "text between params": call("x<param><value>1</value></param>"),
    "an element in a number": param("<int>1<int>2</int></int>"),
    "an array without data": param("<array/>"),
    "an array of ints": param("<array><data><int>1</int></data></array>"),
    "a member in an array": param("<array><data><member/></data></array>"),
    "a member without a value": param("<struct><member><name>a</name></member></struct>"),
    "a member with its name last": param(
        "<struct><member><value>1</value><name>a</name></member></struct>"
    ),
    "a member with two names": param(
        "<struct><member><name>a</name><name>b</name><value>1</value></member></struct>"
    ),
    "a value in a struct": param("<struct><value>1</value></struct>"),
    "an int with an underscore": param("<int>1_0</int>"),
    "an int of other digits": param("<int>\u0661</int>"),
    "a boolean of words": param("<boolean>true</boolean>"),
    "base64 with holes": param("<base64>YQ=*=</base64>"),
    "nil with words": param("<nil>x</nil>"),
    "another type": param("<float>1.0</float>"),
    "an answer": dump_answer(1),
    "a fault": dump_fault(1, "x"),
}


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_not_the_structure_of_a_call_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed) as raised:
        load_call(body)
    assert not isinstance(raised.value, NotXml)


PLAIN: dict[str, tuple[bytes, tuple[Any, ...]]] = {
    "no params": (b"<methodCall><methodName>m</methodName></methodCall>", ()),
    "empty params": (call(""), ()),
    "a string without a type": (param("x"), ("x",)),
    "blanks without a type": (param(" "), (" ",)),
    "nothing": (param(""), ("",)),
    "an empty struct and an empty array": (
        call(
            "<param><value><struct/></value></param>"
            "<param><value><array><data/></array></value></param>"
        ),
        ({}, []),
    ),
    "layout": (param("\n <int> +7\n</int>\n "), (7,)),
    "a comment in a text": (param("<string>a<!-- b -->c</string>"), ("ac",)),
    "nil": (param("<nil/>"), (None,)),
    "a date": (
        param("<dateTime.iso8601>20261127T16:00:01</dateTime.iso8601>"),
        (datetime(2026, 11, 27, 16, 0, 1, tzinfo=UTC).replace(tzinfo=None),),
    ),
    "the second of two members of a name": (
        param(
            "<struct><member><name>a</name><value>1</value></member>"
            "<member><name>a</name><value>2</value></member></struct>"
        ),
        ({"a": "2"},),
    ),
}


@pytest.mark.parametrize(("body", "params"), PLAIN.values(), ids=PLAIN.keys())
def test_every_way_to_write_a_value_is_read(body: bytes, params: tuple[Any, ...]) -> None:
    assert load_call(body) == ("m", params)


@pytest.mark.parametrize(
    "body", [b"", b"<a", b"<!DOCTYPE methodCall>" + param("1"), param("&nbsp;"), b"\0\0"]
)
def test_what_is_no_xml_is_told_apart(body: bytes) -> None:
    with pytest.raises(NotXml):
        load_call(body)


def test_a_number_without_end_is_told_apart() -> None:
    with pytest.raises(EndlessNumber):
        load_call(param(f"<int>{'9' * 5000}</int>"))
    assert load_call(param(f"<int>{'9' * 3000}</int>"))[1][0] > 1 << 9000


@pytest.mark.parametrize("depth", [1, 2, 16])
@pytest.mark.parametrize("kind", ["array", "struct"])
def test_values_are_read_as_deep_as_is_wanted(depth: int, kind: str) -> None:
    value: Any = "x"
    for _ in range(depth - 1):
        value = [value] if kind == "array" else {"a": value}

    assert load_call(dump_call("m", value), depth)[1] == (value,)
    with pytest.raises(Malformed, match="too deeply"):
        load_call(dump_call("m", [value]), depth)


def test_an_answer_is_read_as_deep_as_an_order_needs() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]

    assert load_answer(xmlrpc.client.dumps((value,), methodresponse=True).encode()) == value
