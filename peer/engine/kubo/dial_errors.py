"""What came of a dial, by Kubo's own words (go-libp2p's ``swarm.DialError``, Go's ``net`` and ``crypto/tls``)."""

from __future__ import annotations

import re
from typing import Final

from protocol.wire.calling_back import Call

_WORDS: Final = (
    (Call.CERTIFICATE, "x509:|certificate"),
    (Call.NO_WEBSOCKET, "bad handshake"),
    (Call.STRANGER, "peer id mismatch|failed to negotiate|privnet|EOF|connection reset|message too large|tls: "),
    (Call.NO_NAME, "no such host|server misbehaving|lookup |no good addresses"),
    (Call.NO_ROUTE, "no route to host|network is unreachable|operation not permitted|permission denied"),
    (Call.REFUSED, "connection refused"),
    (Call.DROPPED, "i/o timeout|deadline exceeded|timed out"),
)
"""The first that fits: an address that answered says more than one that did not."""


def outcome_of(message: str, address: str) -> Call:
    """What a refusal of ``swarm/connect`` to ``address`` means. Kubo also tells of other addresses of the same node."""
    place = re.escape(address.partition("/p2p/")[0])
    said = re.search(rf"\* \[{place}\] (.*)", message)
    text = message if said is None else said[1]
    return next((call for call, words in _WORDS if re.search(words, text)), Call.NOT_TRIED)


def outcome_through_proxy(outcome: Call) -> Call:
    """The same for a dial through a web proxy. What it answers in place of 200 it may word as it likes (RFC 9112), and
    until it answers nobody else has been reached."""
    return outcome if outcome in (Call.CERTIFICATE, Call.NO_WEBSOCKET, Call.STRANGER) else Call.PROXY
