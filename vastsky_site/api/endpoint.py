"""The API at /RPC2: who may call, what is read, and how every outcome becomes text/xml."""

import logging
import time
import xmlrpc.client
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from threading import BoundedSemaphore
from typing import Any, TypeVar

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.http import HttpRequest, HttpResponse
from modernrpc import Protocol, RpcRequestContext, RpcServer
from modernrpc.exceptions import RPCException, RPCMethodNotFound, RPCParseError
from modernrpc.xmlrpc.handler import XmlRpcHandler

import inventory.server_rpc
import volumes.api.event_rpc
import volumes.api.operator_rpc
import volumes.api.plan_rpc
import volumes.api.register_rpc
import volumes.api.rpc
import volumes.api.sample_rpc
import volumes.api.scrub_rpc
import volumes.api.volume_rpc
import volumes.api.webhook_rpc
from inventory import calls, outages
from inventory.errors import Invalid, Refused, TimedOut, TryAgain
from vastsky_site.access import authorization
from vastsky_site.access.authentication import Caller, Denied, identify
from vastsky_site.api import bodies, signatures, token_rpc
from vastsky_site.api.bodies import PATH
from vastsky_site.api.call_counts import counted, counts
from vastsky_site.api.xml import ECHOED

logger = logging.getLogger(__name__)

BODY_BYTES = 2 * 1024 * 1024

E2BIG, EACCES, INVALID_REQUEST, INTERNAL = 7, 13, -32600, 500

LONGEST_CALL = 280
"""Seconds: old clients hang up at 300."""

reading = BoundedSemaphore(2)
"""Places for calls that only read. More at once are not answered sooner: one thread of Python runs
at a time, and SQLite gives that up at every row, so that many long lists wait for each other row by
row. A second place lets short calls pass a long list."""

REPEATABLE = authorization.READS | {
    "notifyFailure",
    "notifyBadBlocks",
    "notifyShredFinished",
    "notifyRebuildMirrorFinished",
}
"""What may be done again though it may have been done: the second time changes nothing."""

View = Callable[[HttpRequest], HttpResponse]
T = TypeVar("T")


# -- the call -------------------------------------------------------------------------------------


def rpc_first(get_response: View) -> View:
    """Middleware: answer /RPC2 before anything of the console can answer it with a page."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return endpoint(request) if request.path_info == PATH else get_response(request)

    return middleware


def endpoint(request: HttpRequest) -> HttpResponse:
    """Answer one call before its caller hangs up."""
    arrived = request.META.get(bodies.ARRIVED, time.monotonic())
    rest = request.META.get(bodies.REST, nullcontext)
    with calls.answering(calls.Call(arrived + _seconds(), rest)):
        return _answer(request)


def _answer(request: HttpRequest) -> HttpResponse:
    """Answer one call; the body is not touched before the caller is known."""
    try:
        caller = _ride_out(partial(identify, request), repeatable=True)
    except Denied as denied:
        counts.deny(denied.status)
        refusal = _fault(EACCES, str(denied), denied.status)
        refusal["WWW-Authenticate"] = 'Basic realm="vastsky"'
        return refusal
    except TryAgain as refused:
        return _fault(refused.errno, str(refused))
    except DatabaseFailure:
        logger.exception("the database does not say whose token this is")
        return _fault(INTERNAL, "internal server error", status=503)
    if request.method != "POST":
        refusal = _fault(INVALID_REQUEST, "a method call is sent with POST", status=405)
        refusal["Allow"] = "POST"
        return refusal
    return _perform(request, caller)


def _perform(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Do what the body says, or let it come first."""
    if bodies.AWAITED in request.META and _announced(request) <= BODY_BYTES:
        return HttpResponse(status=bodies.LET_IN)
    try:
        body = _read(request)
    except RPCException as error:
        return _fault(error.code, error.message)
    context = RpcRequestContext(request, server, handler, Protocol.XML_RPC)
    with authorization.calling_as(caller):
        return _respond(handler.process_request(body, context))  # type: ignore[arg-type]  # bytes


def _read(request: HttpRequest) -> bytes:
    size = _announced(request)
    try:
        if size > BODY_BYTES:
            raise RPCException(E2BIG, f"the call has {size} bytes; {BODY_BYTES} are the limit")
        body = request.read(size)
    except OSError:
        raise RPCParseError("the body did not arrive") from None
    if not body:
        raise RPCParseError("the body is empty, or came without Content-Length")
    return body


def _announced(request: HttpRequest) -> int:
    """Read Content-Length as Django does, which reads no further than it says."""
    try:
        return max(0, int(request.headers.get("Content-Length", "")))
    except ValueError:
        return 0


def _fault(code: int, text: str, status: int = 200) -> HttpResponse:
    fault = xmlrpc.client.Fault(code, text)
    return _respond(xmlrpc.client.dumps(fault, methodresponse=True), status)


