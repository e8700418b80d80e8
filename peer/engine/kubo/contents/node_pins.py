"""The pins of a Kubo node: what keeps blocks from being deleted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from peer.engine.interface import Unreachable
from peer.engine.kubo.api import QUICK_SECONDS, KuboApi, KuboRefused
from peer.engine.kubo.contents.waiting_pins import WaitingPin, WaitingPins
from protocol.blocks.cid import CID

_UNDONE_AT_ONCE: Final = 16
"""How many pins are undone while nobody else may store anything: some 0.1 s of the node's time, if its disk is busy."""

_OTHERS_SECONDS: Final = 0.01
"""Seconds for others who wait to store something. The kernel gives a lock to whoever asks first once it is free."""


class NodePins:
    """The pins of one node, which has one for a block, whoever asked for it. Those of ``waiting``, if it is given, are
    still to be set."""

    def __init__(self, api: KuboApi, waiting: WaitingPins | None = None) -> None:
        self._api = api
        self._waiting = waiting

    def add(self, cids: Sequence[CID]) -> None:
        """Pin blocks that are here, without what they link to. Does not ask the network.

        Raises:
            Unreachable: if the node says that one is not here.
        """
        if self._waiting is None:
            self._add_now(cids)
            return
        with self._waiting.beside_others():
            self._waiting.note(cids, recursive=False)

    def _add_now(self, cids: Sequence[CID]) -> None:
        try:
            # offline: else it would ask others for what is not here, for minutes
            self._api.call("pin/add", *map(str, cids), recursive=False, offline=True)
        except KuboRefused as error:
            if not error.is_not_found and "already pinned recursively" not in str(error):
                raise
            if len(cids) > 1:  # Kubo stopped at the first such block, so the others are not pinned yet
                for cid in cids:
                    self._add_now([cid])
            elif error.is_not_found:
                raise Unreachable(cids[0], f"{cids[0]} is not here, so it is not pinned") from error

    def remove(self, cid: CID) -> None:
        """Undo a pin. Harmless if there is none."""
        with self._alone():
            self._remove([cid])

    def _remove(self, cids: Sequence[CID]) -> None:
        if self._waiting is not None:
            self._waiting.forget(cids)
        for cid in cids:
            try:
                self._api.call("pin/rm", str(cid))
            except KuboRefused as error:
                if "not pinned" not in str(error):
                    raise

    @contextlib.contextmanager
    def exchanged(self, removed: Sequence[CID], added: Sequence[CID]) -> Iterator[Sequence[WaitingPin]]:
        """Undo some pins, and pin other blocks alone. Then what no pin leads to may be deleted, but for what those lead
        to that are given here: the node knows nothing of them yet. Nobody else stores or pins anything until the
        context ends.

        Of many pins, the first are undone some at a time, and others may store something in between: to undo one takes
        several milliseconds. What they pin stays."""
        begun = max(0, len(removed) - _UNDONE_AT_ONCE)
        for start in range(0, begun, _UNDONE_AT_ONCE):
            some = removed[start : min(start + _UNDONE_AT_ONCE, begun)]
            with self._alone():
                self._remove(some)
                self._add_here([cid for cid in added if cid in set(some)])
            time.sleep(_OTHERS_SECONDS)
        with self._alone():
            self._remove(removed[begun:])
            self._add_here(added)
            yield () if self._waiting is None else self._waiting.all()

    def _add_here(self, cids: Sequence[CID]) -> None:
        """As `add`, where nobody else pins."""
        if self._waiting is not None:
            self._waiting.note(cids, recursive=False)
        elif cids:
            self._add_now(cids)

    def settle(self, pins: Sequence[WaitingPin], is_here: Callable[[CID], bool]) -> dict[WaitingPin, str]:
        """Set pins that wait. Returns those that could not be set, and why: mostly, what they lead to is not whole."""

        def add(cids: Sequence[CID], recursive: bool) -> str:
            try:
                self._api.call("pin/add", *map(str, cids), recursive=recursive, offline=True, within=QUICK_SECONDS)
            except KuboRefused as error:
                return str(error)
            return ""

        if self._waiting is None:
            return {}
        with self._waiting.beside_others():
            still = [pin for pin in pins if self._waiting.has(pin)]  # the others were set, or undone, meanwhile
            return self._waiting.settle(still, add, is_here)

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._waiting is None else self._waiting.alone()

    def keeps(self, root: CID) -> bool:
        """Whether ``root`` is pinned recursively."""
        if self._waiting is not None and self._waiting.has(WaitingPin(root, recursive=True)):
            return True
        try:
            self._api.call("pin/ls", str(root), type="recursive")
        except KuboRefused as error:
            if "not pinned" not in str(error):
                raise
            return False
        return True

    def check_going(self, cid: CID) -> None:
        """Check that a pin did not fail because the node is stopping. An answer that is cut short says why only in a
        trailer, which httpx does not read. Another call tells.

        Raises:
            EngineUnavailable: if the node is stopping.
        """
        with contextlib.suppress(KuboRefused):  # we know that it is not pinned
            self._api.call("pin/ls", str(cid))
