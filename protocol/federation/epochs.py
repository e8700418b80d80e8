"""Making the keys of an epoch, and giving them to one more reader later.

Only making keys takes randomness, which `crypto` gets from the operating system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from crypto.keys import DecryptionKey, EncryptionKey
from crypto.symmetric import ChunkNonce, SymmetricKey
from protocol.blocks.cid import CID, Block, BlockError, cbor_block, decode_cbor, encode_cbor
from protocol.blocks.listing import Listing, pack
from protocol.blocks.typed import to_plain
from protocol.federation.manifest import Manifest
from protocol.federation.run_keys import Epoch, RunKeys
from protocol.records.bodies import (
    EncryptionKeyText,
    Grant,
    Keys,
    Member,
    Role,
    UpdateKey,
    Wrap,
    WrappedKey,
)
from protocol.records.contexts import (
    EpochKeyWrap,
    EpochSecret,
    ManifestKeyWrap,
    RunPlace,
    SealContext,
    SecretBefore,
    SeedSeal,
    VersionPlace,
    encrypt,
    seal_for,
)

CHUNK_NONCE: Final = ChunkNonce.GMAC
"""How the nonces of chunks are made in each new epoch. An epoch keeps to what its keys say."""


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """An epoch's keys: the body to sign, the blocks of its listings, and the secrets."""

    body: Keys
    blocks: tuple[Block, ...]
    epoch: Epoch


def reads_models(member: Member) -> bool:
    """Whether the member's roles let it read what the server sends."""
    return Role.KEEPER not in member.roles


def reads_updates(member: Member) -> bool:
    """Whether the member's roles let it read what clients send."""
    return Role.SERVER in member.roles or Role.AUDITOR in member.roles


def new_epoch(
    manifest: Manifest, before: Epoch | None, *, by: bytes, time: float, model: SymmetricKey | None = None
) -> NewEpoch:
    """The epoch after ``before`` (None: the first of a run), for the members of ``manifest``.

    ``model`` is its model key if something is encrypted with that already; None for a new key.

    Raises:
        crypto.errors.BadKey: if a member's encryption key is of a suite that is not known here.
    """
    number = before.number + 1 if before else 1
    model, update = model or SymmetricKey.generate(), DecryptionKey.generate()
    run = before.run if before else RunPlace(manifest.federation, by, model.commitment())
    members = list(manifest.members.values())
    for_members, blocks = epoch_wraps(model, filter(reads_models, members), run, number)
    readers = filter(reads_updates, members)
    updates, more = _wraps(
        update.secret_bytes(), readers, lambda member: EpochKeyWrap(run, number, EpochSecret.UPDATE, member)
    )
    body = Keys(
        by=by,
        time=time,
        number=number,
        model=for_members,
        update=UpdateKey(
            public=EncryptionKeyText(suite=update.public.suite.value, key=update.public.raw), wraps=updates
        ),
        model_before=b"",
        update_before=b"",
        chunk_nonce=CHUNK_NONCE,
    )
    if before is not None:
        body = _with_before(body, before, model, update)
    return NewEpoch(body, (*blocks, *more), Epoch(run, body, update.public, model, update))


def _with_before(body: Keys, before: Epoch, model: SymmetricKey, update: DecryptionKey) -> Keys:
    assert before.model is not None  # the leader is a server, and servers read everything
    assert before.update is not None
    update_key = SymmetricKey(update.secret_bytes())
    return replace(
        body,
        model_before=encrypt(
            model, before.model.secret_bytes(), SecretBefore(before.run, body.number, EpochSecret.MODEL)
        ),
        update_before=encrypt(
            update_key, before.update.secret_bytes(), SecretBefore(before.run, body.number, EpochSecret.UPDATE)
        ),
    )


def manifest_wraps(
    key: SymmetricKey, members: Iterable[Member], version: VersionPlace
) -> tuple[WrappedKey, list[Block]]:
    """The manifest key for each of ``members``, as ``version`` wraps it, and the blocks of the listing.

    Raises:
        crypto.errors.BadKey: if a member's encryption key is of a suite that is not known here.
    """
    wraps, blocks = _wraps(key.secret_bytes(), members, lambda member: ManifestKeyWrap(version, member))
    return WrappedKey(commitment=key.commitment(), wraps=wraps), blocks


