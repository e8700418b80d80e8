"""What every secret and every ciphertext is bound to, and the one place that seals and encrypts.

Each sealed or encrypted thing has a *context*: a frozen value that names the federation, the version or run, the epoch
and the member that it is for. The context's bytes go into HPKE's ``info``, into the associated data of the AEAD, or
into the derivation of a content's key. So a ciphertext that is copied to another place does not open there, whoever
signed the record around it. No other module of Pollen calls `crypto.sealing`, or encrypts, decrypts or derives with a
`crypto.symmetric.SymmetricKey`, so nobody can forget a binding (`tests/protocol/records/test_contexts.py` checks that).

A version of a manifest (`VersionPlace`) and a run (`RunPlace`) need a name before they have a CID, because their record
holds, or links, what is bound to them. docs/protocol.md, section 13, has the table.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from enum import StrEnum
from typing import Final

import msgspec

from crypto.keys import DecryptionKey, EncryptionKey
from crypto.sealing import open_sealed, seal
from crypto.symmetric import ChunkNonce, SymmetricKey
from protocol.blocks.cid import CID, encode_cbor
from protocol.blocks.content import ContentKey
from protocol.blocks.listing import pack
from protocol.records.bodies import Federation, RecordType
from protocol.records.signed_records import body_value

_DOMAIN: Final = "pollen context 1"


class _Value(msgspec.Struct, frozen=True, array_like=True):
    """A list of its fields."""


class _Context(_Value, frozen=True, tag_field="name"):
    """A list of its name, which is msgspec's ``tag``, and its fields."""


class EpochSecret(StrEnum):
    """The two secrets of an epoch."""

    MODEL = "model"
    UPDATE = "update"


# -- places ----------------------------------------------------------------------------------------------------------


class VersionPlace(_Value, frozen=True):
    """One version of a federation's manifest, before it has a CID."""

    digest: bytes
    """SHA-256 over the dag-cbor of its body without members, manifest key and private part. It covers ``prev``, and so
    the federation and all earlier versions. It covers the admins too, and some of them have to sign this version."""


def version_place(body: Federation) -> VersionPlace:
    """The place of a version. The parts that it leaves out can be made later and bound to it."""
    nobody, _ = pack([])
    shown = replace(body, members=nobody, key=None, private=b"")
    return VersionPlace(hashlib.sha256(encode_cbor(body_value(shown))).digest())


class RunPlace(_Value, frozen=True):
    """One encrypted run, before its record has a CID."""

    federation: CID
    leader: bytes
    """The member id of the leader: nobody else can sign a run with this place."""
    first_key: bytes
    """The commitment to the model key of its epoch 1, which no other run has."""


# -- sealed for one reader: HPKE's info ------------------------------------------------------------------------------


class ManifestKeyWrap(_Context, frozen=True, tag="manifest key"):
    """The manifest key, as one version wraps it for one member."""

    version: VersionPlace
    member: bytes


class EpochKeyWrap(_Context, frozen=True, tag="epoch key"):
    """A secret of an epoch, wrapped for one member, or granted to it later."""

    run: RunPlace
    epoch: int
    secret: EpochSecret
    member: bytes


class OwnKeySeal(_Context, frozen=True, tag="own key"):
    """A client's own key of an epoch, sealed to that epoch's update key."""

    run: CID
    epoch: int
    member: bytes


class SeedSeal(_Context, frozen=True, tag="seed"):
    """A run's seed, sealed to the update key of an epoch."""

    run: RunPlace
    epoch: int


class AnnouncementSeal(_Context, frozen=True, tag="announcement to one"):
    """An announcement for one member only."""

    federation: CID
    member: bytes


class JobAnswerSeal(_Context, frozen=True, tag="job answer"):
    """A server's answer to the member that asked it for a job."""

    federation: CID
    member: bytes


class KeptReport(_Context, frozen=True, tag="kept report"):
    """The result of verifying a run, as a home keeps it for the member that verified it."""

    run: CID
    member: bytes


SealContext = ManifestKeyWrap | EpochKeyWrap | OwnKeySeal | SeedSeal | AnnouncementSeal | JobAnswerSeal | KeptReport


# -- encrypted under a key: the associated data ----------------------------------------------------------------------


class ManifestPrivate(_Context, frozen=True, tag="manifest private"):
    """The private part of a version of the manifest, under the manifest key."""

    version: VersionPlace


class RecordPrivate(_Context, frozen=True, tag="record private"):
    """The private part of a record of a run's chain, under the model key of its epoch."""

    run: RunPlace
    epoch: int
    type: RecordType
    height: int


class ReplyPrivate(_Context, frozen=True, tag="reply private"):
    """The private part of a reply, under the client's own key."""

    run: CID
    epoch: int
    member: bytes
    message: bytes


class SecretBefore(_Context, frozen=True, tag="epoch before"):
    """A secret of the epoch before ``epoch``, under the same secret of ``epoch``."""

    run: RunPlace
    epoch: int
    secret: EpochSecret


class AnnouncementForAll(_Context, frozen=True, tag="announcement"):
    """An announcement for all members, under the manifest key that version ``key_epoch`` brought."""

    federation: CID
    key_epoch: int


class JoinSide(StrEnum):
    """Who sends a message about joining."""

    NEWCOMER = "join"
    INVITER = "welcome"


class JoinMessage(_Context, frozen=True, tag="joining"):
    """A message between newcomer and inviter, under the root key of a ticket."""

    federation: CID
    side: JoinSide


class AskingSide(StrEnum):
    """Who sends a message when one member asks another for news."""

    ASKING = "question"
    ASKED = "answer"


