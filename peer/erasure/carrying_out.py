"""Carrying out shreddings in a home, one step after the other.

Each step can be done twice, and after a crash at any place the home has either all keys that it had, or those of
everything that stays: the keys that stay are on disk before the old ones go.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from crypto.identity import MAX_RETIRED, Identity
from peer.apps.app_log import before
from peer.base import posix
from peer.engine.interface import EngineError
from peer.erasure.kept_keys import Engines, check_kept, keys_that_stay
from peer.erasure.words import said_by, word_of
from peer.history.left_files import working_folder
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import PRIVATE_FILE, Home
from peer.home.journal import Journal, RunHead
from peer.home.keystore import KeyStore, OpenedKeys
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import grants_in, reader_in
from peer.membership.changes import is_admin
from peer.membership.rotating import list_new_keys
from protocol.blocks.cid import CID
from protocol.federation.erasures import ErasureWord, OwnPart, Step, next_step
from protocol.federation.shreddings import Shredding


class Moment(StrEnum):
    """Between which two steps a home may be. Tests crash there."""

    KEYS_MADE = "new keys are made"
    KEYS_KEPT = "the keys that stay are kept"
    KEYS_DESTROYED = "the old keys are destroyed"
    TRACES_GONE = "what the journal had is gone"


@dataclass(slots=True)
class Outcome:
    """What came of carrying out."""

    identity: Identity
    step: Step
    """What is next now; `Step.NOTHING` once all is done."""
    words: dict[CID, ErasureWord] = field(default_factory=dict)
    """What the member says now, by federation."""
    shredded: list[Shredding] = field(default_factory=list)
    """Those that were carried out."""
    kept: int = 0
    """How many epochs' keys the home keeps."""
    unlisted: list[str] = field(default_factory=list)
    """The federations whose manifests do not list the new keys yet. One without shreddings is told nothing of them."""
    left: list[Path] = field(default_factory=list)
    """Files of shredded runs, which are the owner's to delete: nothing in the home deletes them."""


