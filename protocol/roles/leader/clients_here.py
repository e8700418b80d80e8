"""Which clients are here, and what people are told of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocol.blocks.cid import CID
from protocol.federation.manifest import node_id
from protocol.records.bodies import Role
from protocol.roles.collecting.awaited_replies import AwaitedReplies
from protocol.roles.effects import What
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.presence import Presence, Sighting
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.machine import Machine
from protocol.wire.announcements import Beat, Hello, PeerState, Position

MAX_UNKNOWN_RUNS: Final = 4
"""Runs unknown to this home of which people are told."""


class ClientsHere:
    """The clients of a run: `Presence` knows whom we hear, and the federation whom we count."""

    def __init__(
        self,
        known_runs: frozenset[CID],
        presence: Presence,
        awaited_replies: AwaitedReplies,
        writer: RecordWriter,
        machine: Machine[LeaderState],
    ) -> None:
        self._known_runs = known_runs
        self._unknown_runs: set[CID] = set()
        """Runs in which clients were, and which this home does not know; a few, as anybody can name many."""
        self.presence = presence
        self._awaited_replies = awaited_replies
        self._writer = writer
        self._newest, self._outbox, self._distrust = machine.newest, machine.outbox, machine.equivocations.distrust
        self._machine = machine

    def listed(self) -> tuple[int, ...]:
        """The nodes that the app is told of."""
        manifest = self._writer.chain.manifest
        distrusted = self._distrust.nodes(manifest)
        return tuple(node for node in self.presence.listed(manifest) if node not in distrusted)

    def have(self, nodes: frozenset[int]) -> bool:
        """Whether those of ``nodes`` and all that are here have verified the chain's head."""
        chain = self._writer.chain
        assert chain.head is not None
        return self.presence.all_have(chain.head, chain.manifest) and nodes <= set(self.listed())

    def keepers_behind(self) -> tuple[int, ...]:
        """The nodes of the keepers that are here, have room, and have not said that they have all of the run, up to the
        chain's head."""
        head = self._writer.chain.head
        keepers = self._newest.manifest.nodes_of(Role.KEEPER)
        here = ((node, self.presence.sighting(node)) for node in sorted(keepers))
        return tuple(node for node, seen in here if seen is not None and seen.head != head and not seen.note)

    def standbys(self) -> tuple[bytes, ...]:
        """The other servers that are here and say, when they beat, that they follow our run."""
        return tuple(by for by, seen in self._servers() if seen.head is not None)

    def servers(self) -> tuple[bytes, ...]:
        """The other servers that are here, whatever they do."""
        return tuple(by for by, _ in self._servers())

    def _servers(self) -> Iterator[tuple[bytes, Sighting]]:
        for by in self._writer.chain.manifest.ids_of(Role.SERVER):
            seen = self.presence.sighting(node_id(by))
            if seen is not None and seen.state is not PeerState.REFUSED:
                yield by, seen

    def heard(self, by: bytes, body: Hello | Beat, now: float) -> None:
        """A client says that it is here. What it says of a run that we lead beside ours is only a sign of life."""
        name, position = self._newest.manifest.name_of(by), body.position
        if position is not None and self._machine.acting.is_of_another(position.run, self._machine):
            self.presence.still_here(by, now)
            return
        head = position.head if position is not None and self._is_ours(position.run) else self.presence.head_of(by)
        if self.presence.heard(by, Sighting(now, body.state, head, body.note)):
            self._outbox.report(What.PEER_HERE, name=name)
            self._look_for_an_unknown_run(name, body.position)
        elif body.state is PeerState.REFUSED:
            self._outbox.report(What.RUN_REFUSED, name=name, why=body.note)

    def _knows(self, run: CID) -> bool:
        return run in self._known_runs or self._machine.acting.knows(run)

    def _is_ours(self, run: CID) -> bool:
        chain = self._writer.chain
        return chain.head is not None and chain.run == run

    def _look_for_an_unknown_run(self, name: str, position: Position | None) -> None:
        """Say so if a client was in a run that this home does not know: it may be put back from before that run of
        ours, and what we begin is another one."""
        chain = self._writer.chain
        ours = None if chain.head is None else chain.run
        if position is None or position.run == ours or self._knows(position.run):
            return
        if position.run not in self._unknown_runs and len(self._unknown_runs) < MAX_UNKNOWN_RUNS:
            self._unknown_runs.add(position.run)
            others = len(self._newest.manifest.nodes_of(Role.SERVER)) - 1
            self._outbox.report(What.RUN_UNKNOWN, name=name, run=str(position.run), other_servers=others)

    def left(self, client: bytes, now: float) -> None:
        """A client says goodbye."""
        if self.presence.left(client, now):
            self._is_away(client, now, What.PEER_LEFT)

    def fade(self, now: float) -> None:
        """Count no more those that have been silent for too long."""
        for node in self.presence.fade(len(self._newest.manifest.members), now):
            member = self._newest.manifest.member_by_node(node)
            if member is not None:  # otherwise it was taken out: that was said
                self._is_away(member.id, now, What.PEER_AWAY)

    def _is_away(self, client: bytes, now: float, what: What) -> None:
        """Say so, and for how many seconds its answers are still waited for, if it owes any."""
        node = node_id(client)
        owed = (message.id for message in self._writer.chain.open.values() if message.node == node)
        until = max(self._awaited_replies.deadlines(owed), default=now)
        left = max(0.0, until - now)
        self._outbox.report(what, name=self._newest.manifest.name_of(client), answer_within=left or None)
