"""Calls to /RPC2 with the standard client: every method takes one struct with `ver`."""

import http.client
import xmlrpc.client
from typing import Any

VERSION = 5
LONGEST_CALL = 330
"""Seconds; attach and detach answer when the nodes are done."""


class RpcCalls:
    """`call("listHeadServers", hsvrid=1)`; a refusal is an xmlrpc.client.Fault."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, method: str, **members: object) -> Any:
        # A connection for each call: calls come from several threads.
        with xmlrpc.client.ServerProxy(self._url, transport=_Patient()) as server:
            return getattr(server, method)({"ver": VERSION, **members})


class _Patient(xmlrpc.client.Transport):
    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = LONGEST_CALL
        return connection
