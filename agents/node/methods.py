"""From a request's body to a response's: version, types, the method table, faults."""

import errno
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents.errors import AgentError
from agents.protocol import NODE, VERSION
from agents.struct_codec import Malformed, from_struct, to_struct
from agents.xmlrpc import dump_answer, dump_fault, load_call

logger = logging.getLogger(__name__)

INTERNAL = 500


@dataclass(frozen=True, slots=True)
class Method:
    """What an agent can be told: the dataclass of its one struct, and who obeys."""

    kind: type[Any]
    obey: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A struct without members of its own."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which order a report is asked for."""

    eventid: int
    order: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Whose results may be forgotten."""

    eventids: tuple[int, ...]


def answer(methods: dict[str, Method], body: bytes | None, node_uuid: str = "") -> bytes:
    """Answer a request to this node with a value or a fault, never with an exception."""
    if body is None:
        return dump_fault(errno.EINVAL, "the request is too long")
    name = "?"
    try:
        name, params = load_call(body)
        return dump_answer(_call(methods, name, params, node_uuid))
    except Malformed as error:
        return dump_fault(errno.EINVAL, str(error))
    except AgentError as error:
        logger.info("%s refused: %s", name, error)
        return dump_fault(error.errno, str(error))
    except (OSError, sqlite3.Error) as error:
        logger.exception("%s failed", name)
        return dump_fault(getattr(error, "errno", None) or errno.EIO, str(error))
    except Exception:
        logger.exception("%s failed", name)
        return dump_fault(INTERNAL, "internal error; see the agent's log")


def _call(methods: dict[str, Method], name: str, params: tuple[Any, ...], node_uuid: str) -> Any:
    method = methods.get(name)
    if method is None:
        raise AgentError(errno.ENOSYS, f"no method {name[:80]!r} here")
    if len(params) != 1 or not isinstance(params[0], dict):
        raise Malformed("one struct is wanted")
    version = params[0].get("ver")
    if type(version) is not int or version != VERSION:
        raise AgentError(errno.EPROTO, f"version {VERSION} is wanted")
    meant = params[0].get(NODE, node_uuid)
    if meant != node_uuid:
        # It has moved to other addresses, and these are ours now: its orders are not.
        raise AgentError(errno.EREMCHG, f"this is node {node_uuid}, and not {str(meant)[:80]}")
    result = method.obey(from_struct(method.kind, params[0]))
    return 0 if result is None else to_struct(result)
