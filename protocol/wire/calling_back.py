"""Calling back: a member asks another whether it can be reached at some addresses, because only others can tell.

It is asked over the channel of `protocol.wire.asking`. Whoever is asked opens a TCP connection and closes it. It must
not become a scanner of its own network: `may_call` says which addresses it calls.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.wire.announcements import MAX_ADDRESS
from protocol.wire.node_address import Scope, scope_of

MAX_CALLED: Final = 4
"""Addresses in one request."""

MAX_PLACES: Final = 4
"""IP addresses of one name that are called."""

SECONDS: Final = 4.0
"""Seconds for each address, for all IP addresses of its name together."""

CALLS: Final = 32
"""The most requests that are served in a burst, whoever asks."""

RATE: Final = 0.5
"""The most requests that are served in a second, over time: members want to know it now and then, a scanner always."""


class Call(StrEnum):
    """What came of an attempt to connect."""

    OPEN = "open"
    """Somebody answers there."""
    REFUSED = "refused"
    """The host, or a firewall that says so, refuses: nobody listens there."""
    DROPPED = "dropped"
    """No answer at all."""
    NO_ROUTE = "no-route"
    """The caller's own machine, or its network, does not let it out, or knows no way there."""
    NO_NAME = "no-name"
    """The caller cannot look up the name, or may not call where it leads."""
    CERTIFICATE = "certificate"
    """The caller does not trust the web server's certificate."""
    NO_WEBSOCKET = "no-websocket"
    """A web server answers, which does not forward WebSocket to a node."""
    PROXY = "proxy"
    """The caller's web proxy refuses."""
    STRANGER = "stranger"
    """What answers is not in this private network, or is no node."""
    NOT_TRIED = "not-tried"
    """The caller may not, or cannot, call there."""


class CallBack(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Call these addresses, please."""

    addresses: Annotated[list[Annotated[str, Meta(max_length=MAX_ADDRESS)]], Meta(min_length=1, max_length=MAX_CALLED)]


class CalledBack(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What came of each of them, in order."""

    outcomes: Annotated[list[Call], Meta(min_length=1, max_length=MAX_CALLED)]


def may_call(ip: IPv4Address | IPv6Address, asker: IPv4Address | IPv6Address | None, *, is_known: bool) -> bool:
    """Whether somebody who is asked to may call an IP address.

    ``asker`` is where the asking node is connected from, if that is itself. ``is_known`` says whether the address is
    one that the asked peer dials anyway, and that no member has named by itself. All others have to be in the internet:
    else any member could learn what listens inside the asked member's network.
    """
    if scope_of(ip) <= Scope.LINK:
        return False
    return is_known or ip == asker or scope_of(ip) is Scope.WORLD
