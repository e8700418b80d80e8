"""Pubsub through the RPC API, in the encoding that it has had since Kubo 0.11: topics and data as multibase."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import socket
import threading
from collections.abc import Callable
from typing import Final

import httpx

from peer.engine.delivery import Delivery, check_size
from peer.engine.interface import EngineError, EngineUnavailable
from peer.engine.kubo_api import KuboApi

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds before a try to subscribe again."""

_MAX_LINE: Final = 4 << 20
"""Bytes of one message as JSON; Kubo's own limit is 1 MiB of data, a third more as base64."""

_log = logging.getLogger(__name__)


def publish(api: KuboApi, topic: str, data: bytes) -> None:
    """Send one announcement.

    Raises:
        EngineError: where it is too large, the node does not answer, or has pubsub off.
    """
    check_size(data)
    api.call("pubsub/pub", _multibase(topic.encode()), upload=[data])


class KuboSubscription:
    """One subscription: a stream that never ends, read in a thread; begun anew whenever it does end."""

    def __init__(self, api: KuboApi, topic: str, receive: Callable[[bytes], None]) -> None:
        self._api = api
        self._topic = topic
        self._delivery = Delivery(receive)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._stream: httpx.Response | None = self._open()
        self._thread = threading.Thread(target=self._run, name=f"subscription {topic}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; no call to the receiver begins after this returns."""
        self._delivery.close()
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

    def _open(self) -> httpx.Response:
        return self._api.open("pubsub/sub", _multibase(self._topic.encode()), within=math.inf)

    def _try_again(self) -> httpx.Response | None:
        try:
            stream = self._open()
        except EngineError as error:
            _log.debug("cannot subscribe to %s yet: %s", self._topic, error)
            return None
        with self._lock:
            if self._stopping.is_set():
                stream.close()
                return None
            self._stream = stream
        _log.info("subscribed to %s again", self._topic)
        return stream

    def _read(self, stream: httpx.Response) -> None:
        buffer = bytearray()
        try:
            with self._api.translated():
                for part in stream.iter_raw():
                    buffer += part
                    if part.endswith(b"\n"):
                        self._hand_out(bytes(buffer).splitlines())
                        buffer.clear()
                    elif len(buffer) > _MAX_LINE:
                        raise EngineError(f"a message of more than {_MAX_LINE} bytes")
        except EngineError as error:
            if not self._stopping.is_set():
                # whoever has work for the node says that it is away
                _log.log(
                    logging.INFO if isinstance(error, EngineUnavailable) else logging.WARNING,
                    "the subscription to %s broke, trying again: %s",
                    self._topic,
                    error,
                )

    def _hand_out(self, lines: list[bytes]) -> None:
        for line in lines:
            if not line:
                continue
            try:
                data = _from_multibase(json.loads(line)["data"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise EngineError(f"no pubsub message: {error!r}") from error
            self._delivery.hand(data)


def _shut_down(stream: httpx.Response) -> None:
    """Wake the thread that reads: closing a socket does not end a read of another thread, shutting it down does."""
    wire = stream.extensions["network_stream"].get_extra_info("socket")
    try:
        wire.shutdown(socket.SHUT_RDWR)
    except OSError:
        _log.debug("the stream had ended already")


def _multibase(data: bytes) -> str:
    return "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")


def _from_multibase(text: str) -> bytes:
    if not text.startswith("u"):
        raise ValueError(f"not base64url: {text[:20]!r}")
    try:
        return base64.b64decode(text[1:] + "=" * (-len(text[1:]) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