class AskingMessage(_Context, frozen=True, tag="asking"):
    """A question or an answer, under the swarm key. ``member`` is the member asked."""

    federation: CID
    member: bytes
    side: AskingSide


class ErasureMessage(_Context, frozen=True, tag="erasure"):
    """What a member says of its part in a shredding, under the swarm key."""

    federation: CID


CipherContext = (
    ManifestPrivate
    | RecordPrivate
    | ReplyPrivate
    | SecretBefore
    | AnnouncementForAll
    | JoinMessage
    | AskingMessage
    | ErasureMessage
)


# -- keys of contents: the label of their derivation -----------------------------------------------------------------


class SentContent(_Context, frozen=True, tag="content"):
    """Contents that a run's server made in an epoch, under the model key. All have the same key, so that equal chunks
    of an epoch stay equal."""

    run: RunPlace
    epoch: int


class ReplyContent(_Context, frozen=True, tag="reply content"):
    """Contents of a member's replies in an epoch, under the member's own key of that epoch."""

    run: CID
    epoch: int
    member: bytes


class StateContent(_Context, frozen=True, tag="state"):
    """The state of a member's app in a run, which it keeps for itself, as versions before keys could be shredded wrote
    it."""

    run: CID
    member: bytes


class BoundState(_Context, frozen=True, tag="bound state"):
    """The state of a member's app in a run. It takes the member's secret and the run's model key to open it, so that it
    goes when that key is destroyed."""

    run: CID
    member: bytes
    of_model: bytes
    """A key derived from the model key of the run's epoch 1, which each later epoch opens."""


ContentContext = SentContent | ReplyContent | StateContent | BoundState


_NO_EPOCHS: Final[dict[type, int]] = {StateContent: 0, BoundState: 1}
"""What a state has in the place of an epoch: it tells which of the two keys opens it."""


# -- tags: names that tell which key, to those who have it -----------------------------------------------------------


class InvitationTag(_Context, frozen=True, tag="invitation tag"):
    """Names an invitation on the wire."""

    federation: CID


class AnnouncementTag(_Context, frozen=True, tag="announcement tag"):
    """Names the manifest key that encrypts an announcement for all members."""

    federation: CID
    key_epoch: int


class TicketRoot(_Context, frozen=True, tag="ticket"):
    """What an inviter keeps of a ticket's secret."""

    federation: CID


TagContext = InvitationTag | AnnouncementTag

Context = SealContext | CipherContext | ContentContext | TagContext | TicketRoot


def context_bytes(context: Context) -> bytes:
    """The one encoding of a context: dag-cbor of ``[domain, name, field, ...]``. A place is the list of its fields."""
    return encode_cbor([_DOMAIN, *_as_list(context)])


def _as_list(context: Context) -> list[object]:
    """The name and the fields."""
    plain = msgspec.to_builtins(context, builtin_types=(bytes, CID))
    return list(plain)


def _name(context: Context) -> bytes:
    return str(_as_list(context)[0]).encode()


# -- sealing and encrypting ------------------------------------------------------------------------------------------


def seal_for(reader: EncryptionKey, secret: bytes, context: SealContext) -> bytes:
    """``secret``, sealed for this reader and this place only."""
    return seal(reader, secret, context_bytes(context))


def unseal(key: DecryptionKey, sealed: bytes, context: SealContext) -> bytes:
    """What `seal_for` sealed.

    Raises:
        crypto.errors.CannotDecrypt: if it was sealed for another reader or place, or changed.
    """
    return open_sealed(key, sealed, context_bytes(context))


def encrypt(key: SymmetricKey, plaintext: bytes, context: CipherContext) -> bytes:
    """``plaintext``, encrypted for this place only, under a key derived for this kind of context."""
    return key.derive(_name(context)).encrypt(plaintext, context_bytes(context))


def decrypt(key: SymmetricKey, ciphertext: bytes, context: CipherContext) -> bytes:
    """What `encrypt` encrypted.

    Raises:
        crypto.errors.CannotDecrypt: if it was encrypted under another key or for another place, or changed.
    """
    return key.derive(_name(context)).decrypt(ciphertext, context_bytes(context))


def content_key(key: SymmetricKey, context: SentContent | ReplyContent, chunk_nonce: ChunkNonce) -> ContentKey:
    """The key of contents in that place, and of an epoch whose keys say how ``chunk_nonce`` is made. The app process
    gets this key, and never the one it is derived from."""
    return ContentKey(context.epoch, key.derive(context_bytes(context)).secret_bytes(), chunk_nonce)


def state_keys(secret: SymmetricKey, model: SymmetricKey, run: CID, member: bytes) -> tuple[ContentKey, ContentKey]:
    """The key of what ``member`` keeps of its app in ``run``, and the one that earlier versions used. ``secret`` is the
    member's own, ``model`` the model key of epoch 1."""
    before = StateContent(run, member)
    of_model = model.derive(context_bytes(before)).secret_bytes()
    return _state_key(secret, BoundState(run, member, of_model)), _state_key(secret, before)


def _state_key(secret: SymmetricKey, context: StateContent | BoundState) -> ContentKey:
    key = secret.derive(context_bytes(context)).secret_bytes()
    return ContentKey(_NO_EPOCHS[type(context)], key, ChunkNonce.HMAC)  # no record could say that it is another


def tag_of(key: SymmetricKey, context: TagContext, size: int) -> bytes:
    """The first ``size`` bytes of a key that is derived from ``key`` only to name it."""
    return key.derive(context_bytes(context)).secret_bytes()[:size]


def ticket_root(secret: bytes, federation: CID) -> SymmetricKey:
    """The root key that both sides derive from a ticket's secret."""
    return SymmetricKey(secret).derive(context_bytes(TicketRoot(federation)))
