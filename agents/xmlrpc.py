"""XML-RPC bodies: written plainly, read with suspicion."""

import xmlrpc.client
from typing import Any
from xml.parsers import expat

from agents.errors import AgentError
from agents.protocol import Malformed

MAX_DEPTH = 64
"""Elements inside elements; the deepest order, an attach, needs 30."""

BROKEN = (
    xmlrpc.client.ResponseError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
)
"""What the standard unmarshaller raises when tags come in an order it never expected."""


class Fault(AgentError):
    """The other side understood and declined."""


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


def load_call(body: bytes) -> tuple[str, tuple[Any, ...]]:
    """Read a request as method name and parameters; Malformed if it is none."""
    try:
        params, method = _parse(body)
    except Fault:
        raise Malformed("a fault is no request") from None
    if not method:
        raise Malformed("the request names no method")
    return method, params


def load_answer(body: bytes) -> Any:
    """Read a response's value; its fault is raised as Fault, nonsense as Malformed."""
    params, method = _parse(body)
    if method is not None or len(params) != 1:
        raise Malformed("the answer is no single value")
    return params[0]


def _parse(body: bytes) -> tuple[tuple[Any, ...], str | None]:
    target = xmlrpc.client.Unmarshaller(use_builtin_types=True)
    parser = _parser(target)
    try:
        parser.Parse(body, True)  # noqa: FBT003 - expat takes no keywords
        return target.close(), target.getmethodname()
    except xmlrpc.client.Fault as fault:
        if type(fault.faultCode) is not int:
            raise Malformed("a fault without a number") from None
        raise Fault(fault.faultCode, str(fault.faultString)) from None
    except Malformed:
        raise
    except expat.ExpatError as error:
        raise Malformed(f"no XML: {error}") from None
    except BROKEN:
        raise Malformed("XML, but no XML-RPC") from None


def _parser(target: xmlrpc.client.Unmarshaller) -> expat.XMLParserType:
    """Feed `target`, but no document type (nor any entity of its making) and no tower of tags."""
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise Malformed(f"elements deeper than {MAX_DEPTH}")
        target.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        target.end(tag)

    def refuse(*_: object) -> None:
        raise Malformed("a document type is not accepted")

    target.xml("", None)  # expat decodes
    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = target.data
    parser.StartDoctypeDeclHandler = refuse
    return parser
