"""What a manager answers, read as XML-RPC, for the commands and for the Python client."""

import xmlrpc.client
from typing import Any
from xml.parsers.expat import ExpatError


class Unreadable(Exception):
    """What answered is no manager: it does not speak XML-RPC."""


def read(content: bytes) -> Any:
    """Take the value out of an answer, whatever its status: the 401 of a manager has a fault.

    A refusal is an xmlrpc.client.Fault.
    """
    try:
        (value,), _ = xmlrpc.client.loads(content)
    except (xmlrpc.client.ResponseError, ExpatError, ValueError):
        raise Unreadable from None
    return value
