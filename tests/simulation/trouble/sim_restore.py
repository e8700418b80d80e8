"""Homes that are put back to an older copy, and homes that are there twice."""

from __future__ import annotations

import copy
from dataclasses import fields

from sim_disk import Disk
from sim_federation import key_of
from sim_peer import Peer

from protocol.roles.effects import Durable


class Restored:
    """Puts a peer's home back: after its step ``restore`` to what it was after its step ``snapshot``.

    ``blocks``: its engine is in the home, and is put back too. A server whose run is closed is left alone, because no
    client may be left that could tell.
    """

    def __init__(self, peer: Peer, snapshot: int, restore: int, *, blocks: bool, downtime: float = 1.0) -> None:
        self.peer = peer
        self.happened = False
        self._steps = 0
        self._at = snapshot, restore
        self._blocks = blocks
        self._downtime = downtime
        self._saved: Disk | None = None
        self._carry_out = peer.disk.carry_out
        peer.disk.carry_out = self._step  # type: ignore[method-assign]  # one peer's disk, not all

    def _step(self, effect: Durable) -> None:
        self._carry_out(effect)
        self._steps += 1
        if self._steps == self._at[0]:
            self._saved = snapshot_of(self.peer.disk)
        if self._steps == self._at[1]:
            self.peer._timeline.after(0.0, self._restore)

    def _restore(self) -> None:
        peer, saved = self.peer, self._saved
        assert saved is not None
        is_over = peer.role.leads and peer.disk.closed is not None
        if peer.finished or is_over or peer._machine is None:
            return
        self.happened = True
        peer._end("is put back to an older copy of its home")
        for field in fields(Disk):
            if field.name != "blocks" or self._blocks:
                setattr(peer.disk, field.name, copy.copy(getattr(saved, field.name)))
        peer.disk.is_restored = True
        peer._witness.terms.forget(key_of(peer.name).verify_key.raw)
        peer._timeline.after(self._downtime, peer.start)


def snapshot_of(disk: Disk) -> Disk:
    """A copy of a home as it is now."""
    return Disk(**{field.name: copy.copy(getattr(disk, field.name)) for field in fields(Disk)})


class Copied:
    """Starts a copy of a peer's home beside it, as it was after its step ``at``. Neither comes back once it stops
    because there are two."""

    def __init__(self, peer: Peer, at: int, *, delay: float) -> None:
        self.twin: Peer | None = None
        self.stopped: list[Peer] = []
        """Those of the two that could not go on."""
        self._peer = peer
        self._at, self._delay = at, delay
        self._steps = 0
        self._carry_out = peer.disk.carry_out
        peer.disk.carry_out = self._step  # type: ignore[method-assign]  # one peer's disk, not all

    def _step(self, effect: Durable) -> None:
        self._carry_out(effect)
        self._steps += 1
        if self._steps == self._at:
            peer = self._peer
            self.twin = twin = copy.copy(peer)
            twin.name, twin.disk, twin._machine = f"{peer.name} twin", snapshot_of(peer.disk), None
            twin.role = copy.copy(peer.role)  # its app process is another
            for each in (peer, twin):
                self._watch(each)
            peer._network._names += (twin.name,)
            peer._timeline.after(self._delay, twin.start)

    def _watch(self, peer: Peer) -> None:
        stopped = peer._stopped

        def stop(why: str) -> None:
            if why:
                self.stopped.append(peer)
                peer._end(why)
            else:
                stopped(why)

        peer._stopped = stop  # type: ignore[method-assign]  # of these two alone