def _respond(text: str, status: int = 200) -> HttpResponse:
    response = HttpResponse(text.encode(), content_type="text/xml", status=status)
    response["Content-Length"] = str(len(response.content))
    return response


# -- the methods ----------------------------------------------------------------------------------


def guarded(name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
    """Make a value or a fault of every outcome; a bug is logged and gives nothing away.

    modern-rpc would report a TypeError as the caller's mistake, and send the text of any other.
    """

    def method(*params: object) -> Any:
        try:
            authorization.require(name)
            if not calls.left(1):
                raise TimedOut("the call could not be begun in time: too many are under way")
            result = _ride_out(partial(answer, *params), repeatable=name in REPEATABLE)
        except Refused as refusal:
            raise RPCException(refusal.errno, str(refusal)) from None
        except RPCMethodNotFound:
            raise
        except Exception:
            logger.exception("%s failed", name)
            raise RPCException(INTERNAL, "internal server error") from None
        return 0 if result is None else result

    method.__doc__ = answer.__doc__
    return method


def _ride_out(work: Callable[[], T], *, repeatable: bool) -> T:
    """Do it, and again while the database fails in passing, until the caller's time is over.

    Every method is one transaction, or several of which each may be repeated; those that wait for
    nodes then wait whatever the database does.
    """
    return outages.ride_out(work, seconds=_seconds(), repeatable=repeatable)


def _seconds() -> float:
    return min(settings.VASTSKY_ATTACH_SECONDS, LONGEST_CALL)


def _call(
    name: str, procedure: Callable[..., Any], *, wanted: tuple[signatures.Parameter, ...]
) -> Any:
    place = reading if name in authorization.READS else nullcontext()

    def answer(*params: object) -> Any:
        arguments = signatures.arguments(wanted, params)
        with place:
            return authorization.perform(name, procedure, arguments)

    answer.__doc__ = _help(procedure, wanted)
    return answer


def _help(procedure: Callable[..., Any], wanted: tuple[signatures.Parameter, ...]) -> str:
    lines = [
        f"  {m.name} {signatures.describe(m.kind)}{'' if m.required else ', optional'}"
        for m in wanted
    ]
    return "\n".join([procedure.__doc__ or "", "", "One struct with", "  ver int, 5", *lines])


def _about(method: object) -> Any:
    if not isinstance(method, str):
        raise Invalid("the parameter is the name of a method, a string")
    return server.get_procedure_wrapper(method[:ECHOED], Protocol.XML_RPC)


def list_methods() -> list[str]:
    """Return the names of all methods."""
    return sorted(server.procedures)


def method_help(method: object) -> str:
    """Return what a method does and the members of its struct."""
    text: str = _about(method).text_doc
    return text


def method_signature(method: object) -> list[list[str]]:
    """Return the one signature of a method: its result, then its parameters."""
    return [SIGNATURES[_about(method).name]]


def _system(function: Callable[..., Any], *, count: int) -> Callable[..., Any]:
    def answer(*params: object) -> Any:
        if len(params) != count:
            raise Invalid(f"the method takes {count} parameters, not {len(params)}")
        return function(*params)

    answer.__doc__ = function.__doc__
    return answer


PROCEDURES: dict[str, Callable[..., Any]] = {
    **inventory.server_rpc.PROCEDURES,
    **volumes.api.rpc.PROCEDURES,
    **volumes.api.volume_rpc.PROCEDURES,
    **volumes.api.operator_rpc.PROCEDURES,
    **volumes.api.register_rpc.PROCEDURES,
    **volumes.api.scrub_rpc.PROCEDURES,
    **volumes.api.plan_rpc.PROCEDURES,
    **token_rpc.PROCEDURES,
    **volumes.api.event_rpc.PROCEDURES,
    **volumes.api.webhook_rpc.PROCEDURES,
    **volumes.api.sample_rpc.PROCEDURES,
}
SIGNATURES: dict[str, list[str]] = {
    "system.listMethods": ["array"],
    "system.methodHelp": ["string", "string"],
    "system.methodSignature": ["array", "string"],
}


def build_server() -> RpcServer:
    """Put every method into modern-rpc's registry, each behind the guard; no multicall."""
    registry = RpcServer(register_system_procedures=False, supported_protocol=Protocol.XML_RPC)
    register = partial(_register, registry)
    register("system.listMethods", _system(list_methods, count=0))
    register("system.methodHelp", _system(method_help, count=1))
    register("system.methodSignature", _system(method_signature, count=1))
    for name, procedure in PROCEDURES.items():
        returns = signatures.result_name(procedure)
        SIGNATURES[name] = [returns, "struct"]
        register(name, _call(name, procedure, wanted=signatures.members(procedure)))
    return registry


def _register(registry: RpcServer, name: str, answer: Callable[..., Any]) -> None:
    method = counted(name, guarded(name, answer))
    registry.register_procedure(method, name=name, protocol=Protocol.XML_RPC)


server = build_server()
handler = XmlRpcHandler()
