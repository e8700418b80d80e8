"""A call that a node answers for as long as it is wanted: a subscription, or a place where others can ask us."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Final

import httpx

from peer.engine.interface import EngineError, EngineUnavailable
from peer.engine.kubo.api import KuboApi

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds before a try to make the call again."""

_log = logging.getLogger(__name__)


class StandingCall:
    """One call whose answer never ends, read in a thread; made anew whenever it does end.

    Kubo takes back what such a call did when its connection ends, however that comes about.
    """

    def __init__(
        self,
        api: KuboApi,
        call: Callable[[], httpx.Response],
        hear: Callable[[httpx.Response], None],
        name: str,
    ) -> None:
        """``call`` makes it; ``hear`` reads the answer to its end, and may raise an `EngineError`.

        Raises:
            EngineError: if the call cannot be made.
        """
        self._api = api
        self._call = call
        self._hear = hear
        self._name = name
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._stream: httpx.Response | None = self._call()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the call."""
        with self._lock:
            self._stopping.set()
            if self._stream is not None:
                _shut_down(self._stream)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            stream = self._stream
            if stream is None:
                stream = self._try_again()
            if stream is None:
                self._stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._read(stream)
            with self._lock:
                self._stream = None
            stream.close()

    def _try_again(self) -> httpx.Response | None:
        try:
            stream = self._call()
        except EngineError as error:
            _log.debug("no %s yet: %s", self._name, error)
            return None
        with self._lock:
            if self._stopping.is_set():
                stream.close()
                return None
            self._stream = stream
        _log.info("the %s goes on", self._name)
        return stream

    def _read(self, stream: httpx.Response) -> None:
        try:
            with self._api.translated():
                self._hear(stream)
        except EngineError as error:
            if not self._stopping.is_set():
                # whoever has work for the node says that it is away
                level = logging.INFO if isinstance(error, EngineUnavailable) else logging.WARNING
                _log.log(level, "the %s broke, trying again: %s", self._name, error)


def _shut_down(stream: httpx.Response) -> None:
    """Wake the thread that reads: closing a socket does not end a read of another thread, shutting it down does."""
    wire = stream.extensions["network_stream"].get_extra_info("socket")
    try:
        wire.shutdown(socket.SHUT_RDWR)
    except OSError:
        _log.debug("the stream had ended already")
