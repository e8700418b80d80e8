"""The keys of all epochs that stay readable, sealed anew for their own member.

A grant (`protocol.records.bodies.Grant`) gives a reader the keys of an epoch. Here a member gives them to itself, under
keys that it has made since. So readers open them as they open any grant, and the wraps in the chain are not needed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.audit.report import require_verified
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine, EngineError
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.reader_choice import reader_in
from protocol.blocks.cid import CID, Block, BlockError
from protocol.federation.epochs import kept_grant
from protocol.federation.run_keys import Epoch
from protocol.federation.shreddings import shredding_of
from protocol.records.bodies import Grant, Run
from protocol.records.signed_records import read_record, sign_record

SECONDS_A_BLOCK: Final = 30.0
"""How long an engine may look for one block."""

Engines = Callable[[str], AbstractContextManager[Engine]]
"""Opens the engine that a run's head names."""


def keys_that_stay(
    home: Home, identity: Identity, journal: Journal, engines: Engines, without: Collection[CID] = ()
) -> Iterator[tuple[Grant, Block]]:
    """The keys of every epoch of every run of this home that stays readable to ``identity``, sealed for its newest key.

    ``without`` are runs that the owner gives up, although nobody has shredded them.

    Raises:
        PeerError: if a run that stays cannot be read here: its keys would be lost.
    """
    shredded = {stored.id: stored.manifest.shredded for stored in FederationStore(home).all()}
    for head in journal.heads():
        shredding = shredding_of(shredded.get(head.federation, ()), head.run)  # no other federation's admins decide
        if head.run in without or (shredding is not None and shredding.epoch == 1):
            continue
        manifest, epochs = _epochs_of(home, head, identity, journal, engines)
        for epoch in epochs:
            if epoch.model is None or (shredding is not None and shredding.concerns(epoch.number)):
                continue
            given = kept_grant(head.run, epoch, manifest, identity.id, identity.decryption.public, time=time.time())
            yield given, sign_record(given, [identity.signing])


def check_kept(identity: Identity, grants: Iterable[tuple[Grant, Block]], journal: Journal) -> None:
    """Check that the journal has these grants, before the keys go that could make them again.

    Raises:
        PeerError: if one is not there.
    """
    there = {block.cid for block in journal.kept_keys()}
    if any(block.cid not in there for _, block in grants):
        raise PeerError(
            f"the keys that {identity.name} keeps are not in the journal as they were written. Nothing was destroyed",
            fix="look at the disk, and try again: peer federation shred --carry-out",
            code=ExitCode.UNFINISHED,
        )


def _epochs_of(
    home: Home, head: RunHead, identity: Identity, journal: Journal, engines: Engines
) -> tuple[CID, tuple[Epoch, ...]]:
    """The run's first manifest and its epochs, after its chain is verified. No epochs if it is not encrypted."""
    try:
        with contextlib.ExitStack() as stack:
            source = EngineSource(stack.enter_context(engines(head.engine)), SECONDS_A_BLOCK)
            run = read_record(head.run, source).body
            if not isinstance(run, Run) or run.keys is None:
                return head.run, ()
            audit = Audit(
                head.head,
                source,
                stack.enter_context(Scratch()),
                reader=reader_in(home, identity, journal.beside(head.run)),
                with_contents=False,
                well_signed=journal.well_signed,
            )
            require_verified(audit.run())
            return run.manifest, audit.keys.epochs
    except (BlockError, EngineError, PeerError) as error:
        raise PeerError(
            f"the keys of the run {head.run} would be lost: it cannot be read here ({error}). Nothing was destroyed",
            fix="start what has its blocks, and try again; or give it up: peer federation shred --carry-out "
            f"--without {head.run}",
            code=ExitCode.UNFINISHED,
        ) from error
