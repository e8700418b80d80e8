"""Keeping what must survive this process: blocks in the engine, and what the journal holds.

Every method returns when what it keeps is on disk.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from peer.engine.interface import Engine
from peer.home.federations import FederationStore
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import CID
from protocol.records.bodies import Role
from protocol.roles.effects import AskOwner, KeepAcks, KeepManifest, KeepPlace, KeepProof, KeepReply, Store, WriteHead

Durable = Store | WriteHead | KeepReply | KeepProof | KeepAcks | KeepManifest | KeepPlace | AskOwner
"""The effects that are carried out in the order given."""


@dataclass(frozen=True, slots=True)
class DurableEffects:
    """Carries out the effects that are about durability, in the order they come."""

    engine: Engine
    journal: Journal
    federations: FederationStore
    federation: CID
    role: Role
    engine_name: str
    """As ``--ipfs`` took it, for later commands on this home."""
    place: str
    """Where the home is (`peer.home.home_location`)."""

    def carry_out(self, effect: Durable) -> None:
        """Carry out one effect.

        Raises:
            EngineError, PeerError, OSError: if it cannot be done; nothing half-done is left.
        """
        match effect:
            case Store():
                if effect.own:
                    self.journal.keep_own(effect.blocks)
                self.engine.put(effect.blocks, pin=[block.cid for block in effect.blocks])
            case WriteHead():
                self.journal.keep_head(self._head(effect), effect.well_signed)
            case KeepReply():
                self.journal.keep_reply(effect.run, effect.message, effect.reply, effect.state)
            case KeepProof(found=found):
                proof = found.blocks()
                self.journal.keep_proof(found.run, proof)
                self.engine.put(proof, pin=[block.cid for block in proof])
            case KeepAcks(run=run, blocks=blocks):
                self.journal.keep_beside(run, blocks, [block.cid for block in blocks])
                self.engine.put(blocks, pin=[block.cid for block in blocks])
            case KeepManifest():
                self.federations.learn(self.federation, effect.cid, effect.blocks, effect.key)
            case KeepPlace():
                self.journal.keep_place(self.place)
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
