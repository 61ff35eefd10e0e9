"""XML-RPC bodies: written plainly, read with suspicion.

The reader takes exactly the structure of XML-RPC and nothing else: no document type (and so no
entity of its making), no element in a place where none belongs, no more depth than is wanted.
"""

import base64
import re
import xmlrpc.client
from collections.abc import Callable
from datetime import datetime
from typing import Any
from xml.parsers import expat

from agents.errors import AgentError
from agents.struct_codec import Malformed

INT_MIN, INT_MAX = -0x80000000, 0x7FFFFFFF
"""What an <int> of XML-RPC can carry."""
MAX_DEPTH = 20
"""Values inside values; the deepest order, an attach, needs 9."""
MOST_DIGITS = 4000
"""Python reads 4300."""
TEXT_BUFFER = 1 << 16


class Fault(AgentError):
    """The other side understood and declined."""


class NotXml(Malformed):
    """The document is no XML, or has a document type."""


class EndlessNumber(Malformed):
    """A number has more digits than anybody reads: it is beyond all bounds."""


def dump_call(method: str, *params: Any) -> bytes:
    """Write a request."""
    return xmlrpc.client.dumps(params, method).encode()


def dump_answer(value: Any) -> bytes:
    """Write a response that carries a value."""
    return xmlrpc.client.dumps((value,), methodresponse=True).encode()


def dump_fault(errno: int, message: str) -> bytes:
    """Write a response that carries a fault."""
    fault = xmlrpc.client.Fault(errno, printable(message))
    return xmlrpc.client.dumps(fault, methodresponse=True).encode()


def printable(text: str) -> str:
    """Replace what XML cannot carry; the marshaller would write it all the same."""
    return "".join(char if char.isprintable() else "?" for char in text)


def load_call(body: bytes | str, depth: int = MAX_DEPTH) -> tuple[str, tuple[Any, ...]]:
    """Read a request as method name and parameters; Malformed if it is none."""
    name, *params = _read(body, "call document", depth)
    if not name:
        raise Malformed("the request names no method")
    return name, tuple(params[0] if params else ())


def load_answer(body: bytes) -> Any:
    """Read a response's value; its fault is raised as Fault, nonsense as Malformed."""
    answer = _read(body, "answer document", MAX_DEPTH)
    if isinstance(answer, Fault):
        raise answer
    return answer[0]


# -- the structure --------------------------------------------------------------------------------

INTS = ("int", "i4", "i8", "i1", "i2", "biginteger")
SCALARS = (*INTS, "boolean", "string", "double", "dateTime.iso8601", "base64", "nil")

GRAMMAR: dict[str, dict[str, tuple[str, str]]] = {
    "call document": {"methodCall": ("call", "end")},
    "call": {"methodName": ("text", "named call")},
    "named call": {"params": ("params", "end")},
    "params": {"param": ("param", "params")},
    "answer document": {"methodResponse": ("answer", "end")},
    "answer": {"params": ("one param", "end"), "fault": ("param", "end")},
    "one param": {"param": ("param", "end")},
    "param": {"value": ("value", "end")},
    "value": {
        **dict.fromkeys(SCALARS, ("text", "end")),
        "array": ("array", "end"),
        "struct": ("struct", "end"),
    },
    "array": {"data": ("data", "end")},
    "data": {"value": ("value", "data")},
    "struct": {"member": ("member", "struct")},
    "member": {"name": ("text", "named member")},
    "named member": {"value": ("value", "end")},
    "text": {},
    "end": {},
}
"""In which state which element may begin, the state within it, and the state after it."""
COMPLETE = {"named call", "params", "value", "data", "struct", "text", "end"}
"""States in which the element that is open may end."""
WITH_TEXT = {"text", "value"}
"""States in which text is more than a layout; a value without an element is a string."""


