"""modern-rpc's XML backend made strict: bounded, no DTD, and every outcome is well-formed."""

import logging
import re
import xml.parsers.expat
import xmlrpc.client

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]  # it has no types
from defusedxml.xmlrpc import DefusedExpatParser  # type: ignore[import-untyped]  # likewise
from modernrpc.exceptions import RPCException, RPCInvalidRequest, RPCMarshallingError, RPCParseError
from modernrpc.xmlrpc.backends.xmlrpc import PythonXmlRpcDeserializer, PythonXmlRpcSerializer
from modernrpc.xmlrpc.handler import XmlRpcRequest, XmlRpcResult

logger = logging.getLogger(__name__)

DEPTH = 16
"""How deep values may be nested."""

# methodCall, params, param and value; three elements for each deeper value; what is in the deepest.
ELEMENT_DEPTH = 4 + 3 * (DEPTH - 1) + 2

NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that no XML document may hold, not even as references."""

UNREADABLE = (
    xmlrpc.client.Error,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
)
"""What the standard library's unmarshaller lets out for a document that is XML, but no call."""


class StrictDeserializer(PythonXmlRpcDeserializer):
    """Reads a call; whatever is wrong with it becomes fault -32700 or -32600."""

    def loads(self, data: str | bytes) -> XmlRpcRequest:
        """Read a call from the bytes as they came: their encoding is the XML declaration's."""
        target = _BoundedUnmarshaller(use_builtin_types=True)
        parser = DefusedExpatParser(target, forbid_dtd=True)
        try:
            parser.feed(data)
            parser.close()
            params = target.close()
        except xml.parsers.expat.ExpatError as error:
            raise RPCParseError(str(error)) from None
        except DefusedXmlException:
            raise RPCParseError("a document type or entities are not accepted") from None
        except UNREADABLE:
            raise RPCInvalidRequest("the document is no XML-RPC method call") from None
        name = target.getmethodname()
        if not isinstance(name, str) or not name.strip():
            raise RPCInvalidRequest("the call names no method")
        return XmlRpcRequest(name.strip(), list(params))


class _BoundedUnmarshaller(xmlrpc.client.Unmarshaller):
    """The standard unmarshaller, with a bound on nesting."""

    def __init__(self, *, use_builtin_types: bool) -> None:
        super().__init__(use_builtin_types=use_builtin_types)
        self._elements = 0

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > ELEMENT_DEPTH:
            raise xmlrpc.client.ResponseError("nested too deeply")
        super().start(tag, attrs)

    def end(self, tag: str) -> None:
        self._elements -= 1
        super().end(tag)


class StrictSerializer(PythonXmlRpcSerializer):
    """Writes an answer; what XML-RPC cannot carry becomes fault 500 and a line in the log."""

    def dumps(self, result: XmlRpcResult) -> str:
        """Write an answer that any XML parser accepts."""
        try:
            text: str = super().dumps(result)
        except RPCMarshallingError as error:
            # modern-rpc's message holds the result itself; it goes to the log only.
            logger.error("an answer cannot be sent as XML-RPC", exc_info=error)  # noqa: TRY400
            raise RPCException(500, "internal server error") from None
        return NOT_XML.sub("\ufffd", text)
