"""Calls to a cluster: its managers are tried in turn, and a lost answer is asked for again."""

import errno
import http.client
import ssl
import time
import xmlrpc.client
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult

from vastsky_client import answers
from vastsky_client.api.access import Access, BadAccess
from vastsky_client.api.resending import GONE, Resending, how
from vastsky_client.manager_address import credentials, shown

VERSION = 5
CONNECT_SECONDS = 5.0
CALL_SECONDS = 330.0
"""Attach and detach answer when the nodes are done, which may take 300 s."""
TIMEOUT_SECONDS = 60.0
"""How long an answer that was lost is asked for again."""
PAUSE_SECONDS = 0.5
UNAVAILABLE, BROKEN = http.HTTPStatus.SERVICE_UNAVAILABLE, http.HTTPStatus.INTERNAL_SERVER_ERROR

T = TypeVar("T")

LATER = frozenset({errno.EAGAIN, errno.ETIMEDOUT, errno.EHOSTDOWN})


class Refused(xmlrpc.client.Fault):
    """The manager understood the call and declined it, or failed: `faultCode` tells which."""

    @property
    def again_later(self) -> bool:
        """Tell whether the same call may succeed later without anybody's doing."""
        return self.faultCode in LATER

    def __str__(self) -> str:
        return str(self.faultString)


class NoManager(Exception):
    """No manager took the call, which was not carried out; the text is one line for people."""


class AnswerLost(Exception):
    """A manager took the call and did not answer: it may have been carried out, or not."""


class _Unavailable(Exception):
    """This manager did not take the call."""


class _Lost(Exception):
    """This manager may have carried out the call."""


class Connection:
    """Calls methods by name, of whichever manager answers; the one that did is asked first."""

    def __init__(self, access: Access, *, call_seconds: float = CALL_SECONDS) -> None:
        self._access = access
        self._addresses = access.addresses()
        self._call_seconds = call_seconds
        self._trust = _trust(access) if any(a.scheme == "https" for a in self._addresses) else None

    def call(self, method: str, /, **members: object) -> Any:
        """Call a method with these members; Refused, NoManager or AnswerLost if it has no value."""
        return self.send(method, {"ver": VERSION, **members})

    def send(self, method: str, /, *params: Any) -> Any:
        """Call a method with these parameters as they are."""
        lost: _Lost | None = None
        until = 0.0
        while True:
            try:
                return self._ask_each(method, params, again=lost is not None)
            except _Unavailable as failure:
                if lost is None:
                    raise NoManager(str(failure)) from None
            except _Lost as failure:
                lost = failure
                until = until or time.monotonic() + min(TIMEOUT_SECONDS, self._call_seconds)
            if how(method) is Resending.NEVER or time.monotonic() >= until:
                raise AnswerLost(f"{lost}: {method} may have been carried out, or not")
            if how(method) is Resending.CONVERGING:
                params = ({**params[0], "converge": 1},)
            time.sleep(PAUSE_SECONDS)

    def _ask_each(self, method: str, params: tuple[Any, ...], *, again: bool) -> Any:
        """Ask one manager after the other, until one takes the call."""
        body = xmlrpc.client.dumps(params, method).encode()
        failures = []
        for address in list(self._addresses):
            try:
                answer = self._post(address, body)
            except _Unavailable as failure:
                failures.append(str(failure))
                continue
            except _Lost:
                self._ask_last(address)
                raise
            self._ask_first(address)
            return _value(answer, method, again=again)
        raise _Unavailable("; ".join(dict.fromkeys(failures)))

    def _ask_first(self, address: SplitResult) -> None:
        self._addresses.sort(key=lambda other: other is not address)

    def _ask_last(self, address: SplitResult) -> None:
        self._addresses.sort(key=lambda other: other is address)

    def _post(self, address: SplitResult, body: bytes) -> bytes:
        """Send one request, once; what is no answer of a manager is one of two failures."""
        headers = {"Content-Type": "text/xml", **self._credentials(address)}
        with closing(self._way(address)) as way:
            _tell(address, way.connect, _Unavailable)
            way.sock.settimeout(self._call_seconds)
            _tell(address, lambda: way.request("POST", address.path, body, headers), _Lost)
            answer = _tell(address, way.getresponse, _Lost)
            content = _tell(address, answer.read, _Lost)
        if answer.status == UNAVAILABLE:
            raise _Unavailable(f"the manager at {shown(address)} is not ready")
        if not _is_xmlrpc(content):
            failure = _Lost if answer.status >= BROKEN else _Unavailable
            raise failure(f"what answers at {shown(address)} is no manager: HTTP {answer.status}")
        return content

    def _way(self, address: SplitResult) -> http.client.HTTPConnection:
        host = address.hostname or ""
        if self._trust and address.scheme == "https":
            return http.client.HTTPSConnection(
                host, address.port, timeout=self._connect_seconds(), context=self._trust
            )
        return http.client.HTTPConnection(host, address.port, timeout=self._connect_seconds())

    def _connect_seconds(self) -> float:
        return min(CONNECT_SECONDS, self._call_seconds)

    def _credentials(self, address: SplitResult) -> dict[str, str]:
        """Say who we are: as the address says, or else by the token's file."""
        at = "@" in address.netloc
        token = self._access.token()
        if not at and token is None:
            return {}
        pair = credentials(address) if at else ":".join(token or ()).encode()
        return {"Authorization": "Basic " + b64encode(pair).decode()}


def _tell(address: SplitResult, act: Callable[[], T], failure: type[Exception]) -> T:
    try:
        return act()
    except ssl.SSLError as error:
        text = getattr(error, "verify_message", "") or error.reason or str(error)
        raise failure(f"no trust in the manager at {shown(address)}: {text}") from None
    except OSError as error:
        reason = error.strerror or error
        raise failure(f"cannot reach the manager at {shown(address)}: {reason}") from None
    except (http.client.HTTPException, ValueError):
        raise failure(f"what answers at {shown(address)} is no manager") from None


def _trust(access: Access) -> ssl.SSLContext:
    file = str(Path(access.authority_file).expanduser()) if access.authority_file else None
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as failure:
        reason = failure.strerror or failure
        raise BadAccess(f"authority_file {file} cannot be used: {reason}") from None


def _is_xmlrpc(content: bytes) -> bool:
    try:
        answers.read(content)
    except xmlrpc.client.Fault:
        return True
    except answers.Unreadable:
        return False
    return True


def _value(content: bytes, method: str, *, again: bool) -> Any:
    """Take the value out of an answer; that a lost deletion has happened is its success."""
    try:
        return answers.read(content)
    except xmlrpc.client.Fault as fault:
        if again and how(method) is Resending.UNTIL_GONE and fault.faultCode == GONE:
            return 0
        raise Refused(fault.faultCode, fault.faultString) from None
