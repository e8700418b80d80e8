"""Pubsub through the RPC API, in the encoding that it has had since Kubo 0.11: topics and data as multibase."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

import httpx

from peer.engine.delivery import Delivery, check_size
from peer.engine.interface import EngineError, EngineUnavailable, PublishRefused
from peer.engine.kubo_api import KuboApi, KuboRefused

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds before a try to subscribe again."""

_IGNORED: Final = "validation ignored"

_TRIES: Final = 40
"""How often what a node refuses to say is tried: of 30 that publish at once without a pause, one in four passes."""

_FIRST_WAIT: Final = 0.004
_LONGEST_WAIT: Final = 0.25
"""Seconds until the next try, at most; each time twice as long."""

_PUBLISH_SECONDS: Final = 10.0
"""Seconds that a node has for it. It need not be patient: what is said is a hint, and said again."""

_MAX_LINE: Final = 4 << 20
"""Bytes of one message as JSON; Kubo's own limit is 1 MiB of data, a third more as base64."""

_log = logging.getLogger(__name__)


class KuboPublisher:
    """Publishes through one node. Safe from several threads.

    Kubo counts what a node says and lets only what has a higher number than all before pass
    (``BasicSeqnoValidator`` of go-libp2p-pubsub, whose numbers begin at the nanoseconds since 1970 as the node starts).
    So of what is said at once, by us or by other programs that use the node, it refuses what comes second ("validation
    ignored"): that is tried again. And a node refuses all that it says itself where it has heard itself with a higher
    number: its clock was set back, or its repository is of a machine whose clock was ahead.
    """

    def __init__(self, api: KuboApi, *, may_reset: bool) -> None:
        """``may_reset``: the node is ours alone, so that we may have it forget the highest number it has heard."""
        self._api = api
        self._may_reset = may_reset
        self._queue = threading.Lock()
        self._tries = _TRIES

    def publish(self, topic: str, data: bytes) -> None:
        """Send one announcement.

        Raises:
            PublishRefused: where the node refuses all that it says itself.
            EngineError: where it is too large, the node does not answer, or has pubsub off.
        """
        check_size(data)
        with self._queue:  # one after the other: they are in the right order then
            if self._passes(topic, data):
                return
            if self._may_reset:
                forget_highest(self._api, self._own_id())
                if self._passes(topic, data):
                    _log.warning(
                        "the Kubo node refused its own announcements, as if its clock had been set back: mended"
                    )
                    return
            self._tries = 1  # until one passes: whoever waits for what it says says it again
        raise PublishRefused(
            f"the Kubo node at {self._api.shown} refuses all that it says itself: it has heard itself with a higher "
            "sequence number than its clock gives now, so the clock was set back, or its repository was copied",
            f"set the clock of its machine right, then there: ipfs pubsub reset --peer {self._own_id()}",
        )

    def _passes(self, topic: str, data: bytes) -> bool:
        """Whether the node let it pass."""
        pause = _FIRST_WAIT
        for _ in range(self._tries):
            try:
                self._api.call("pubsub/pub", _multibase(topic.encode()), upload=[data], within=_PUBLISH_SECONDS)
            except KuboRefused as error:
                if _IGNORED not in str(error):
                    raise
            else:
                self._tries = _TRIES
                return True
            time.sleep(random.uniform(0, pause))  # whoever else says something waits another time
            pause = min(2 * pause, _LONGEST_WAIT)
        return False

    def _own_id(self) -> str:
        return str(self._api.said(self._api.call("id", within=_PUBLISH_SECONDS)).get("ID"))


def forget_highest(api: KuboApi, node: str) -> None:
    """Have the node hear ``node`` again, whatever it has heard of it before. That somebody may send again what ``node``
    said once is no harm to us: our announcements have counters of their own."""
    api.call("pubsub/reset", peer=node)


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
