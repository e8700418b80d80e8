"""A dispute: a record of a leader's, and the word of another server that its app came to something else.

Whoever has both, and what the app was given before, can run the app a third time and tell who is wrong. A *dispute
block*, dag-cbor ``{"record": link, "word": link}``, gives the two a name.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.blocks.cid import CID, Block, BlockError, cbor_block, decode_cbor


@dataclass(frozen=True, slots=True)
class Dispute:
    """Nothing of it is checked."""

    record: CID
    """The block of the dispatch, or the close, of which the two say different things."""
    word: CID
    """The block of the ack (`protocol.records.bodies.RecomputedAck`) that says ``diverged``."""

    def block(self) -> Block:
        """The dispute block."""
        return cbor_block({"record": self.record, "word": self.word})


def dispute_in(block: Block) -> Dispute | None:
    """What a dispute block says; None if ``block`` is none."""
    if block.cid.is_raw:
        return None
    try:
        value = decode_cbor(block.data)
    except BlockError:
        return None
    match value:
        case {"record": CID() as record, "word": CID() as word, **more} if not more:
            return Dispute(record, word)
        case _:
            return None
