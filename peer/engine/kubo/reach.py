"""Where a home's own node listens, and where it says that it is reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from crypto.described_types import described
from protocol.wire.node_address import BadAddress, HostKind, NodeAddress, Over, Scope, read_place

NONE: Final = "none"
"""What takes back what was announced."""


@dataclass(frozen=True, slots=True)
class Listen:
    """One place at which a node listens."""

    kind: HostKind
    ip: str
    port: int | None = None
    """None: any free one, and the same at each start if it can be."""
    over: Over = Over.TCP

    @classmethod
    def parse(cls, text: str) -> Listen:
        """The place in ``IP``, ``IP:PORT``, or ``ws://IP:PORT``.

        Raises:
            BadAddress: if it is none of them.
        """
        over, (kind, ip), port = read_place(text)
        if kind not in (HostKind.IP4, HostKind.IP6):
            raise BadAddress(f"a node listens on an IP address, and {ip!r} is a name")
        if over is Over.WSS:
            raise BadAddress("a node cannot end TLS: a web server in front of it does, and forwards to ws://IP:PORT")
        if over is Over.WS and port is None:
            raise BadAddress(f"{text!r} has no port")
        return cls(kind, ip, port, over)

    @property
    def text(self) -> str:
        """As `parse` takes it."""
        scheme = "ws://" if self.over is Over.WS else ""
        host = f"[{self.ip}]" if self.kind is HostKind.IP6 and (scheme or self.port is not None) else self.ip
        return f"{scheme}{host}" if self.port is None else f"{scheme}{host}:{self.port}"

    def multiaddr(self, port: int) -> str:
        """As Kubo takes it, with the ``port`` if it names none (0: one that Kubo chooses)."""
        return f"/{self.kind}/{self.ip}/tcp/{self.port or port}{'/ws' if self.over is Over.WS else ''}"


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reach as a home's journal keeps it."""

    listen: list[str]
    announce: list[str]
    internal: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """Where one node is reached."""

    listen: tuple[Listen, ...] = (Listen(HostKind.IP4, "127.0.0.1"),)
    announce: tuple[NodeAddress, ...] = ()
    """Where others reach it, if that is not where it listens: behind a router that forwards a port, or a web server."""
    internal: bool = False
    """Whether it also says the addresses that only its own network can reach."""

    def told(self, node: str, addresses: Iterable[str]) -> tuple[str, ...]:
        """What others are told of the ``addresses`` that the node called ``node`` says of itself.

        If it listens on all addresses of its machine, those are left out that reach less far than others of their kind:
        a container's network, say, beside an address in the internet.
        """
        announced = [address.at(node).text for address in self.announce]
        if announced and not self.internal:
            return tuple(announced)
        own = sorted(dict.fromkeys(addresses), key=_scope, reverse=True)
        if not self.internal:
            wanted = {listen.ip for listen in self.listen}
            farthest: dict[str, Scope] = {}
            for each in own:
                farthest.setdefault(_place(each)[0], _scope(each))
            own = [each for each in own if _scope(each) == farthest[_place(each)[0]] or _place(each)[1] in wanted]
        return tuple(dict.fromkeys([*announced, *own]))

    def to_text(self) -> str:
        """As the home's journal keeps it."""
        kept = _Kept([each.text for each in self.listen], [each.text for each in self.announce], self.internal)
        return msgspec.json.encode(kept).decode()

    @classmethod
    def from_text(cls, text: str) -> Reach:
        """What `to_text` wrote.

        Raises:
            BadAddress: if it wrote something else.
        """
        try:
            kept = msgspec.json.decode(text, type=described(_Kept))
            listen, announce = map(Listen.parse, kept.listen), map(NodeAddress.parse, kept.announce)
            return cls(tuple(listen), tuple(announce), kept.internal)
        except (msgspec.MsgspecError, BadAddress) as error:
            raise BadAddress(f"what this home remembers of its addresses cannot be read: {error}") from error


ANYWHERE: Final = Reach(listen=())
"""Of a node that its owner set up, so that nobody here knows where it listens."""


@dataclass(frozen=True, slots=True)
class AskedReach:
    """What one command says of a node's reach. What it does not say stays as the home remembers it."""

    listen: tuple[Listen, ...] = ()
    announce: tuple[NodeAddress, ...] | None = None
    internal: bool | None = None

    @classmethod
    def parse(cls, listen: Sequence[str], announce: Sequence[str], internal: bool | None) -> AskedReach:
        """What the options say; an empty sequence says nothing.

        Raises:
            BadAddress: if a text is no address, or one that nobody could use.
        """
        if NONE in announce and len(announce) > 1:
            raise BadAddress(f"{NONE!r} takes back all that was announced, so it stands alone")
        told = () if NONE in announce else tuple(map(NodeAddress.of_owner, announce))
        for address in told:
            if address.is_wildcard:
                raise BadAddress(f"nobody can reach {address.host}: it stands for all addresses of a machine")
        return cls(tuple(map(Listen.parse, listen)), told if announce else None, internal)

    def over(self, known: Reach) -> Reach:
        """The reach after this was asked of a home that remembers ``known``."""
        return replace(
            known,
            listen=self.listen or known.listen,
            announce=known.announce if self.announce is None else self.announce,
            internal=known.internal if self.internal is None else self.internal,
        )


def _scope(address: str) -> Scope:
    """The scope of an address that a node says of itself; of no known kind: the least."""
    try:
        return NodeAddress.parse(address).scope
    except BadAddress:
        return Scope.MACHINE


def _place(address: str) -> tuple[str, str]:
    """How an address names its host, and the host."""
    kind, host = [*address.split("/"), "", ""][1:3]
    return kind, host
