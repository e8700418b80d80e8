"""A run of which one reads the exchanges, also while it goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from peer.audit.kept_reports import KeptReports
from peer.audit.run_lookup import RunLookup
from peer.base.errors import PeerError
from peer.history.chain_follower import ChainFollower
from peer.history.rounds import Exchange
from peer.home.acks_grants_proofs import run_named
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID
from protocol.federation.manifest import federation_of
from protocol.federation.run_keys import read_private
from protocol.records.bodies import Run, RunPrivate
from protocol.records.signed_records import read_record

EVERY: Final = 1.0
"""Seconds between two looks whether the run has gone on."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A run that is read."""

    run: CID
    head: CID
    """Its newest record when it was opened."""
    follower: ChainFollower
    home: Home

    def exchanges(self, *, until_closed: bool) -> Iterator[Exchange]:
        """Its complete exchanges; with ``until_closed``, also those to come until the run is closed. If a takeover
        leaves out a tail that was read, exchanges of it come again, with the same numbers.

        Raises:
            BlockError: if a record breaks a rule, or is not here.
        """
        yield from self.follower.follow(self.head)
        if until_closed and not self.follower.chain.closed and self._newest() is None:
            raise PeerError(
                f"nothing more comes of the run {self.run}: it is not a run of this home",
                fix="leave out --follow, or name the home of a member that takes part: --home DIR",
            )
        while until_closed and not self.follower.chain.closed:
            time.sleep(EVERY)
            if (newest := self._newest()) is not None and newest != self.follower.chain.head:
                yield from self.follower.follow_over_forks(newest)
        yield from self.follower.open() if until_closed or self.follower.chain.closed else ()

    def _newest(self) -> CID | None:
        if not self.home.journal.exists():
            return None
        with Journal(self.home.journal) as journal:
            known = journal.head_of(self.run)
        return None if known is None else known.head

    @property
    def federation(self) -> str:
        """The federation's name, or the label of its id if the name cannot be read here."""
        return self.follower.chain.manifest.name or self.follower.chain.federation.label

    @property
    def app(self) -> str:
        """The app's name; empty if it cannot be read here."""
        record = read_record(self.run, self.follower.source).body
        private = read_private(record, RunPrivate, self.follower.chain.keys) if isinstance(record, Run) else None
        return "" if private is None else private.name


@contextlib.contextmanager
def followed(lookup: RunLookup, named: str) -> Iterator[Followed]:
    """The run that ``named`` is: a run of this home, a head, or a CAR file.

    Raises:
        PeerError: if it is no run.
        EngineError: if the engine cannot be used.
        BlockError: if its first record cannot be read.
    """
    with KeptReports(lookup.home).well_signed() as well_signed, lookup.opened(named) as found:
        run = run_named(found.head, found.source)
        body = read_record(run, found.source).body
        assert isinstance(body, Run)  # `run_named` has read it
        federation = federation_of(body.manifest, found.source)
        follower = ChainFollower(federation, found.source, found.reader, well_signed=well_signed)
        list(follower.follow(run))  # it completes no exchange, and brings the keys
        yield Followed(run, found.head, follower, lookup.home)
