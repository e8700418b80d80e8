"""The engines of a demo: one directory, one private Kubo node per peer, or a node of the user's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from peer.demo.plan import DemoPlan
from peer.engine import open_engine
from peer.engine.chosen_engine import MANAGED, opened
from peer.engine.interface import Engine
from peer.home.federations import StoredFederation

LOCAL = "local"
"""How ``peer demo --ipfs`` names a directory in the demo's own folder."""


def engine_of(plan: DemoPlan) -> str:
    """What the peers are told with ``--ipfs``."""
    return f"local:{plan.folder / 'engine'}" if plan.ipfs == LOCAL else plan.ipfs


@contextlib.contextmanager
def server_engine(plan: DemoPlan, federation: StoredFederation) -> Iterator[Engine]:
    """A connection of our own to the server's engine. With ``kubo`` every peer's node runs meanwhile.

    Raises:
        EngineError: if it cannot be used.
    """
    with contextlib.ExitStack() as stack:
        engine = engine_of(plan)
        if engine == MANAGED:
            stack.enter_context(_nodes(plan, federation.swarm_key))
        else:
            stack.enter_context(contextlib.closing(open_engine(engine)))  # before the homes are told of it
        yield stack.enter_context(opened(plan.server.home, engine, federation))


@contextlib.contextmanager
def _nodes(plan: DemoPlan, swarm_key: bytes) -> Iterator[None]:
    """A node in each peer's home. The peers, told ``--ipfs kubo``, use the one that runs.

    Started here and not by the peers, because clients have to know the server's address before they start.
    """
    from peer.engine.kubo.node import KuboNode

    nodes = [KuboNode(peer.home.path, swarm_key) for peer in plan.peers]
    with contextlib.ExitStack() as stack:
        for node in nodes:
            stack.callback(node.stop)
        with ThreadPoolExecutor(len(nodes), "kubo") as pool:
            for started in [pool.submit(node.start) for node in nodes]:
                started.result()
        yield
