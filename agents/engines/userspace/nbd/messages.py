"""The NBD protocol's numbers, as in the project's doc/proto.md, and what a served device is."""

import struct
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

GREETING = struct.Struct(">QQH")
OPTION = struct.Struct(">QII")
OPTION_REPLY = struct.Struct(">QIII")
REQUEST = struct.Struct(">IHHQQI")
SIMPLE_REPLY = struct.Struct(">IIQ")
CHUNK = struct.Struct(">IHHQI")
CHUNK_START = struct.Struct(">IHHQ")
"""A chunk's header without its length: as long as a simple reply, to read either first."""

NBD_MAGIC = 0x4E42444D41474943
OPTION_MAGIC = 0x49484156454F5054
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
CHUNK_MAGIC = 0x668E33EF

FIXED_NEWSTYLE, NO_ZEROES = 1, 2

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_INFO, OPT_GO = 1, 2, 3, 6, 7
OPT_STRUCTURED_REPLY, OPT_LIST_META, OPT_SET_META = 8, 9, 10
OPT_OWN = 0x56410001
"""Ours: the connection to come is the export's owner; the server ends the owner before it.

A replica that comes back must not meet requests of its former connection that still lie in the
server's buffers. Other servers answer "unsupported", which is fine for a first connection.
"""

REP_ACK, REP_SERVER, REP_INFO, REP_META = 1, 2, 3, 4
REP_ERROR = 1 << 31
REP_UNSUPPORTED, REP_INVALID, REP_UNKNOWN = REP_ERROR + 1, REP_ERROR + 3, REP_ERROR + 6

INFO_EXPORT, INFO_DESCRIPTION, INFO_BLOCK_SIZE = 0, 2, 3
META_ALLOCATION = "base:allocation"
META_ALLOCATION_ID = 1

READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, WITHOUT_FRAGMENTS, REQUEST_ONE = 1, 2, 4, 8

HAS_FLAGS, READ_ONLY, SENDS_FLUSH, SENDS_FUA, ROTATIONAL, SENDS_TRIM, SENDS_ZEROES, SENDS_DF = (
    1 << bit for bit in range(8)
)
MULTI_CONNECTION = 1 << 8

CHUNK_DONE = 1
CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS = 1, 2, 5
CHUNK_ERROR = 1 << 15

HOLE, ZERO = 1, 2

MAX_PAYLOAD = 32 << 20

Done = Callable[[int, Any], None]
"""Called once with an errno (0: done) and, for READ and BLOCK_STATUS, what was read."""


class ServedDevice(Protocol):
    """What can be served, and what a connection to a served one looks like."""

    size: int
    flags: int

    def submit(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: Done
    ) -> None:
        """Start one request inside the device's bounds; `done` may be called before it returns."""


@runtime_checkable
class Lingering(Protocol):
    """A device at which threads may still work for connections that are gone."""

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call once no thread works on it any more."""
