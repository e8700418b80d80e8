"""The engines of a demo: one directory, a private Kubo node for each peer, or the user's own node."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from peer.demo.plan import DemoPeer, DemoPlan
from peer.engine import open_engine
from peer.engine.chosen_engine import MANAGED, opened
from peer.engine.interface import Engine
from peer.home.federations import StoredFederation

if TYPE_CHECKING:  # it imports slowly, and a local demo does not need it
    from peer.engine.kubo.node import KuboNode

LOCAL = "local"
"""The name of the directory in the demo's own folder, for ``peer demo --ipfs``."""


def engine_of(plan: DemoPlan) -> str:
    """The engine of the peers, as ``--ipfs`` takes it."""
    return f"local:{plan.folder / 'engine'}" if plan.ipfs == LOCAL else plan.ipfs


class DemoEngines:
    """The engines while a demo runs. A context; with ``kubo``, all peers' nodes run meanwhile.

    The peers do not start them, because clients have to know the address of a server's node before they start.
    """

    def __init__(self, plan: DemoPlan, federation: StoredFederation) -> None:
        self._plan = plan
        self._federation = federation
        self._nodes: dict[str, KuboNode] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Engine:
        """The demo's own connection to the engine of the server that audits.

        Raises:
            EngineError: if the engine cannot be used.
        """
        plan, federation, engine = self._plan, self._federation, engine_of(self._plan)
        with contextlib.ExitStack() as stack:
            if engine == MANAGED:
                self._start_nodes(stack)
            else:
                stack.enter_context(contextlib.closing(open_engine(engine)))  # raises before a home remembers it
            opened_engine = stack.enter_context(opened(plan.auditing.home, engine, federation))
            self._stack = stack.pop_all()
        return opened_engine

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill_node(self, peer: DemoPeer) -> None:
        """End a peer's own node, if it has one, as when its machine is gone."""
        if (node := self._nodes.get(peer.name)) is not None:
            node.stop()

    def start_node(self, peer: DemoPeer) -> None:
        """Start a peer's node again."""
        if (node := self._nodes.get(peer.name)) is not None:
            node.start()

    def _start_nodes(self, stack: contextlib.ExitStack) -> None:
        from peer.engine.kubo.node import KuboNode

        self._nodes = {peer.name: KuboNode(peer.home.path, self._federation.swarm_key) for peer in self._plan.peers}
        for node in self._nodes.values():
            stack.callback(node.stop)
        with ThreadPoolExecutor(len(self._nodes), "kubo") as pool:
            for started in [pool.submit(node.start) for node in self._nodes.values()]:
                started.result()
