"""A client's own key of an epoch: it encrypts what only servers and auditors may read."""

from __future__ import annotations

from dataclasses import dataclass

from crypto.keys import EncryptionKey
from crypto.symmetric import ChunkNonce, SymmetricKey
from protocol.blocks.cid import CID
from protocol.blocks.content import ContentKey
from protocol.chain.chain import Chain
from protocol.records.bodies import ReasonPrivate
from protocol.records.contexts import OwnKeySeal, ReplyContent, ReplyPrivate, content_key, seal_for
from protocol.records.private_parts import private_part


@dataclass(frozen=True, slots=True)
class OwnKey:
    """It is random, and not made of what our signing key is: whoever steals that is not to read updates."""

    run: CID
    epoch: int
    member: bytes
    key: SymmetricKey
    of: EncryptionKey
    """The epoch's update key."""
    sealed: bytes
    """The key, sealed to that."""
    chunk_nonce: ChunkNonce
    """The epoch's."""

    @property
    def content_key(self) -> ContentKey:
        """What the app encrypts the content of a reply with."""
        return content_key(self.key, ReplyContent(self.run, self.epoch, self.member), self.chunk_nonce)

    def encrypted(self, reason: ReasonPrivate, message: bytes) -> bytes:
        """The private part of the reply to a message."""
        return private_part(reason, self.key, ReplyPrivate(self.run, self.epoch, self.member, message))


def own_key(chain: Chain, member: bytes, before: OwnKey | None) -> OwnKey | None:
    """Our key of the chain's newest epoch; None if nothing is encrypted. ``before`` is the one we had: a new epoch
    has another, and so has a new process. An epoch that a takeover lost is another one than the next of its number, if
    not in its update key, then in how its keys say that nonces are made: a leader may repeat the one with the other."""
    epoch = chain.keys.current
    if epoch is None:
        return None
    ours = (chain.run, epoch.number, epoch.public, epoch.body.chunk_nonce)
    if before is not None and (before.run, before.epoch, before.of, before.chunk_nonce) == ours:
        return before
    key = SymmetricKey.generate()
    sealed = seal_for(epoch.public, key.secret_bytes(), OwnKeySeal(chain.run, epoch.number, member))
    return OwnKey(chain.run, epoch.number, member, key, epoch.public, sealed, epoch.body.chunk_nonce)
