"""Log lines as text or as JSON, each with what it belongs to: a request, a job, an event."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

FIELDS = ("request", "job", "event")
"""What a line may belong to; a record's own, given as `extra`, counts before its thread's."""

_about: ContextVar[tuple[tuple[str, str | int], ...]] = ContextVar("about", default=())


@contextmanager
def about(**fields: str | int) -> Iterator[None]:
    """Let all lines of this thread tell in here what they belong to."""
    token = _about.set((*_about.get(), *fields.items()))
    try:
        yield
    finally:
        _about.reset(token)


class TextLine(logging.Formatter):
    """A line for people; what it belongs to stands at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base class's name
        """Write the line, without the traceback that may follow."""
        belongs = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return super().formatMessage(record) + (f" [{belongs}]" if belongs else "")


class JsonLine(logging.Formatter):
    """A line for programs: one JSON object, with the traceback in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        told: dict[str, object] = {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


FORMS: dict[str, type[logging.Formatter]] = {"text": TextLine, "json": JsonLine}


def _fields(record: logging.LogRecord) -> dict[str, str | int]:
    fields = dict(_about.get())
    fields |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
    return {name: fields[name] for name in FIELDS if name in fields}
