"""A call whose answer goes on for as long as it is wanted: a subscription, or a place where others can ask us."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

import httpx

from peer.base.sockets import shut_down
from peer.engine.interface import EngineError, EngineUnavailable
from peer.engine.kubo.api import KuboApi

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds before the call is tried again."""

_LAST_CALL: Final = 5.0
"""Seconds in which a thread ends, unless it calls a node that hangs."""

_log = logging.getLogger(__name__)


class StandingCall:
    """One call whose answer never ends, read in a thread. If it ends all the same, the call is made again.

    Kubo undoes such a call when its connection ends, for whatever reason.
    """

    def __init__(
        self,
        api: KuboApi,
        call: Callable[[], httpx.Response],
        hear: Callable[[httpx.Response], None],
        name: str,
    ) -> None:
        """``call`` makes the call. ``hear`` reads its answer to the end, and may raise an `EngineError`.

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
                shut_down(self._stream.extensions["network_stream"].get_extra_info("socket"))  # wakes the thread

    def join(self) -> None:
        """Wait until the thread has ended, after `close` and the API's `hang_up`, if it is not the one that calls."""
        if threading.current_thread() is not self._thread:
            self._thread.join(_LAST_CALL)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            stream = self._stream or self._try_again()
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
                # that the node is away is for those to say who have work for it
                level = logging.INFO if isinstance(error, EngineUnavailable) else logging.WARNING
                _log.log(level, "the %s broke, trying again: %s", self._name, error)
