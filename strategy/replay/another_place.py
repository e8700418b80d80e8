"""Another time and another place, to see whether an app does the same thing there.

What a run records does not say what day it was, nor what the machine is called. An app that sends such a thing differs
from itself here, and so says nothing about its server.
"""

from __future__ import annotations

import datetime
import os
import platform
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest import mock

SHIFT: Final = datetime.timedelta(days=400, hours=5, minutes=7, seconds=11)
"""To another year, month, day of the week, hour and minute."""
_SECONDS: Final = SHIFT.total_seconds()
NAME: Final = "another-place"
"""Of the machine and of its user."""
RELEASE: Final = f"4.19.0-{NAME}"
"""Of the system's kernel, which computes nothing."""
_CARD: Final = 0x02_00_00_00_00_01
"""The number of the machine's network card."""


@contextmanager
def another_place() -> Iterator[None]:
    """Have Python's own functions tell another time, machine, system and user, and threads take other turns."""
    system = os.uname()
    renamed = os.uname_result((system.sysname, NAME, RELEASE, NAME, system.machine))
    replaced: list[tuple[object, str, Callable[..., Any] | type]] = [
        (datetime, "datetime", _Datetime),
        (datetime, "date", _Date),
        (os, "uname", lambda: renamed),
        (os, "cpu_count", _plus_one(os.cpu_count)),
        (platform, "node", lambda: NAME),
        (uuid, "getnode", lambda: _CARD),
        (socket, "gethostname", lambda: NAME),
        (socket, "getfqdn", lambda name="": name or NAME),
        *_times(time.time, time.time_ns),
    ]
    interval = sys.getswitchinterval()
    with ExitStack() as stack:
        sys.setswitchinterval(interval / 100)
        stack.callback(sys.setswitchinterval, interval)
        home = stack.enter_context(TemporaryDirectory(prefix=f"{NAME}-"))
        for module, name, function in replaced:
            stack.enter_context(mock.patch.object(module, name, function))
        stack.enter_context(mock.patch.dict(os.environ, HOME=home, USER=NAME, LOGNAME=NAME))
        # what `platform` has found out already
        stack.enter_context(mock.patch.object(platform, "_uname_cache", None))
        stack.enter_context(mock.patch.dict(platform._platform_cache, clear=True))  # type: ignore[attr-defined]
        yield


def _plus_one(count: Callable[[], int | None]) -> Callable[[], int]:
    return lambda: (count() or 1) + 1


def _times(now: Callable[[], float], in_nanoseconds: Callable[[], int]) -> Iterator[tuple[object, str, Any]]:
    yield time, "time", lambda: now() + _SECONDS
    yield time, "time_ns", lambda: in_nanoseconds() + int(_SECONDS) * 10**9
    for name in ("localtime", "gmtime", "ctime"):
        yield time, name, _at(getattr(time, name), lambda: now() + _SECONDS)
    strftime, asctime, local = time.strftime, time.asctime, time.localtime
    yield time, "strftime", lambda form, at=None: strftime(form, local(now() + _SECONDS) if at is None else at)
    yield time, "asctime", lambda at=None: asctime(local(now() + _SECONDS) if at is None else at)


def _at(function: Callable[[float], Any], now: Callable[[], float]) -> Callable[..., Any]:
    return lambda seconds=None: function(now() if seconds is None else seconds)


class _AnyDate(type):
    """Real dates are instances too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])


class _Datetime(datetime.datetime, metaclass=_AnyDate):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return super().now(tz) + SHIFT

    @classmethod
    def utcnow(cls) -> Any:
        return super().now(datetime.UTC).replace(tzinfo=None) + SHIFT

    @classmethod
    def today(cls) -> Any:
        return cls.now()


class _Date(datetime.date, metaclass=_AnyDate):
    @classmethod
    def today(cls) -> Any:
        return super().today() + SHIFT