@dataclass(frozen=True, slots=True)
class Erasing:
    """One identity of a home, at work on the shreddings of all its federations."""

    home: Home
    name: str | None
    passphrases: Passphrases
    engines: Engines
    ipfs: str | None = None
    """For proposals: the engine, as ``--ipfs`` takes it."""
    without: Collection[CID] = ()
    """Runs that the owner gives up, although nobody has shredded them."""
    reached: Callable[[Moment], None] = lambda _: None

    @property
    def _keys(self) -> KeyStore:
        return KeyStore(self.home.path)

    def needs_keys(self) -> bool:
        """Whether the next step is to make new keys. Needs no passphrase, and is cheap."""
        public = self._keys.public(self.name).public
        with self._journal() as journal:
            parts = own_parts(self.home, public.id, journal).values()
        return next_step(public.id, public.encryption.raw, parts) is Step.NEW_KEYS

    def rotations_left(self) -> int:
        """How often the identity can be rotated yet."""
        handovers = self._keys.public(self.name).public.handovers
        return MAX_RETIRED - (len(handovers.old) if handovers else 0)

    def is_due(self) -> bool:
        """Whether this home can do something now. Needs no passphrase, and is cheap."""
        public = self._keys.public(self.name).public
        with self._journal() as journal:
            parts = own_parts(self.home, public.id, journal).values()
        match next_step(public.id, public.encryption.raw, parts):
            case Step.NOTHING:
                return False
            case Step.WAIT:  # for an admin; unless the admin is us, or nobody has been told
                told = all(
                    part.said and part.said.keys.encryption == public.encryption
                    for part in parts
                    if part.open_shreddings(public.id)
                )
                return not told or any(is_admin(part.manifest, public) for part in parts)
            case Step.NEW_KEYS | Step.DESTROY:
                return True

    def carry_out(self) -> Outcome:
        """Do all that can be done now, and say what comes next.

        Raises:
            PeerError: if a key file cannot be opened, or a run that stays cannot be read. Nothing is destroyed then.
        """
        with self._alone(), self._journal() as journal:
            opened = self._keys.opened(self.name, self.passphrases)
            identity = opened.identity
            step = self._step(identity, journal)
            if step is Step.NEW_KEYS:
                identity = identity.rotated()
                opened = self._keys.replace(identity, opened.passphrase, opened)
                self.reached(Moment.KEYS_MADE)
                step = self._step(identity, journal)
            if step is Step.WAIT:
                self._say(identity, journal, destroyed=False)
                told = said_by(identity.id, self.home, journal)
                for stored in FederationStore(self.home).all():
                    if stored.id not in told:  # where it is told, the keys of all that wait are listed together
                        list_new_keys(self.home, stored, identity, self.ipfs)
                step = self._step(identity, journal)
            outcome = Outcome(identity, step)
            if step is Step.DESTROY:
                self._destroy(outcome, opened, journal)
                outcome.step = self._step(outcome.identity, journal)
            outcome.words = said_by(identity.id, self.home, journal)
            if outcome.step is Step.WAIT:
                newest = identity.decryption.public.raw
                outcome.unlisted = [
                    stored.manifest.title
                    for stored in FederationStore(self.home).all()
                    if (member := stored.manifest.members.get(identity.id)) and member.encryption.key != newest
                ]
            return outcome

    def _step(self, identity: Identity, journal: Journal) -> Step:
        parts = own_parts(self.home, identity.id, journal).values()
        return next_step(identity.id, identity.decryption.public.raw, parts)

    def _destroy(self, outcome: Outcome, opened: OpenedKeys, journal: Journal) -> None:
        identity = outcome.identity
        parts = own_parts(self.home, identity.id, journal)
        heeded = [
            (each, head)
            for federation, part in parts.items()
            for each in part.open_shreddings(identity.id)
            if (head := journal.head_of(each.run)) is None or head.federation == federation  # no other one decides
        ]
        outcome.shredded = [shredding for shredding, _ in heeded]
        for stored in FederationStore(self.home).all():  # so that the home has the manifest keys without the wraps
            FederationStore(self.home).opened(stored, reader_in(self.home, identity))
        stays = list(keys_that_stay(self.home, identity, journal, self.engines, self.without))
        journal.keep_keys(stays)
        check_kept(identity, stays, journal)
        outcome.kept = len(stays)
        self.reached(Moment.KEYS_KEPT)
        outcome.identity = identity = identity.without_retired_decryption()
        self._keys.replace(identity, opened.passphrase, opened)
        self.reached(Moment.KEYS_DESTROYED)
        for shredding, head in heeded:
            self._remove_traces(shredding, head, journal)
            outcome.left += [each for each in left_of(self.home, shredding.run) if each not in outcome.left]
        self.reached(Moment.TRACES_GONE)
        self._say(identity, journal, destroyed=True)

    def _remove_traces(self, shredding: Shredding, head: RunHead | None, journal: Journal) -> None:
        """Take out of the journal what concerns a shredded run, and let go of the states of its app."""
        grants = _grants_of(shredding, journal)
        states = journal.erase(shredding.run, shredding.epoch, grants)
        if head is None:
            return
        if shredding.epoch == 1:
            journal.finish(shredding.run)
        with contextlib.suppress(EngineError), self.engines(head.engine) as engine:
            try:
                engine.drop(states, grants)
            except EngineError:  # a node that other homes use deletes nothing for us
                for cid in (*states, *grants):
                    engine.unpin(cid)

    def _say(self, identity: Identity, journal: Journal, *, destroyed: bool) -> None:
        """Keep our word in each federation with shreddings, signed by the newest key."""
        for part in own_parts(self.home, identity.id, journal).values():
            if part.open_shreddings(identity.id):
                word = word_of(identity, part.manifest, destroyed=destroyed, now=time.time())
                if part.said is None or word.is_newer_than(part.said):
                    journal.keep_erasure(part.manifest.federation, identity.id, word.block, time.time())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No two processes carry out in one home at once."""
        with posix.new_files_have(PRIVATE_FILE), (self.home.path / "erasure.lock").open("w") as file:
            posix.lock(file)
            yield

    @contextlib.contextmanager
    def _journal(self) -> Iterator[Journal]:
        with Journal(self.home.journal) as journal:
            yield journal


def own_parts(home: Home, member: bytes, journal: Journal) -> dict[CID, OwnPart]:
    """What a home knows of its ``member`` in each of its federations."""
    words = said_by(member, home, journal)
    return {
        stored.id: OwnPart(stored.manifest, keys_then(stored, member), words.get(stored.id))
        for stored in FederationStore(home).all()
    }


def keys_then(stored: StoredFederation, member: bytes) -> dict[int, frozenset[bytes]]:
    """By version that brought a shredding: the encryption keys that ``member`` has had up to there."""
    versions = {each.version for each in stored.manifest.shredded}
    return {version: stored.encryption_keys(member, version) for version in versions}


def left_of(home: Home, run: CID) -> Iterator[Path]:
    """What a home may have of a run in the clear: the app's output, the files that the app left, and the apps of all
    runs, unpacked."""
    log, left = home.run_log(run), working_folder(home, run)
    for path in (log, before(log), left, left.with_name(f"{left.name}.before"), home.path / "apps"):
        if path.exists() and (path.is_file() or any(path.iterdir())):
            yield path


def _grants_of(shredding: Shredding, journal: Journal) -> list[CID]:
    """The records beside a shredded run that give somebody its keys."""
    blocks = journal.beside(shredding.run)
    return [block.cid for block in blocks for body in grants_in([block]) if shredding.concerns(body.number)]
