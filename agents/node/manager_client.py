"""The manager as an agent sees it."""

import base64
import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.node.config import ConfigError, read_token
from agents.protocol import VERSION
from agents.struct_codec import Malformed
from agents.transport import Deadline, Endpoint, Unreachable, call
from agents.xmlrpc import Fault

__all__ = ["Fault", "ManagerClient", "NoManager"]

CALL_SECONDS = 20.0
CONNECT_SECONDS = 2.0


class NoManager(Exception):
    """The manager does not answer, or not sensibly, now."""


class ManagerClient:
    """Calls the manager's methods, with this node's token if it has one."""

    def __init__(
        self, peers: Sequence[Endpoint], token_name: str = "", token_file: Path = Path()
    ) -> None:
        self._peers = tuple(peers)
        self._first = 0
        self._token_name = token_name
        self._token_file = token_file

    def call(self, method: str, /, **struct: Any) -> Any:
        """Call one method; its refusal is a Fault, anything that may pass is NoManager.

        Of several managers, or addresses of one, the one that answered last is asked first. The
        next may be asked what the last one did already: all that agents call may come twice.
        """
        reasons: list[str] = []
        first = self._first
        for step in range(len(self._peers)):
            number = (first + step) % len(self._peers)
            try:
                answer = self._ask(self._peers[number], method, struct)
            except NoManager as error:
                reasons.append(str(error))
                continue
            except Fault:
                self._first = number
                raise
            self._first = number
            return answer
        raise NoManager("; ".join(reasons))

    def _ask(self, peer: Endpoint, method: str, struct: dict[str, Any]) -> Any:
        try:
            return call(
                self._authorized(peer),
                method,
                {"ver": VERSION, **struct},
                deadline=Deadline(CALL_SECONDS),
                connect_timeout=CONNECT_SECONDS,
            )
        except (Unreachable, Malformed, ConfigError) as error:
            raise NoManager(str(error)) from None

    def _authorized(self, peer: Endpoint) -> Endpoint:
        """Read the token anew for each call, so that it can be replaced while the agent runs."""
        if not self._token_name:
            return peer
        pair = f"{self._token_name}:{read_token(self._token_file)}"
        encoded = base64.b64encode(pair.encode()).decode()
        return replace(peer, authorization=f"Basic {encoded}")

    def number(self, method: str, /, **struct: Any) -> int:
        """Call a method that answers an id."""
        return int(_checked(self.call(method, **struct), int, method))

    def table(self, method: str, /, **struct: Any) -> dict[str, Any]:
        """Call a method that answers a struct."""
        return dict(_checked(self.call(method, **struct), dict, method))

    def rows(self, method: str, /, **struct: Any) -> list[dict[str, Any]]:
        """Call a method that answers an array of structs; [] if it knows none."""
        try:
            rows = _checked(self.call(method, **struct), list, method)
        except Fault as fault:
            if fault.errno == errno.ENOENT:
                return []
            raise
        return [_checked(row, dict, method) for row in rows]


def _checked(value: Any, kind: type[Any], method: str) -> Any:
    if type(value) is not kind:
        raise NoManager(f"{method} answered a {type(value).__name__}")
    return value
