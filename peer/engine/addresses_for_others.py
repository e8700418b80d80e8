"""The addresses at which others reach this home's engine, for tickets and for a federation's file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from peer.base.errors import PeerError
from peer.engine.chosen_engine import borrowed
from peer.engine.interface import Engine
from peer.engine.kubo.reach import AskedReach
from peer.engine.node_places import InSwarm
from peer.home.home import Home
from protocol.wire.node_address import BadAddress, NodeAddress, Scope

_LOCAL: Final = "local:"
"""How the address of an engine begins that is a directory."""

ONLY_HERE: Final = (
    "it works on this machine alone, because the engine listens on no other address: for others, start the peer with "
    "--listen IP:PORT, and behind a router or a web server also with --announce HOST:PORT"
)


def addresses_for_others(
    home: Home, federation: InSwarm, named: str | None, asked: AskedReach, given: Sequence[str] = ()
) -> tuple[str, ...]:
    """The addresses at which others reach the engine that this home will use: those ``given`` by its owner, or what the
    engine says.

    Raises:
        EngineError: if the engine cannot be used.
        PeerError: if a given address is none, and as `peer.engine.chosen_engine.opened`.
    """
    read = [_read(text) for text in given]
    if given and all(isinstance(each, str) or each.node for each in read):
        return tuple(each if isinstance(each, str) else each.text for each in read)
    # a node keeps its port, so what it says stays true
    with borrowed(home, named, federation, asked) as engine:
        if not given:
            return engine.addresses()
        return tuple(each if isinstance(each, str) else each.at(_node(engine)).text for each in read)


def shared_directory(addresses: Sequence[str]) -> str:
    """The engine of all, as ``--ipfs`` takes it, if that is a directory; empty if it is a network."""
    return addresses[0] if addresses and all(each.startswith(_LOCAL) for each in addresses) else ""


def is_only_here(addresses: Sequence[str]) -> bool:
    """Whether all ``addresses`` can be reached from this machine alone. A directory is no address in that sense: it may
    be shared."""
    return bool(addresses) and all(not each.startswith(_LOCAL) and _scope(each) is Scope.MACHINE for each in addresses)


def parsed_addresses(given: Sequence[str]) -> tuple[str, ...]:
    """Addresses of nodes that an owner gives, as multiaddrs.

    Raises:
        PeerError: if one is none.
    """
    return tuple(each if isinstance(each, str) else each.text for each in map(_read, given))


def _read(text: str) -> NodeAddress | str:
    if text.startswith(_LOCAL):
        return text
    try:
        return NodeAddress.of_owner(text)
    except BadAddress as error:
        raise PeerError(
            f"{text!r} names no place where others reach an engine: {error}",
            fix="give an address such as peers.hospital.org:4001, wss://peers.hospital.org, or local:DIR",
        ) from error


def _node(engine: Engine) -> str:
    if engine.streams is None:
        raise PeerError(
            f"the engine {engine.address} is no Kubo node, so nobody reaches it at an IP address",
            fix="leave out --address, or use a node: --ipfs kubo",
        )
    return engine.streams.own_name


def _scope(address: str) -> Scope:
    try:
        return NodeAddress.parse(address).scope
    except BadAddress:  # of a kind that we do not know: it may be anything
        return Scope.WORLD
