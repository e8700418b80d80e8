"""Pubsub through the RPC API, with topics and data as multibase (Kubo 0.11 and later)."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import httpx

from peer.engine.announcement_delivery import Delivery, check_size
from peer.engine.interface import EngineError, PublishRefused
from peer.engine.kubo.api import KuboApi, KuboRefused
from peer.engine.kubo.standing_call import StandingCall

_IGNORED: Final = "validation ignored"

_TRIES: Final = 40
"""How often an announcement is tried that the node refuses. If 30 publish at once without a pause, 1 in 4 passes."""

_FIRST_WAIT: Final = 0.004
_LONGEST_WAIT: Final = 0.25
"""Seconds until the next try at most, each time twice as long."""

_PUBLISH_SECONDS: Final = 10.0
"""Seconds that a node has to publish. We need not wait longer: an announcement is a hint, and is repeated."""

_MAX_LINE: Final = 4 << 20
"""Bytes of one message as JSON at most. Kubo's own limit is 1 MiB of data, a third more as base64."""

_log = logging.getLogger(__name__)


class KuboPublisher:
    """Publishes through one node. Safe from several threads.

    Kubo numbers what a node says, and lets a message pass only if its number is higher than all before
    (``BasicSeqnoValidator`` of go-libp2p-pubsub; the numbers begin at the nanoseconds since 1970 when the node starts).
    If two say something at once, we or other programs that use the node, it refuses the second ("validation ignored").
    We try that one again. But a node that has heard itself with a higher number refuses all that it says: its clock was
    set back, or its repository comes from a machine whose clock was ahead.
    """

    def __init__(self, api: KuboApi, *, may_reset: bool) -> None:
        """``may_reset``: only we use the node, so we may make it forget the highest number that it has heard."""
        self._api = api
        self._may_reset = may_reset
        self._queue = threading.Lock()
        self._tries = _TRIES

    def publish(self, topic: str, data: bytes) -> None:
        """Send one announcement.

        Raises:
            PublishRefused: if the node refuses all that it says itself.
            EngineError: if it is too large, or the node does not answer, or has pubsub off.
        """
        check_size(data)
        with self._queue:  # one after the other, so that their numbers rise
            if self._passes(topic, data):
                return
            if self._may_reset:
                forget_highest(self._api, self._api.identity()[0])
                if self._passes(topic, data):
                    _log.warning(
                        "the Kubo node refused its own announcements, as if its clock had been set back: fixed"
                    )
                    return
            self._tries = 1  # until one passes: announcements are repeated anyway
        raise PublishRefused(
            f"the Kubo node at {self._api.shown} refuses all that it says itself: it has heard itself with a higher "
            "sequence number than its clock gives now, so the clock was set back, or its repository was copied",
            f"set the clock of that machine right, then run there: ipfs pubsub reset --peer {self._api.identity()[0]}",
        )

    def _passes(self, topic: str, data: bytes) -> bool:
        """Whether the node let the announcement pass."""
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
            time.sleep(random.uniform(0, pause))  # so that two that try at once do not meet again
            pause = min(2 * pause, _LONGEST_WAIT)
        return False


def forget_highest(api: KuboApi, node: str) -> None:
    """Make our node hear ``node`` again, whatever it heard of it before. Then others may repeat what ``node`` once
    said, which does no harm: our announcements have counters of their own."""
    api.call("pubsub/reset", peer=node)


class KuboSubscription:
    """One subscription. It begins again whenever it ends."""

    def __init__(
        self, api: KuboApi, topic: str, receive: Callable[[bytes], None], heard: Callable[[str], None]
    ) -> None:
        """``heard`` is called with the name of each node that says something, before ``receive``."""
        self._delivery = Delivery(receive)
        self._heard = heard
        call = partial(api.open, "pubsub/sub", _multibase(topic.encode()), within=math.inf)
        self._call = StandingCall(api, call, self._read, f"subscription {topic}")

    def close(self) -> None:
        """Stop. No call to the receiver begins after this returns."""
        self._delivery.close()
        self._call.close()

    def join(self) -> None:
        """Wait until its thread has ended (`StandingCall.join`)."""
        self._call.join()

    def _read(self, stream: httpx.Response) -> None:
        buffer = bytearray()
        for part in stream.iter_raw():
            buffer += part
            if part.endswith(b"\n"):
                self._hand_out(bytes(buffer).splitlines())
                buffer.clear()
            elif len(buffer) > _MAX_LINE:
                raise EngineError(f"a message of more than {_MAX_LINE} bytes")

    def _hand_out(self, lines: list[bytes]) -> None:
        for line in lines:
            if not line:
                continue
            try:
                message = json.loads(line)
                node, data = str(message["from"]), _from_multibase(message["data"])
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise EngineError(f"no pubsub message: {error!r}") from error
            self._heard(node)
            self._delivery.hand(data)


def _multibase(data: bytes) -> str:
    return "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")


def _from_multibase(text: str) -> bytes:
    if not text.startswith("u"):
        raise ValueError(f"not base64url: {text[:20]!r}")
    try:
        return base64.b64decode(text[1:] + "=" * (-len(text[1:]) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
