"""The engines of a demo: one directory, a private Kubo node for each peer, or the user's own node."""

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
"""The name of the directory in the demo's own folder, for ``peer demo --ipfs``."""


def engine_of(plan: DemoPlan) -> str:
    """The engine of the peers, as ``--ipfs`` takes it."""
    return f"local:{plan.folder / 'engine'}" if plan.ipfs == LOCAL else plan.ipfs


@contextlib.contextmanager
def server_engine(plan: DemoPlan, federation: StoredFederation) -> Iterator[Engine]:
    """The demo's own connection to the server's engine. With ``kubo``, all peers' nodes run meanwhile.

    Raises:
        EngineError: if the engine cannot be used.
    """
    with contextlib.ExitStack() as stack:
        engine = engine_of(plan)
        if engine == MANAGED:
            stack.enter_context(_nodes(plan, federation.swarm_key))
        else:
            stack.enter_context(contextlib.closing(open_engine(engine)))  # raises before a home remembers the engine
        yield stack.enter_context(opened(plan.server.home, engine, federation))


@contextlib.contextmanager
def _nodes(plan: DemoPlan, swarm_key: bytes) -> Iterator[None]:
    """A running node in each peer's home, which the peer will use.

    The peers do not start them, because clients have to know the address of the server's node before they start.
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