def epoch_wraps(
    model: SymmetricKey, members: Iterable[Member], run: RunPlace, number: int
) -> tuple[WrappedKey, list[Block]]:
    """The model key of epoch ``number`` for each of ``members``; as `manifest_wraps`."""
    wraps, blocks = _wraps(
        model.secret_bytes(), members, lambda member: EpochKeyWrap(run, number, EpochSecret.MODEL, member)
    )
    return WrappedKey(commitment=model.commitment(), wraps=wraps), blocks


def _wraps(
    secret: bytes, members: Iterable[Member], context_for: Callable[[bytes], SealContext]
) -> tuple[Listing, list[Block]]:
    sealed = [
        Wrap(to=member.id, sealed=seal_for(encryption_key(member), secret, context_for(member.id)))
        for member in members
    ]
    return pack(to_plain(sorted(sealed, key=lambda wrap: wrap.to)))


def encryption_key(member: Member) -> EncryptionKey:
    """The member's encryption key.

    Raises:
        crypto.errors.BadKey: if it is of a suite that is not known here.
    """
    return EncryptionKey.parse(member.encryption.suite, member.encryption.key)


def grant(run: CID, epoch: Epoch, manifest: Manifest, reader: Member, *, by: bytes, time: float) -> Grant:
    """The keys of ``epoch`` for ``reader``, a member in ``manifest`` that reads models."""
    assert reads_models(reader)
    assert epoch.update is not None
    update = epoch.update.secret_bytes() if reads_updates(reader) else None
    return _granted(run, epoch, manifest.cid, reader.id, encryption_key(reader), update, by, time)


def kept_grant(run: CID, epoch: Epoch, manifest: CID, member: bytes, key: EncryptionKey, *, time: float) -> Grant:
    """What ``member`` has of the keys of ``epoch``, for itself: sealed for ``key``, which it has made since."""
    update = None if epoch.update is None else epoch.update.secret_bytes()
    return _granted(run, epoch, manifest, member, key, update, member, time)


def _granted(
    run: CID, epoch: Epoch, manifest: CID, to: bytes, key: EncryptionKey, update: bytes | None, by: bytes, time: float
) -> Grant:
    assert epoch.model is not None
    for_model, for_update = (EpochKeyWrap(epoch.run, epoch.number, secret, to) for secret in EpochSecret)
    return Grant(
        by=by,
        time=time,
        run=run,
        number=epoch.number,
        manifest=manifest,
        to=to,
        model=seal_for(key, epoch.model.secret_bytes(), for_model),
        update=b"" if update is None else seal_for(key, update, for_update),
    )


# -- the seed of a run -----------------------------------------------------------------------------------------------


def seed_block(seed: bytes, epoch: Epoch | None) -> Block:
    """The block with a run's seed, sealed for servers and auditors; plain if there is no epoch."""
    private = encode_cbor(seed)
    if epoch is None:
        return cbor_block({"epoch": None, "private": private})
    sealed = seal_for(epoch.public, private, SeedSeal(epoch.run, epoch.number))
    return cbor_block({"epoch": epoch.number, "private": sealed})


def read_seed(block: Block, keys: RunKeys) -> bytes:
    """The seed in its block, 32 bytes.

    Raises:
        BlockError: if these keys read no seed in it.
    """
    match decode_cbor(block.data):
        case {"epoch": None, "private": bytes(private), **rest} if not rest:
            plain: bytes | None = private
        case {"epoch": int(number), "private": bytes(sealed), **rest} if not rest:
            plain = keys.open_seed(number, sealed)
        case _:
            plain = None
    seed = None if plain is None else decode_cbor(plain)
    if isinstance(seed, bytes) and len(seed) == 32:
        return seed
    raise BlockError(f"{block.cid} holds no seed that can be read here: it takes the key of a server or an auditor")
