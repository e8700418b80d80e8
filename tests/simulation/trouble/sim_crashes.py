"""A crash at one step of an election: what a candidate keeps is on disk by then, or not."""

from __future__ import annotations

from collections.abc import Callable

from sim_peer import Peer

from protocol.roles.effects import Durable, KeepVote


class CrashInElection:
    """Crashes a peer at its first durable step of a kind from its first vote on.

    ``is_kept``: the step is on disk, and the process has not heard of that. If not, it is lost on its way.
    """

    def __init__(self, peer: Peer, kind: type[Durable], *, is_kept: bool) -> None:
        self._peer = peer
        self._kind = kind
        self._is_kept = is_kept
        self._has_voted = False
        self.effect: Durable | None = None
        """At which it crashed."""
        self._write: Callable[[Durable], None] = peer._write
        self._carry_out = peer.disk.carry_out
        peer._write = self._begin  # type: ignore[method-assign]  # of this peer alone
        peer.disk.carry_out = self._end  # type: ignore[method-assign]

    def _begin(self, effect: Durable) -> None:
        self._has_voted = self._has_voted or isinstance(effect, KeepVote)
        if self._has_voted and self.effect is None and isinstance(effect, self._kind):
            self.effect = effect
            if not self._is_kept:
                self._peer._timeline.after(0.0, self._peer.crash)
        self._write(effect)

    def _end(self, effect: Durable) -> None:
        self._carry_out(effect)
        if effect is self.effect and self._is_kept:
            self._peer._timeline.after(0.0, self._peer.crash)
