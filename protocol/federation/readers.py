"""Who can read what: the keys that a reader has of a federation and of a run.

Reading is apart from trusting. Anybody can verify a chain. A reader with keys opens private parts too, and then checks
the rules about them. `protocol.federation.epochs` makes the keys, `crypto` does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crypto.errors import BadKey, CannotDecrypt
from crypto.keys import DecryptionKey, EncryptionKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, BlockError, BlockSource
from protocol.blocks.listing import Listing
from protocol.records.bodies import (
    Federation,
    FederationPrivates,
    Grant,
    Keys,
    Member,
    UpdateKey,
    Wrap,
    WrappedKey,
)
from protocol.records.contexts import (
    EpochKeyWrap,
    EpochSecret,
    ManifestKeyWrap,
    ManifestPrivate,
    RunPlace,
    SealContext,
    SecretBefore,
    decrypt,
    unseal,
    version_place,
)
from protocol.records.private_parts import open_private, parse_federation_private
from protocol.records.signed_records import typed_items


class WrongKey(BlockError):
    """A key that was wrapped for this reader and is not the one that all are told of."""


class Reader:
    """A member with its decryption keys (newest first), the grants to it, and the manifest keys that it opened earlier.
    Without any it reads only what is plain."""

    def __init__(
        self,
        member: bytes = b"",
        keys: Sequence[DecryptionKey] = (),
        grants: Sequence[Grant] = (),
        manifest_keys: Iterable[SymmetricKey] = (),
    ) -> None:
        self.member = member
        self._keys = tuple(keys)
        self.grants = tuple(grant for grant in grants if grant.to == member)
        self._remembered = {key.commitment(): key for key in manifest_keys}
        self._used: dict[bytes, SymmetricKey] = {}
        self._manifest_keys: dict[tuple[ManifestKeyWrap, bytes, bytes], SymmetricKey] = {}
        self._foreseen: dict[bytes, tuple[bytes | None, bytes | None]] = {}

    @property
    def has_keys(self) -> bool:
        """Whether it can read more than what is plain."""
        return bool(self._keys)

    @property
    def encryption_keys(self) -> tuple[EncryptionKey, ...]:
        """The public halves of its keys, newest first. Others seal to them."""
        return tuple(key.public for key in self._keys)

    def learn(self, keys: Sequence[DecryptionKey], grants: Sequence[Grant] = ()) -> None:
        """Go on with ``keys``, newest first, because the member has new ones, and with more ``grants``."""
        self._keys = tuple(keys)
        self.grants = (*(grant for grant in grants if grant.to == self.member), *self.grants)

    def remembering(self, manifest_keys: Iterable[SymmetricKey]) -> Reader:
        """The same reader, with more manifest keys that it opened earlier."""
        return Reader(self.member, self._keys, self.grants, [*self._remembered.values(), *manifest_keys])

    @property
    def manifest_keys(self) -> tuple[SymmetricKey, ...]:
        """The keys of the manifests that it has read."""
        return tuple(self._used.values())

    def holds(self, listed: Member | None) -> bool:
        """Whether it has the key that a manifest lists it with. A reader with only older keys cannot tell a false wrap
        from a right one."""
        return listed is not None and any(key.raw == listed.encryption.key for key in self.encryption_keys)

    def manifest_key(self, body: Federation, listed: Member | None, source: BlockSource) -> SymmetricKey | None:
        """The manifest key of a version; None if there is no key, or none for this reader.

        ``listed`` is the reader's entry in that version, None if it is no member there. A wrapped key that is not the
        one committed to counts as none. It is no reason to refuse the version: no co-signer can see what is wrapped for
        others.
        """
        if body.key is None:
            return None
        wrap = ManifestKeyWrap(version_place(body), self.member)
        own = self._unwrapped(body.key, wrap, source) if self.holds(listed) else None
        key = own or self._used.get(body.key.commitment) or self._remembered.get(body.key.commitment)
        if key is not None:
            self._used[body.key.commitment] = key
        return key

    def _unwrapped(self, wrapped: WrappedKey, wrap: ManifestKeyWrap, source: BlockSource) -> SymmetricKey | None:
        sealed = self._sealed(wrapped.wraps, source)
        if sealed is None:
            return None
        known = self._manifest_keys.get((wrap, wrapped.commitment, sealed))
        if known is None:
            try:
                known = committed(self.open(sealed, wrap), wrapped)
            except WrongKey:
                return None
            self._manifest_keys[wrap, wrapped.commitment, sealed] = known
        return known

    def granted(self, keys: Keys, run: RunPlace) -> tuple[bytes | None, bytes | None]:
        """The model key and the private update key of an epoch, if this reader was granted them later.

        A grant of other keys is passed over, and so is one that does not open: anybody can make one, and it must not
        speak against the chain. What later epochs carry of this one counts too (`foresee`).
        """
        if keys.model.commitment in self._foreseen:
            return self._foreseen[keys.model.commitment]
        for grant in self.grants:
            if grant.number == keys.number and self._keys:
                try:
                    return self._granted(grant, keys, run)
                except WrongKey:
                    continue  # it is of another run, or made up
        return None, None

    def _granted(self, grant: Grant, keys: Keys, run: RunPlace) -> tuple[bytes, bytes | None]:
        for_model, for_update = self._wraps_of(keys, run)
        model = self.open(grant.model, for_model)
        committed(model, keys.model)
        update = self.open(grant.update, for_update) if grant.update else None
        if update is not None:
            update_key(update, keys.update)
        return model, update

    def _wraps_of(self, keys: Keys, run: RunPlace) -> tuple[EpochKeyWrap, EpochKeyWrap]:
        """The contexts of an epoch's model key and private update key, wrapped for this reader."""
        model, update = (EpochKeyWrap(run, keys.number, secret, self.member) for secret in EpochSecret)
        return model, update

    def unwrap_epoch(self, keys: Keys, run: RunPlace, source: BlockSource) -> tuple[bytes | None, bytes | None]:
        """The model key and the private update key that an epoch wraps for this reader; None if it wraps none.

        Raises:
            WrongKey: if one does not open.
        """
        for_model, for_update = self._wraps_of(keys, run)
        return (
            self._unwrap(keys.model.wraps, for_model, source),
            self._unwrap(keys.update.wraps, for_update, source),
        )

    def foresee(self, bodies: Iterable[Keys], federation: CID, source: BlockSource) -> None:
        """Learn from the keys of a run in ``federation``, newest first, what each carries of the epoch before it.

        So a member that was let in later can read a chain from its beginning in one pass. `RunKeys.read` checks all of
        it again, and raises if something does not open.

        Raises:
            protocol.blocks.cid.BlockError: if a listing of wraps cannot be read.
        """
        model: bytes | None = None
        update: bytes | None = None
        epochs = list(bodies)
        for body in epochs:
            run = RunPlace(federation, epochs[-1].by, epochs[-1].model.commitment)
            try:
                own, own_update = self.unwrap_epoch(body, run, source)
                later = self.granted(body, run)
                model, update = own or later[0] or model, own_update or later[1] or update
                self._foreseen[body.model.commitment] = (model, update)
                model, update = secrets_before(model, update, body, run)
            except WrongKey:
                return

    def _unwrap(self, wraps: Listing, context: EpochKeyWrap, source: BlockSource) -> bytes | None:
        if not self._keys:
            return None
        sealed = self._sealed(wraps, source)
        return None if sealed is None else self.open(sealed, context)

    def _sealed(self, wraps: Listing, source: BlockSource) -> bytes | None:
        mine = (wrap.sealed for wrap in typed_items(wraps, Wrap, source) if wrap.to == self.member)
        return next(mine, None)

    def open(self, sealed: bytes, context: SealContext) -> bytes:
        """What was sealed for this reader in the place of ``context``.

        Raises:
            WrongKey: if none of its keys opens it.
        """
        for key in self._keys:
            try:
                return unseal(key, sealed, context)
            except CannotDecrypt:
                continue  # sealed for a key of ours before or after this one
        raise WrongKey("a key that is sealed for this member does not open with its keys")


