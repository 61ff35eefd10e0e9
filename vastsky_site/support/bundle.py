"""The support bundle: what one needs to help, as a compressed archive that is made as it is read.

It is bounded, has no secrets, and is whole even where a part of it cannot be made: the error then
stands in the place of the part.
"""

import io
import logging
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from django.db import transaction

from agents.version import VERSION
from inventory import audit
from vastsky_site.support import facts, logs, masking, node_logs
from vastsky_site.support.tables import TABLES

logger = logging.getLogger(__name__)

MOST_BYTES = 4 << 20
"""Of each part; of logs the end is kept, of all else the beginning."""
CUT = "\n(cut here: a part has 4 MiB at most)\n"


@dataclass(frozen=True, slots=True)
class BundlePart:
    """One file of the bundle."""

    name: str
    what: str
    make: Callable[[], str]


PARTS = (
    BundlePart(
        "versions.txt",
        "the releases of manager, nodes, database and packages",
        lambda: _lines(facts.versions()),
    ),
    BundlePart(
        "settings.txt", "all settings but the secret ones", lambda: _lines(facts.settings())
    ),
    BundlePart(
        "problems.txt", "the verdict and what is wrong now", lambda: _lines(facts.problems())
    ),
    BundlePart("fsck.txt", "what fsck finds in the database", lambda: _lines(facts.violations())),
    BundlePart("check.txt", "what check --deploy finds", lambda: _lines(facts.deployment())),
    BundlePart(
        "migrations.txt", "the migrations of the database", lambda: _lines(facts.migrations())
    ),
    *(BundlePart(f"tables/{one.name}.csv", f"rows: {one.name}", one.csv) for one in TABLES),
    BundlePart("logs/journal.log", "the journal of the manager's units", logs.journal),
)
OTHERS = (
    "logs/*.log: the end of each log file in the manager's folder",
    "nodes/*/*.log: the ends of each node's logs; no-logs.txt: why there are none",
)


@transaction.atomic
def note(name: str) -> None:
    """Have the audit log tell who took it: it says much of the cluster."""
    audit.record(audit.Action.TAKE_SUPPORT_BUNDLE, name)


def stream() -> Iterator[bytes]:
    """Give the archive piece by piece."""
    sink = _Sink()
    folder = time.strftime("vastsky-support-%Y%m%d-%H%M%S", time.gmtime())
    with tarfile.open(fileobj=sink, mode="w|gz") as archive:
        for name, text in _texts():
            _add(archive, f"{folder}/{name}", text)
            yield sink.taken()
    yield sink.taken()


def _texts() -> Iterator[tuple[str, str]]:
    yield "README.txt", _readme()
    for part in PARTS:
        yield part.name, masking.mask(_shorten(_made(part.name, part.make)))
    for path in logs.files():
        text = _made(path.name, partial(logs.tail, path, MOST_BYTES))
        yield f"logs/{path.name}", masking.mask(text)
    for name, text in node_logs.texts():
        yield name, masking.mask(_shorten(text))


def _made(name: str, make: Callable[[], str]) -> str:
    """Make a part; where that fails, which may be why help is wanted, the error is the part."""
    try:
        return make()
    except Exception as error:
        logger.exception("a part of the support bundle failed: %s", name)
        return f"This part could not be made: {type(error).__name__}: {error}\n"


def _readme() -> str:
    return f"A support bundle of VastSky {VERSION}. Secrets are masked.\n\n" + _lines(
        (*(f"{part.name}: {part.what}" for part in PARTS), *OTHERS)
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines) or "nothing\n"


def _shorten(text: str) -> str:
    return text if len(text) <= MOST_BYTES else text[:MOST_BYTES] + CUT


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    about = tarfile.TarInfo(name)
    about.size, about.mtime, about.mode = len(content), int(time.time()), 0o600
    archive.addfile(about, io.BytesIO(content))


class _Sink(io.RawIOBase):
    """What the archive writes to: it gives away what it got."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: object) -> int:
        content = bytes(piece)  # type: ignore[call-overload]  # tarfile writes bytes
        self._pieces.append(content)
        return len(content)

    def taken(self) -> bytes:
        """Give what was written since the last time."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole
