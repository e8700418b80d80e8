"""Which engine a command talks to: the one named with ``--ipfs``, or the one this home used last, or ``kubo``."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peer.base import logs
from peer.base.errors import PeerError
from peer.engine import open_engine, without_credentials
from peer.engine.interface import Engine, EngineError, EngineUnavailable, WrongAddress
from peer.engine.kubo.node_watch import NodeWatch
from peer.engine.kubo.program import UPDATE, why_outdated
from peer.engine.kubo.reach import ANYWHERE, AskedReach, Reach
from peer.engine.node_places import InSwarm, node_folder
from peer.home.federations import FederationStore
from peer.home.home import Home, replace_file
from peer.home.journal import Journal
from protocol.wire.node_address import BadAddress

if TYPE_CHECKING:  # it imports slowly, and `--ipfs local:DIR` does not need it
    from peer.engine.kubo.node import KuboNode


MANAGED: Final = "kubo"
"""How ``--ipfs`` names the home's own node."""

_REACH: Final = "reach.json"
"""In the folder of a node that is not the first federation's: where that is reached. The journal has the first's."""

_AS_BEFORE: Final = AskedReach()
"""What a command says of the node's reach if it says nothing."""


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
    asked: AskedReach = _AS_BEFORE,
    *,
    collect: bool = False,
) -> Iterator[Engine]:
    """The chosen engine, closed afterwards. If the home's own node does not run, it runs for as long as this does.

    ``asked`` says where the node is reached from now on, and the home remembers it. With ``collect`` a node that is
    started here first deletes what nobody pinned.

    Raises:
        EngineError: if it cannot be used; it says what fixes it.
    """
    address = chosen(home, named)
    if address != MANAGED:
        with contextlib.closing(owners_engine(home, address, asked)) as engine:
            if engine.kind == MANAGED and (why := why_outdated(engine.version)):
                logs.event("node-outdated", logging.WARNING, why=why, fix=UPDATE)
            yield engine
        return
    with _managed(home, federation, asked, collect=collect) as engine:
        yield engine


def to_read_from(home: Home, named: str | None, federation: InSwarm | None = None) -> AbstractContextManager[Engine]:
    """`borrowed`, for a command that only reads: a directory that is not there has nothing to read, and is not made.

    Raises:
        EngineError: as `opened`.
        WrongAddress: if the engine is a directory that is not there.
    """
    kind, _, directory = chosen(home, named).partition(":")
    if kind == "local" and not Path(directory).expanduser().is_dir():
        raise WrongAddress(
            f"there is no engine at {directory}: no such folder", "name one that is there: --ipfs local:DIR"
        )
    return borrowed(home, named, federation)


@contextlib.contextmanager
def borrowed(
    home: Home, named: str | None, federation: InSwarm | None = None, asked: AskedReach = _AS_BEFORE
) -> Iterator[Engine]:
    """`opened`, for a short command. If it has to start the home's node, it also locks the home, so that no peer starts
    to use that node; and it connects to members, as a running peer does, because they may have what is asked for."""
    with contextlib.ExitStack() as stack:
        alone = chosen(home, named) == MANAGED and not is_running(home, federation)
        if alone:
            stack.enter_context(home.lock())
        engine = stack.enter_context(opened(home, named, federation, asked))
        if alone:
            stack.enter_context(_reaching_members(home, engine, _swarm_key(home, federation)))
        yield engine


@contextlib.contextmanager
def _reaching_members(home: Home, engine: Engine, swarm_key: bytes) -> Iterator[None]:
    """Connect to the members that the home knows to be in this network, meanwhile: what is here needs none of them."""
    known = FederationStore(home).all()
    addresses = [each for stored in known if stored.swarm_key == swarm_key for each in stored.reached_at]

    def connect() -> None:
        if not addresses:
            return
        with contextlib.suppress(EngineError):  # whoever asks for a block is told that it cannot be had
            engine.connect(addresses)

    connecting = threading.Thread(target=connect, name="connect", daemon=True)
    connecting.start()
    try:
        yield
    finally:
        if connecting.is_alive():
            engine.hang_up()
        connecting.join()


def is_running(home: Home, federation: InSwarm | None = None) -> bool:
    """Whether the home's own node for the federation runs."""
    engine = running_node(home, federation)
    if engine is not None:
        engine.close()
    return engine is not None


def running_node(home: Home, federation: InSwarm | None = None) -> Engine | None:
    """The home's own node for the federation, if it runs."""
    repository = node_folder(home, federation) / "ipfs"
    if not (repository / "api").exists():
        return None
    from peer.engine.kubo.node import running_at

    try:
        address = running_at(repository)
        return None if address is None else open_engine(address, managed=True, reach=known_reach(home, federation))
    except EngineUnavailable:  # a node that was killed leaves its file behind
        return None


@contextlib.contextmanager
def _managed(home: Home, federation: InSwarm | None, asked: AskedReach, *, collect: bool = False) -> Iterator[Engine]:
    engine = running_node(home, federation)
    if engine is not None:
        with contextlib.closing(engine):
            refuse_other_reach(home, asked, federation)
            yield engine
        return
    with started_node(home, federation, asked, collect=collect) as node:
        opened = open_engine(node.api, managed=True, reach=known_reach(home, federation))
        with contextlib.closing(opened) as engine, NodeWatch(node).watching():
            yield engine


@contextlib.contextmanager
def started_node(
    home: Home, federation: InSwarm | None, asked: AskedReach, *, collect: bool = False
) -> Iterator[KuboNode]:
    """The home's own node, which does not run yet, until the context ends. Once it runs, the home remembers where it is
    reached."""
    from peer.engine.kubo.node import KuboNode

    reach, folder = asked.over(known_reach(home, federation)), node_folder(home, federation)
    with KuboNode(folder, _swarm_key(home, federation), reach).started(collect=collect) as node:
        _remember_reach(home, reach, federation)
        yield node


def known_reach(home: Home, federation: InSwarm | None = None) -> Reach:
    """Where the home's node for the federation is reached, as the home remembers it.

    Raises:
        PeerError: if that cannot be read.
    """
    if (folder := node_folder(home, federation)) != home.path:
        kept = _text_in(folder / _REACH)
    elif home.journal.exists():
        with Journal(home.journal) as journal:
            kept = journal.reach()
    else:
        return Reach()
    try:
        return Reach() if kept is None else Reach.from_text(kept)
    except BadAddress as error:
        raise PeerError(str(error), fix="say it again: --listen IP:PORT --announce HOST:PORT") from error


def refuse_other_reach(home: Home, asked: AskedReach, federation: InSwarm | None = None) -> None:
    """Refuse what would need a start of a node that runs.

    Raises:
        PeerError: if ``asked`` is not how the running node is reached.
    """
    known = known_reach(home, federation)
    if asked.over(known) != known:
        listens = ", ".join(listen.text for listen in known.listen)
        told = f", and is announced at {', '.join(each.text for each in known.announce)}" if known.announce else ""
        raise PeerError(
            f"this home's Kubo node runs already: it listens at {listens}{told}",
            fix="leave out --listen and --announce, or stop what runs with this home and start it with them",
        )


def _remember_reach(home: Home, reach: Reach, federation: InSwarm | None = None) -> None:
    if reach == known_reach(home, federation):
        return
    if (folder := node_folder(home, federation)) != home.path:
        replace_file(folder / _REACH, [reach.to_text().encode()])
        return
    with Journal(home.journal) as journal:
        journal.remember_reach(reach.to_text())


def _text_in(file: Path) -> str | None:
    try:
        return file.read_text()
    except FileNotFoundError:
        return None


def owners_engine(home: Home, address: str, asked: AskedReach = _AS_BEFORE) -> Engine:
    """The engine at ``address``, which is not the home's own node.

    Raises:
        PeerError: if it is asked to listen elsewhere, which is its owner's to decide.
    """
    if asked.listen:
        raise PeerError(
            f"--listen is for a node of this home's own, and the engine is {without_credentials(address)}",
            fix="leave it out, and say in that node where it listens: ipfs config --json Addresses.Swarm '[...]'",
        )
    known = known_reach(home)
    if (reach := asked.over(known)) != known:
        _remember_reach(home, reach)
    return open_engine(address, reach=replace(reach, listen=ANYWHERE.listen), owner=_owner(home))


def _owner(home: Home) -> str:
    """As whom the home pins; nobody in particular if it has no journal yet."""
    if not home.journal.exists():
        return ""
    with Journal(home.journal) as journal:
        return journal.pin_owner()


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
