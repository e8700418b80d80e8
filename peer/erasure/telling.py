"""Shreddings, in a peer that runs: it carries them out, tells the others, hears them, and lists their new keys."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from crypto.errors import CryptoError
from crypto.identity import Identity
from peer.base import logs
from peer.base.errors import ExitCode, PeerError
from peer.engine.chosen_engine import borrowed
from peer.engine.interface import Engine, EngineError
from peer.engine.record_fetcher import RecordFetcher
from peer.engine.sound_blocks import SoundBlocks
from peer.erasure.carrying_out import Erasing, Outcome, own_parts
from peer.erasure.words import kept_words, said_by, take_word, word_of
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.key_watch import KeyWatch
from peer.home.reader_choice import reader_in
from peer.membership.changes import can_change_alone, change_keys
from peer.membership.proposing import ProposalStore, proposing
from protocol.blocks.cid import CID, Block, BlockError
from protocol.federation.erasures import (
    Claim,
    ErasureWord,
    NotAWord,
    Step,
    closed_word,
    open_claim,
    read_word,
    topic_erasure,
)
from protocol.federation.proposals import Proposal
from protocol.pacing.token_bucket import TokenBucket
from protocol.records.bodies import Federation
from protocol.roles.effects import Report, What
from protocol.visible import named

TELL_EVERY: Final = 60.0
"""Seconds between two times that a member says the same, because others may not have been here."""

TELL_AGAIN: Final = 5.0
"""The same, if somebody says that it knows only an older version of the manifest: it may wait for what ours lists."""

TRY_AGAIN: Final = 60.0
"""Seconds until what could not be carried out is tried again."""

LEFT_TO_OWNER: Final = 8
"""How many rotations of an identity a running peer leaves to its owner."""

FETCH_EVERY: Final = 5.0
"""Seconds between two times that manifests are fetched which words name."""

NEW_KEYS_AT_ONCE: Final = 64
NEW_KEYS_A_SECOND: Final = 2.0
"""How many words are looked at whose key no manifest lists. One costs up to 34 signatures, and anybody with the swarm
key can send what looks like one."""

OF_ONE_AT_ONCE: Final = 8
OF_ONE_A_SECOND: Final = 0.1
"""How many words of one member are taken that it has signed."""


@dataclass(slots=True)
class ErasureDesk:
    """A running peer's part in the shreddings of one federation. `look` is called again and again."""

    home: Home
    federation: CID
    keys: KeyWatch
    engine: Engine
    engine_name: str
    journal: Journal
    on_report: Callable[[Report], None]
    _told: bytes = b""
    _told_at: float = -math.inf
    _is_ahead: bool = False
    """Whether somebody has said since that it knows only an older version."""
    _try_at: float = 0.0
    _fetch_at: float = 0.0
    _why: str = ""
    _named: dict[CID, bytes] = field(default_factory=dict)
    """Newer versions of the manifest that words name, and whose word it was. One for each member at a time."""
    _naming: Lock = field(default_factory=Lock)
    """Held while `_named` changes: words come in a thread of the engine's."""
    _provided: CID | None = None
    """The newest version whose blocks are in the engine, for those who hear of it by our word."""
    _new_keys: TokenBucket = field(default_factory=lambda: TokenBucket(NEW_KEYS_AT_ONCE, NEW_KEYS_A_SECOND))
    _of_one: dict[bytes, TokenBucket] = field(default_factory=dict)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear other members, until the context ends."""
        subscription = self.engine.subscribe(topic_erasure(self.federation), self.receive)
        try:
            yield
        finally:
            subscription.close()

    def receive(self, data: bytes) -> None:
        """Take one message that came on the topic."""
        stored = FederationStore(self.home).get(self.federation)
        if stored is None:
            return
        try:
            claim = open_claim(data, stored.id, stored.swarm_key)
            if not self._is_known(claim) and not self._is_taken(claim, stored, time.monotonic()):
                return
            if claim.body.by in stored.manifest.members:
                self._compare(claim, stored)
        except NotAWord as error:
            logs.event("erasure-dropped", logging.DEBUG, why=str(error))
        except (PeerError, OSError) as error:  # it is told again
            logs.event("erasure-not-kept", logging.WARNING, why=str(error))

    def _compare(self, claim: Claim, stored: StoredFederation) -> None:
        """Note whose manifest is newer, a member's or ours."""
        if claim.body.version > stored.manifest.version:
            with self._naming:
                named = {cid: by for cid, by in self._named.items() if by != claim.body.by}
                self._named = {**named, claim.body.manifest: claim.body.by}
        elif claim.body.version < stored.manifest.version:
            self._is_ahead = True

    def _is_known(self, claim: Claim) -> bool:
        """Whether this home has that very word, verified: each member says it again every minute."""
        return any(block.cid == claim.block.cid for block in self.journal.erasures(self.federation))

    def _is_taken(self, claim: Claim, stored: StoredFederation, now: float) -> bool:
        """Whether it is a member's word; if so it is kept, if that says more than the one before. What only looks like
        a member's word uses up nothing of what the member itself may say: whoever left has the swarm key still."""
        members = stored.manifest.members
        member = members.get(claim.body.by)
        if member is None or (claim.signer != member.signing and not self._new_keys.take(now)):
            return False
        word = read_word(claim.block.data)
        if not word.is_by_member(stored.manifest):
            return False
        self._of_one = {by: pace for by, pace in self._of_one.items() if by in members}
        pace = self._of_one.setdefault(word.member, TokenBucket(OF_ONE_AT_ONCE, OF_ONE_A_SECOND))
        if not pace.take(now):
            return False
        take_word(word, stored, self.journal)
        return True

    def look(self) -> None:
        """Do what is due: carry out, list others' keys, tell. Slow only if something is due. Never raises what is for
        people: it is told, and tried again."""
        stored = FederationStore(self.home).get(self.federation)
        if stored is None:
            return
        now = time.monotonic()
        if self._named and now >= self._fetch_at:
            self._fetch_at = now + FETCH_EVERY
            stored = self._fetched(stored)
        if not stored.manifest.shredded:
            return
        if now >= self._try_at:
            self._try_at = now + TRY_AGAIN
            troubles = [why for step in (self._carry_out, self._list_keys) if (why := _trouble(step))]
            if troubles:
                self._tell_why("; ".join(troubles))
            else:
                self._why = ""
        if why := _trouble(lambda: self._tell(stored, now)):
            self._tell_why(why)

    def wait_is_over(self) -> None:
        """Look at everything at the next `look`, because the manifest has changed or somebody has said something."""
        self._try_at = 0.0

    def _fetched(self, stored: StoredFederation) -> StoredFederation:
        """The federation with the newest version that a word names. So a shredding comes to everybody, although no run
        is going."""
        with self._naming:
            named, self._named = self._named, {}
        for cid in named:
            try:
                with contextlib.closing(RecordFetcher(SoundBlocks(self.engine))) as fetcher:
                    blocks = fetcher.fetch(cid, Federation, stored.manifest.cid)
                FederationStore(self.home).learn(stored.id, cid, blocks)
            except (BlockError, EngineError, PeerError) as error:
                logs.event("manifest-not-fetched", logging.INFO, cid=str(cid), why=str(error))
        newest = FederationStore(self.home).get(stored.id) or stored
        if newest.manifest.encrypted and newest.manifest.id != stored.manifest.id:
            self._try_at = 0.0
            return FederationStore(self.home).opened(newest, reader_in(self.home, self.keys.newest()))
        return newest

    def _carry_out(self) -> None:
        work = Erasing(self.home, self.keys.identity.name, self.keys.passphrases, self._engine_at)
        if not work.is_due():
            return
        if work.needs_keys() and work.rotations_left() <= LEFT_TO_OWNER:
            raise PeerError(
                f"only {work.rotations_left()} rotations of the keys of {self.keys.identity.name} are left, and orders "
                "to shred must not use them up: you may need one after a theft",
                fix="carry it out by hand: peer federation shred --carry-out; or make a new identity",
                code=ExitCode.UNFINISHED,
            )
        self._report(work.carry_out())

    def _engine_at(self, address: str) -> AbstractContextManager[Engine]:
        return nullcontext(self.engine) if address == self.engine_name else borrowed(self.home, address)

    def _report(self, outcome: Outcome) -> None:
        if outcome.shredded:
            runs = ", ".join(sorted({str(each.run) for each in outcome.shredded}))
            self.on_report(Report(What.KEYS_DESTROYED, {"runs": runs}))
        if outcome.step is Step.WAIT:
            where = " and of ".join(outcome.unlisted)
            self._tell_why(
                f"the manifest of {where} has to list this member's new keys first, which an admin's peer does"
            )

    def _tell_why(self, why: str) -> None:
        if why != self._why:
            self._why = why
            self.on_report(Report(What.KEYS_TO_DESTROY, {"why": why}))

    def _list_keys(self) -> None:
        """Put the new keys of all that wait into the manifest, if we can change it alone."""
        identity = self.keys.newest()
        stored = self._as_read_by(identity)
        waiting = new_keys(stored, self.journal)
        if not waiting or not can_change_alone(stored.manifest, identity):
            return
        if ProposalStore(self.home, stored).signed_by(identity) is not None:
            return
        changed = list_keys(self.home, stored, identity, waiting, None)
        if not isinstance(changed, Proposal):
            whom = ", ".join(named(stored.manifest.name_of(word.member)) for word in waiting)
            self.on_report(Report(What.KEYS_LISTED, {"whom": whom, "version": changed.manifest.version}))

    def _as_read_by(self, identity: Identity) -> StoredFederation:
        stored = FederationStore(self.home).current(str(self.federation))
        return FederationStore(self.home).opened(stored, reader_in(self.home, identity))

    def _tell(self, stored: StoredFederation, now: float) -> None:
        self._say_again(stored)
        word = said_by(self.keys.identity.id, self.home, self.journal).get(self.federation)
        pause = TELL_AGAIN if self._is_ahead else TELL_EVERY
        if word is None or (self._told == word.block.data and now < self._told_at + pause):
            return
        with contextlib.suppress(EngineError):  # the engine's own troubles are told elsewhere
            if self._provided != word.body.manifest:
                self.engine.put((Block(cid, data) for cid, data in stored.blocks.items()), pin=list(stored.blocks))
                self._provided = word.body.manifest
            self.engine.publish(topic_erasure(self.federation), closed_word(word, stored.id, stored.swarm_key))
            self._told, self._told_at, self._is_ahead = word.block.data, now, False

    def _say_again(self, stored: StoredFederation) -> None:
        """Once all is done, say so of the newest manifest too: so those hear of it who wait for what it lists."""
        identity = self.keys.newest()
        part = own_parts(self.home, identity.id, self.journal)[self.federation]
        if part.said is None or not part.said.body.destroyed or part.open_shreddings(identity.id):
            return
        if part.said.body.version < stored.manifest.version:
            word = word_of(identity, stored.manifest, destroyed=True, now=time.time())
            self.journal.keep_erasure(stored.id, identity.id, word.block, time.time())


def _trouble(do: Callable[[], None]) -> str:
    """Do it, and return what went wrong and what helps; empty if nothing did. One member's trouble with its own keys
    must not keep it from listing those of others."""
    try:
        do()
    except (PeerError, EngineError, CryptoError) as error:
        return f"{error}; {error.fix}" if error.fix else str(error)
    except OSError as error:
        return str(error)
    return ""


def new_keys(stored: StoredFederation, journal: Journal) -> list[ErasureWord]:
    """The words of members, this home's too, whose new keys the manifest does not list yet."""
    return [word for word in kept_words(stored, journal).values() if word.brings_keys(stored.manifest)]


def list_keys(
    home: Home, stored: StoredFederation, admin: Identity, words: list[ErasureWord], ipfs: str | None
) -> StoredFederation | Proposal:
    """The federation in which the members of ``words`` have their new keys, or a proposal of that.

    Raises:
        PeerError: if ``admin`` is not one, or another proposal of its waits.
        EngineError: if a proposal cannot be put into the engine.
    """
    with proposing(home, stored, admin, ipfs) as work:
        return work.change(
            lambda current: change_keys(
                current.read_by(reader_in(home, admin)), admin, [word.keys for word in words], time=time.time()
            )
        )
