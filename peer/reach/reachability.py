"""Tests whether this home's engine reaches others, and whether they reach it. Says which side's firewall is in the way.

Only others can tell whether they reach us, so connected members are asked to call (`protocol.wire.calling_back`). And
if one does not answer us, another one that calls it tells whose side drops that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from crypto.symmetric import SymmetricKey
from peer.engine.interface import EngineError, OtherEngines
from peer.home.federations import StoredFederation
from protocol.wire.asking import BadMessage, Channel
from protocol.wire.calling_back import MAX_CALLED, Call, CallBack, CalledBack
from protocol.wire.node_address import BadAddress, NodeAddress, Scope

_AT_ONCE: Final = 8
_MOST: Final = 16
"""The most addresses that are dialled, and the most places at which members are asked."""


@dataclass(frozen=True, slots=True)
class Outward:
    """What came of dialling one address of another member. Of a node that is reached, all addresses are open."""

    address: str
    outcome: Call
    others: Call = Call.NOT_TRIED
    """What came of it for another member, if that one was asked."""


@dataclass(frozen=True, slots=True)
class Inward:
    """What came of it when others called an address of ours."""

    address: str
    outcomes: tuple[Call, ...]
    """One of each member that tried."""


@dataclass(frozen=True, slots=True)
class Reachability:
    """What was found, both ways."""

    outward: tuple[Outward, ...] = ()
    inward: tuple[Inward, ...] = ()
    asked: int = 0
    """How many members answered."""

    @property
    def gets_out(self) -> bool:
        """Whether it reaches somebody; also if there is nobody to reach."""
        return not self.outward or any(each.outcome is Call.OPEN for each in self.outward)

    @property
    def is_reached(self) -> bool:
        """Whether somebody reached it."""
        return any(Call.OPEN in each.outcomes for each in self.inward)


def both_ways(
    streams: OtherEngines, own: Sequence[str], others: Iterable[str], channels: Sequence[Channel]
) -> Reachability:
    """Dial ``others``, and have members call our ``own`` addresses. ``channels`` lead to the members.

    Raises:
        EngineError: if our engine cannot be used.
    """
    name = streams.own_name
    wanted = list(islice((each for each in others if _can_dial(each) and not each.endswith(f"/{name}")), _MOST))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        dialled = [Outward(*pair) for pair in zip(wanted, pool.map(streams.dial, wanted), strict=True)]
    ours = [each for each in own if _can_dial(each) and NodeAddress.parse(each).scope > Scope.MACHINE][:MAX_CALLED]
    silent = [each.address for each in dialled if each.outcome in (Call.DROPPED, Call.REFUSED)][:MAX_CALLED]
    answers = _asked(streams, channels, ours)
    seconded = dict(zip(silent, _first(_asked(streams, channels, silent)), strict=False))
    return Reachability(
        tuple(Outward(each.address, each.outcome, seconded.get(each.address, Call.NOT_TRIED)) for each in dialled),
        tuple(Inward(each, tuple(_nth(answers, number))) for number, each in enumerate(ours)),
        len(answers),
    )


def channels_to(federation: StoredFederation, own: Collection[bytes]) -> list[Channel]:
    """The channels to all members but those that are ``own``."""
    key = SymmetricKey(federation.swarm_key)
    return [Channel(federation.id, member, key) for member in federation.manifest.members if member not in own]


def _asked(streams: OtherEngines, channels: Sequence[Channel], addresses: list[str]) -> list[list[Call]]:
    """The answers of connected members that were asked to call ``addresses``."""
    if not addresses:
        return []

    def ask(place: tuple[str, Channel]) -> list[Call] | None:
        node, channel = place
        try:
            answer = channel.read(streams.ask(node, channel.name, channel.write(CallBack(addresses))), CalledBack)
        except (EngineError, BadMessage):
            return None  # another member's node, a peer that does not run, or an older one
        return answer.outcomes if len(answer.outcomes) == len(addresses) else None

    places = islice(((node, channel) for channel in channels for node in streams.nodes()), _MOST * _AT_ONCE)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [answer for answer in pool.map(ask, places) if answer is not None]


def _first(answers: list[list[Call]]) -> list[Call]:
    return answers[0] if answers else []


def _nth(answers: list[list[Call]], number: int) -> Iterable[Call]:
    return (answer[number] for answer in answers if answer[number] is not Call.NOT_TRIED)


def _can_dial(address: str) -> bool:
    try:
        return bool(NodeAddress.parse(address))
    except BadAddress:
        return False
