"""The whole API as one object: a method for each method of the managers."""

from typing import Any

from vastsky_client.api.access import Access, load
from vastsky_client.api.connection import CALL_SECONDS, Connection
from vastsky_client.api.node_calls import NodeCalls
from vastsky_client.api.server_calls import ServerCalls
from vastsky_client.api.volume_calls import VolumeCalls
from vastsky_client.api.webhook_calls import WebhookCalls
from vastsky_client.api.work_calls import WorkCalls


class Manager(VolumeCalls, ServerCalls, WorkCalls, WebhookCalls, NodeCalls):
    """The managers of a cluster; whichever answers. Made in one thread, used in one thread."""

    def __init__(self, access: Access, *, call_seconds: float = CALL_SECONDS) -> None:
        super().__init__(Connection(access, call_seconds=call_seconds))

    @classmethod
    def from_environment(cls) -> "Manager":
        """Go by VASTSKY_MANAGERS and its like, or by ~/.config/vastsky.toml."""
        return cls(load())

    def call(self, method: str, /, **members: object) -> Any:
        """Call a method by its name on the wire, be it one that this release does not know."""
        return self._call(method, **members)

    def list_methods(self) -> list[str]:
        """Name the methods that a running manager offers."""
        return list(self._connection.send("system.listMethods"))

    def method_help(self, method: str) -> str:
        """Tell what a method does and the members of its struct."""
        return str(self._connection.send("system.methodHelp", method))

    def method_signature(self, method: str) -> list[list[str]]:
        """Tell what a method takes and returns."""
        return list(self._connection.send("system.methodSignature", method))
