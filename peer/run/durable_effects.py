"""Carries out the effects that keep something for good: blocks in the engine, rows in the journal."""

from __future__ import annotations

import time
from dataclasses import dataclass

from peer.engine.interface import Engine
from peer.home.federations import FederationStore
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import CID, checked_block
from protocol.records.bodies import Role
from protocol.roles.effects import (
    AskOwner,
    Durable,
    KeepAcks,
    KeepManifest,
    KeepPlace,
    KeepProof,
    KeepReply,
    KeepVote,
    KeepWatched,
    KeepWhole,
    Store,
    WriteHead,
)


@dataclass(frozen=True, slots=True)
class DurableEffects:
    """Carries out durable effects, one at a time."""

    engine: Engine
    journal: Journal
    federations: FederationStore
    federation: CID
    role: Role
    engine_name: str
    """As ``--ipfs`` has it, for later commands with this home."""
    place: str
    """Where the home is (`peer.home.home_location`)."""
    job: int | None = None
    """The number of the job whose run this is, if it is one's."""

    def carry_out(self, effect: Durable) -> None:
        """Carry out one effect. When this returns, the result is on disk.

        Raises:
            EngineError, PeerError, OSError: if that fails. Then nothing half-done is left.
        """
        match effect:
            case Store():
                if effect.own:
                    self.journal.keep_own(effect.blocks)
                self.engine.put(effect.blocks, pin=[block.cid for block in effect.blocks])
            case WriteHead():
                self.journal.keep_newer_head(self._head(effect), effect.well_signed, self.job, leader=effect.leader)
            case KeepReply():
                keep = self.journal.replace_reply if effect.anew else self.journal.keep_reply
                keep(effect.run, effect.message, effect.reply, effect.state)
            case KeepProof(found=found):
                proof = found.blocks()
                self.journal.keep_proof(found.run, proof)
                self.engine.put(proof, pin=[block.cid for block in proof])
            case KeepAcks(run=run, blocks=blocks):
                self.journal.keep_beside(run, blocks, [block.cid for block in blocks])
                self.engine.put(blocks, pin=[block.cid for block in blocks])
            case KeepVote(run=run, term=term, vote=vote):
                self.journal.keep_vote(run, term, vote)
            case KeepManifest():
                self.federations.learn(self.federation, effect.cid, effect.blocks, effect.key)
                versions = [checked_block(cid, data) for cid, data in effect.blocks.items()]
                self.engine.put(versions, pin=[block.cid for block in versions])  # our beats name it: others fetch it
            case KeepPlace() | KeepWatched() | KeepWhole() | AskOwner():
                self._note(effect)

    def _note(self, effect: KeepPlace | KeepWatched | KeepWhole | AskOwner) -> None:
        match effect:
            case KeepPlace(run):
                self.journal.keep_place(self.place, run)
            case KeepWatched(run):
                self.journal.keep_watched(run)
            case KeepWhole(run):
                self.journal.finish(run)
            case AskOwner(app, name, run):
                self.journal.ask_for_app(app, name, run)

    def _head(self, effect: WriteHead) -> RunHead:
        return RunHead(
            run=effect.run,
            federation=self.federation,
            head=effect.head,
            height=effect.height,
            term=effect.term,
            closed=effect.closed,
            role=self.role,
            engine=self.engine_name,
            updated=time.time(),
        )
