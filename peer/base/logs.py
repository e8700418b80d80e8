"""Logs: one line for each event, on stderr. Warnings by default. ``--verbose`` shows all, ``--json`` as objects."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

from peer.base.terminal import LogHandler
from protocol.visible import visible

_LOGGER: Final = logging.getLogger("peer")
_OURS: Final = ("peer", "strategy", "protocol", "crypto")

Field = str | int | float | None
"""The type of an event's fields."""


def event(what: str, level: int = logging.INFO, **fields: Field) -> None:
    """Log an event: its name in kebab-case, and its fields."""
    report(what, fields, level)


def report(what: str, fields: Mapping[str, Field], level: int = logging.INFO) -> None:
    """As `event`, with the fields in a mapping."""
    _LOGGER.log(level, what, extra={"fields": dict(fields)})


def set_up() -> None:
    """Send warnings and errors to stderr."""
    handler = LogHandler()
    handler.setFormatter(_PlainLine())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    _set_level(logging.WARNING)


def show_more() -> None:
    """``--verbose``: show our debug logs too, but not those of other packages."""
    _set_level(logging.DEBUG)


def write_json() -> None:
    """``--json``: write each line as an object."""
    for handler in logging.root.handlers:
        handler.setFormatter(_JsonLine())


def writes_json() -> bool:
    """Whether `write_json` was called."""
    return any(isinstance(handler.formatter, _JsonLine) for handler in logging.root.handlers)


def verbose() -> bool:
    """Whether `show_more` was called."""
    return _LOGGER.isEnabledFor(logging.DEBUG)


def _set_level(level: int) -> None:
    for name in _OURS:
        logging.getLogger(name).setLevel(level)


class _PlainLine(logging.Formatter):
    """``2026-11-27 12:34:56+0100 info reply-arrived client=hospital-a bytes=1024``"""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={_plain(value)}" for key, value in _fields(record).items())
        message = visible(record.getMessage())  # other packages may write several lines
        line = f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S%z')} {record.levelname.lower()} {message}{fields}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class _JsonLine(logging.Formatter):
    """``{"time": ..., "level": ..., "event": ..., "logger": ..., fields}``"""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info is not None:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Field]:
    fields: dict[str, Field] = getattr(record, "fields", {})
    return fields


def _plain(value: Field) -> str:
    """The value, quoted if its end would be unclear."""
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return json.dumps(text) if not text or not text.isprintable() or any(c in text for c in ' "=') else text