def committed(secret: bytes, wrapped: WrappedKey) -> SymmetricKey:
    """``secret`` as a key.

    Raises:
        WrongKey: if ``wrapped`` commits to another one.
    """
    try:
        key = SymmetricKey(secret)
    except BadKey as error:
        raise WrongKey(str(error)) from error
    if key.commitment() != wrapped.commitment:
        raise WrongKey("the key wrapped for this member is not the one that the others are told of")
    return key


def update_key(secret: bytes, shown: UpdateKey) -> DecryptionKey:
    """``secret`` as a private update key.

    Raises:
        WrongKey: if it does not belong to the public half ``shown`` to clients.
    """
    try:
        key = DecryptionKey.from_seed(secret)
    except BadKey as error:
        raise WrongKey(str(error)) from error
    if key.public.raw != shown.public.key:
        raise WrongKey("the update key wrapped for this member is not the one that clients seal to")
    return key


def secrets_before(
    model: bytes | None, update: bytes | None, body: Keys, run: RunPlace
) -> tuple[bytes | None, bytes | None]:
    """The two secrets of the epoch before, decrypted with this epoch's. Each is None if it cannot be decrypted."""
    return (
        _secret_before(model, body.model_before, SecretBefore(run, body.number, EpochSecret.MODEL)),
        _secret_before(update, body.update_before, SecretBefore(run, body.number, EpochSecret.UPDATE)),
    )


def _secret_before(secret: bytes | None, sealed: bytes, context: SecretBefore) -> bytes | None:
    if secret is None or not sealed:
        return None
    try:
        return decrypt(SymmetricKey(secret), sealed, context)
    except (CannotDecrypt, BadKey) as error:
        raise WrongKey(f"the keys of the epoch before: {error}") from error


def read_manifest_private(body: Federation, key: SymmetricKey | None) -> FederationPrivates | None:
    """The private part of a manifest, opened with its manifest key; None if it is encrypted and there is no key.

    Raises:
        RecordError: if it does not open, or holds something else.
    """
    if body.epoch is None:
        return parse_federation_private(body.private)
    if key is None:
        return None
    return parse_federation_private(open_private(body, key, ManifestPrivate(version_place(body))))