def _read(body: bytes | str, document: str, depth: int) -> Any:
    """Read the one value of a document."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = TEXT_BUFFER
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        return _listen(parser, document, 3 * depth + 3)(body)
    except Malformed:
        raise
    except expat.ExpatError as error:
        raise NotXml(f"no XML: {error}") from None
    except (ValueError, LookupError, ArithmeticError):
        raise Malformed("XML, but no XML-RPC") from None


def _listen(
    parser: expat.XMLParserType, state: str, most_open: int
) -> Callable[[bytes | str], Any]:
    """Hang a reader on a parser; gives what reads a body.

    Its state is in local variables, for speed: a long list has a million elements.
    `most_open` elements: methodCall, params, param; for each value itself, struct and member or
    array and data; what is in the last.
    """
    items: list[Any] = []
    text: list[str] = []
    outer: list[tuple[str, list[Any]]] = []

    def begin(tag: str, _: dict[str, str]) -> None:
        nonlocal state, items
        step = GRAMMAR[state].get(tag)
        if step is None:
            raise Malformed("XML, but no XML-RPC")
        if len(outer) >= most_open:
            raise Malformed("values nested too deeply")
        if text:
            _skip_layout(text)
        state, after = step
        outer.append((after, items))
        items = []

    def end(tag: str) -> None:
        nonlocal state, items
        if state not in COMPLETE:
            raise Malformed("XML, but no XML-RPC")
        found = ""
        if text:
            if state in WITH_TEXT:
                found = "".join(text)
                text.clear()
            else:
                _skip_layout(text)
        value = READERS[tag](items, found)
        state, items = outer.pop()
        items.append(value)

    def read(body: bytes | str) -> Any:
        parser.Parse(body, True)  # noqa: FBT003 - expat takes no keywords
        return items[0]

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    return read


def _skip_layout(text: list[str]) -> None:
    if "".join(text).strip():
        raise Malformed("text where XML-RPC has none")
    text.clear()


def _refuse_document_type(*_: object) -> None:
    raise NotXml("a document type is not accepted")


# -- the values -----------------------------------------------------------------------------------

DIGITS = re.compile(r"\s*[-+]?[0-9]+\s*")
BOOLEANS = {"0": False, "1": True}


def _all(items: list[Any], _: str) -> list[Any]:
    return items


def _first(items: list[Any], _: str) -> Any:
    return items[0]


def _text(_: list[Any], text: str) -> str:
    return text


def _name(_: list[Any], text: str) -> str:
    return text.strip()


def _value(items: list[Any], text: str) -> Any:
    return items[0] if items else text


def _struct(items: list[Any], _: str) -> dict[str, Any]:
    return dict(items)


def _int(_: list[Any], text: str) -> int:
    if not DIGITS.fullmatch(text):
        raise Malformed("an int that is no number")
    if len(text) > MOST_DIGITS:
        raise EndlessNumber("a number is beyond all bounds")
    return int(text)


def _boolean(_: list[Any], text: str) -> bool:
    return BOOLEANS[text.strip()]


def _double(_: list[Any], text: str) -> float:
    return float(text)


def _date(_: list[Any], text: str) -> datetime:
    return datetime.strptime(text.strip(), "%Y%m%dT%H:%M:%S")  # noqa: DTZ007 - it has no zone


def _base64(_: list[Any], text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


def _nil(_: list[Any], text: str) -> None:
    if text:
        raise Malformed("nil with a content")


def _fault(items: list[Any], _: str) -> Fault:
    fault = items[0] if isinstance(items[0], dict) else {}
    code, message = fault.get("faultCode"), fault.get("faultString")
    if type(code) is not int or type(message) is not str:
        raise Malformed("a fault without a number or without words")
    return Fault(code, message)


READERS: dict[str, Callable[[list[Any], str], Any]] = {
    "methodResponse": _first,
    "param": _first,
    "array": _first,
    "methodCall": _all,
    "params": _all,
    "methodName": _name,
    "name": _text,
    "value": _value,
    "struct": _struct,
    "member": _all,
    "data": _all,
    "string": _text,
    **dict.fromkeys(INTS, _int),
    "boolean": _boolean,
    "double": _double,
    "dateTime.iso8601": _date,
    "base64": _base64,
    "nil": _nil,
    "fault": _fault,
}
"""What becomes of an element, of what is in it and of its text."""
