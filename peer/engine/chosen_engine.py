"""Which engine a command talks to: the one named with ``--ipfs``, or the one this home used last, or ``kubo``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Final, Protocol

from peer.base import logs
from peer.base.errors import PeerError
from peer.engine import open_engine
from peer.engine.interface import Engine, EngineError, EngineUnavailable
from peer.engine.kubo.node_watch import NodeWatch
from peer.engine.kubo.program import UPDATE, why_outdated
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal


class InSwarm(Protocol):
    """What says in which private network the home's node is: a federation, or a ticket to one."""

    @property
    def swarm_key(self) -> bytes:
        """32 bytes."""


MANAGED: Final = "kubo"
"""How ``--ipfs`` names the home's own node."""


def chosen(home: Home, named: str | None) -> str:
    """The engine, as ``--ipfs`` takes it. ``named`` is what the command line, a variable or ``config.toml`` says."""
    if named is not None:
        return named
    if home.journal.exists():
        with Journal(home.journal) as journal:
            return journal.engine() or MANAGED
    return MANAGED


def remember(home: Home, address: str) -> None:
    """Use this engine from now on if no other is named."""
    with Journal(home.journal) as journal:
        journal.remember_engine(address)


@contextlib.contextmanager
def opened(
    home: Home,
    named: str | None,
    federation: InSwarm | None = None,
    listen: str = "127.0.0.1",
    *,
    collect: bool = False,
) -> Iterator[Engine]:
    """The chosen engine, closed afterwards. If the home's own node does not run, it runs for as long as this does.

    ``listen`` is the IP address on which a node that is started here listens for other members' nodes. With ``collect``
    it first deletes what nobody pinned.

    Raises:
        EngineError: if it cannot be used; it says what fixes it.
    """
    address = chosen(home, named)
    if address != MANAGED:
        with contextlib.closing(open_engine(address)) as engine:
            if engine.kind == MANAGED and (why := why_outdated(engine.version)):
                logs.event("node-outdated", logging.WARNING, why=why, fix=UPDATE)
            yield engine
        return
    with _managed(home, federation, listen, collect=collect) as engine:
        yield engine


@contextlib.contextmanager
def borrowed(
    home: Home, named: str | None, federation: InSwarm | None = None, listen: str = "127.0.0.1"
) -> Iterator[Engine]:
    """`opened`, for a short command. If it has to start the home's node, it also locks the home, so that no peer starts
    to use that node."""
    with contextlib.ExitStack() as stack:
        if chosen(home, named) == MANAGED and not is_running(home):
            stack.enter_context(home.lock())
        yield stack.enter_context(opened(home, named, federation, listen))


def is_running(home: Home) -> bool:
    """Whether the home's own node runs."""
    engine = running_node(home)
    if engine is not None:
        engine.close()
    return engine is not None


def running_node(home: Home) -> Engine | None:
    """The home's own node, if it runs."""
    if not (home.path / "ipfs" / "api").exists():
        return None
    from peer.engine.kubo.node import running_at

    try:
        address = running_at(home.path / "ipfs")
        return None if address is None else open_engine(address, managed=True)
    except EngineUnavailable:  # a node that was killed leaves its file behind
        return None


@contextlib.contextmanager
def _managed(home: Home, federation: InSwarm | None, listen: str, *, collect: bool = False) -> Iterator[Engine]:
    engine = running_node(home)
    if engine is not None:
        with contextlib.closing(engine):
            yield engine
        return
    from peer.engine.kubo.node import KuboNode

    node = KuboNode(home.path, _swarm_key(home, federation), listen=listen)
    node.start(collect=collect)
    with node, contextlib.closing(open_engine(node.api, managed=True)) as engine, NodeWatch(node).watching():
        yield engine


def _swarm_key(home: Home, federation: InSwarm | None) -> bytes:
    if federation is None:
        known = FederationStore(home).all()
        if len(known) != 1:
            number = f"{len(known)} federations" if known else "no federation"
            raise PeerError(
                f"the home {home.path} is in {number}, so nothing says which private network its node is in",
                fix="name another home with --home DIR, or an engine with --ipfs, such as --ipfs local:DIR",
            )
        federation = known[0]
    return federation.swarm_key


def addresses_for_others(home: Home, federation: StoredFederation, named: str | None, listen: str) -> tuple[str, ...]:
    """The addresses at which others reach the engine that this home will use; none if nobody named an engine, and
    there is no ``ipfs`` program.

    Raises:
        EngineError: if the engine that was named cannot be used.
    """
    address = chosen(home, named)
    if address != MANAGED:
        with contextlib.closing(open_engine(address)) as engine:
            return engine.addresses()
    try:
        with contextlib.ExitStack() as stack:
            if not is_running(home):
                stack.enter_context(home.lock())
            # a node keeps its port, so these addresses stay true
            return stack.enter_context(_managed(home, federation, listen)).addresses()
    except EngineError:
        if named is not None:
            raise
        return ()
