"""The keys of a run, epoch by epoch, as far as one reader has them: which key encrypts what, and what it opens.

`protocol.federation.epochs` makes the keys of an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from crypto.errors import BadKey, CannotDecrypt
from crypto.keys import DecryptionKey, EncryptionKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, BlockSource
from protocol.blocks.content import ContentKey
from protocol.federation.readers import Reader, WrongKey, committed, secrets_before, update_key
from protocol.records.bodies import (
    Body,
    Chained,
    Keys,
    Member,
    RecordType,
    Reply,
)
from protocol.records.contexts import (
    OwnKeySeal,
    RecordPrivate,
    ReplyContent,
    ReplyPrivate,
    RunPlace,
    SeedSeal,
    SentContent,
    content_key,
    unseal,
)
from protocol.records.private_parts import open_private, parse_private, private_part
from protocol.records.signed_records import RecordError, private_bytes

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a run, as far as this reader can read it."""

    run: RunPlace
    body: Keys
    public: EncryptionKey
    """The update key's public half."""
    model: SymmetricKey | None = field(repr=False)
    update: DecryptionKey | None = field(repr=False)
    """The update key's private half, which servers and auditors have."""

    @property
    def number(self) -> int:
        """The epoch's number, from 1."""
        return self.body.number


class RunKeys:
    """The epochs of one run."""

    def __init__(self, reader: Reader, epochs: Mapping[int, Epoch] | None = None) -> None:
        self.reader = reader
        self._epochs = dict(epochs or {})

    @property
    def current(self) -> Epoch | None:
        """The newest epoch; None before the run record, and if nothing is encrypted."""
        return self._epochs.get(len(self._epochs))

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """The epochs that have begun, from the first on."""
        return tuple(self._epochs[number] for number in sorted(self._epochs))

    @property
    def next_number(self) -> int:
        """The number of the epoch that may begin next."""
        return len(self._epochs) + 1

    def has(self, number: int) -> bool:
        """Whether the epoch has begun."""
        return number in self._epochs

    def read(self, body: Keys, federation: CID, listed: Member | None, source: BlockSource) -> Epoch:
        """What this reader can open of an epoch's keys. `begun` keeps it.

        ``listed`` is the reader's entry in the manifest in force in ``federation``, None if it is no member.

        Raises:
            WrongKey: if a key is not the one committed to, or the public half is no key.
        """
        try:
            public = EncryptionKey.parse(body.update.public.suite, body.update.public.key)
        except BadKey as error:
            raise WrongKey(f"the update key of epoch {body.number}: {error}") from error
        begun = self.current
        run = begun.run if begun else RunPlace(federation, body.by, body.model.commitment)
        model = update = None
        if self.reader.holds(listed):
            model, update = self.reader.unwrap_epoch(body, run, source)
        if model is None or update is None:
            later = self.reader.granted(body, run)
            model, update = model or later[0], update or later[1]
        return _epoch(run, body, public, model, update)

    def begun(self, epoch: Epoch) -> RunKeys:
        """The keys once ``epoch`` has begun. The keys of earlier epochs that it carries are read too.

        Raises:
            WrongKey: if it carries other keys than those epochs committed to.
        """
        after = RunKeys(self.reader, {**self._epochs, epoch.number: epoch})
        after._look_back(epoch)
        return after

    def _look_back(self, epoch: Epoch) -> None:
        """Each epoch's keys open those of the epoch before, so a reader of one epoch reads all earlier ones.

        A reader checks the keys that the newest epoch carries, even if it had them before. Otherwise a leader could
        carry false ones, and only members that come later would find the chain broken.
        """
        while epoch.number > 1:
            before = self._epochs[epoch.number - 1]
            own_model = None if epoch.model is None else epoch.model.secret_bytes()
            own_update = None if epoch.update is None else epoch.update.secret_bytes()
            model, update = secrets_before(own_model, own_update, epoch.body, epoch.run)
            opened = _epoch(before.run, before.body, before.public, model, update)
            epoch = replace(before, model=before.model or opened.model, update=before.update or opened.update)
            if epoch == before:  # nothing new
                return
            self._epochs[epoch.number] = epoch

    # -- reading ----------------------------------------------------------------------------------------------------

    def private(self, body: Body) -> bytes | None:
        """The private part of a record of the run, as plain dag-cbor; None if this reader has no key for it.

        Raises:
            RecordError: if it does not open with the key of its epoch.
        """
        if body.epoch is None:
            return body.private
        if isinstance(body, Reply):
            own = self._reply_key(body)
            context = ReplyPrivate(body.run, body.epoch, body.by, body.message)
            return None if own is None else open_private(body, own, context)
        epoch = self._epochs.get(body.epoch)
        if epoch is None or epoch.model is None or not isinstance(body, Chained):
            return None
        return open_private(body, epoch.model, RecordPrivate(epoch.run, epoch.number, body.TYPE, body.height))

    def content(self, number: int | None) -> ContentKey | None:
        """The key of contents that the server made in an epoch; None if they are plain, or not for this reader."""
        epoch = None if number is None else self._epochs.get(number)
        if epoch is None or epoch.model is None:
            return None
        return content_key(epoch.model, SentContent(epoch.run, epoch.number), epoch.body.chunk_nonce)

    def reply_content(self, reply: Reply) -> ContentKey | None:
        """The key of a reply's content; None as for `content`."""
        key, epoch = self._reply_key(reply), self._epoch_of(reply)
        if key is None or epoch is None:
            return None
        return content_key(key, ReplyContent(reply.run, epoch.number, reply.by), epoch.body.chunk_nonce)

    def open_seed(self, number: int, sealed: bytes) -> bytes | None:
        """The seed that is sealed to the update key of an epoch; None if this reader does not have that key.

        Raises:
            RecordError: if it does not open.
        """
        epoch = self._epochs.get(number)
        return None if epoch is None else self._open_for_update_readers(epoch, sealed, SeedSeal(epoch.run, number))

    def _open_for_update_readers(self, epoch: Epoch, sealed: bytes, context: SeedSeal | OwnKeySeal) -> bytes | None:
        if epoch.update is None:
            return None
        try:
            return unseal(epoch.update, sealed, context)
        except CannotDecrypt as error:
            raise RecordError(f"what is sealed to the update key of epoch {epoch.number}: {error}") from error

    def _epoch_of(self, reply: Reply) -> Epoch | None:
        return None if reply.epoch is None else self._epochs.get(reply.epoch)

    def _reply_key(self, reply: Reply) -> SymmetricKey | None:
        epoch = self._epoch_of(reply)
        if epoch is None:
            return None
        secret = self._open_for_update_readers(epoch, reply.key, OwnKeySeal(reply.run, epoch.number, reply.by))
        try:
            return None if secret is None else SymmetricKey(secret)
        except BadKey as error:
            raise RecordError(f"the key of a reply: {error}") from error


def _epoch(run: RunPlace, body: Keys, public: EncryptionKey, model: bytes | None, update: bytes | None) -> Epoch:
    private = None if update is None else update_key(update, body.update)
    return Epoch(run, body, public, None if model is None else committed(model, body.model), private)


def private_fields(value: object, epoch: Epoch | None, kind: RecordType, height: int) -> dict[str, Any]:
    """``epoch`` and ``private`` of a record of type ``kind`` at ``height``, plain if there is no epoch."""
    if epoch is None:
        return {"epoch": None, "private": private_bytes(value)}
    assert epoch.model is not None  # the leader is a server, and servers read everything
    context = RecordPrivate(epoch.run, epoch.number, kind, height)
    return {"epoch": epoch.number, "private": private_part(value, epoch.model, context)}


def read_private(body: Body, kind: type[P], keys: RunKeys | None = None) -> P | None:
    """The private part of a record of a run; None if it is encrypted and ``keys`` lack the key.

    Raises:
        RecordError: if it is not a ``kind``, or does not open with the key of its epoch.
    """
    plain = body.private if body.epoch is None else keys.private(body) if keys else None
    return None if plain is None else parse_private(plain, kind)
