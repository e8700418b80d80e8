"""Which model of a run is the best one, as far as this home can read what clients answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peer.engine.interface import Engine, EngineError
from peer.history.chain_follower import ChainFollower, LeftBehind
from peer.history.rounds import Exchange
from peer.history.run_sources import EngineSource
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import CID, BlockError
from protocol.federation.readers import Reader
from protocol.federation.run_keys import read_private
from protocol.keeping.best import BestSoFar
from protocol.records.bodies import Role, Run, RunPrivate
from protocol.records.signed_records import read_record

_SECONDS: Final = 1.0
"""Seconds for one block that should be here."""


@dataclass(frozen=True, slots=True)
class Best:
    """What is known of it."""

    exchange: int | None = None
    """The number of the exchange with the best model; None if none is marked."""
    is_known: bool = False
    """Whether what is marked is known. If not, any model may be the best."""


class BestModels:
    """Reads the runs of a home, each record once in a process."""

    def __init__(self, engine: Engine, journal: Journal, reader: Callable[[RunHead], Reader]) -> None:
        """``reader`` tells with whose keys a run is read."""
        self._engine = engine
        self._journal = journal
        self._reader = reader
        self._read: dict[CID, _Reading | None] = {}

    def of(self, head: RunHead) -> Best:
        """The best model of a run, up to its head. Only servers and auditors can read what all clients answered."""
        if head.role not in (Role.SERVER, Role.AUDITOR):
            return Best()
        try:
            try:
                return self._up_to(head)
            except LeftBehind:
                del self._read[head.run]
                return self._up_to(head)
        except (EngineError, BlockError):
            self._read[head.run] = None  # not all of it can be read: it is not tried at each record
            return Best()

    def _up_to(self, head: RunHead) -> Best:
        if head.run not in self._read:
            self._read[head.run] = _Reading.begun(self._engine, self._journal, head, self._reader(head))
        reading = self._read[head.run]
        return Best() if reading is None else reading.up_to(head.head)


@dataclass(slots=True)
class _Reading:
    """How far a run is read."""

    engine: Engine
    follower: ChainFollower
    best: BestSoFar | None
    """None if the run marks none."""
    is_whole: bool = True
    """Whether all answers could be read."""

    @classmethod
    def begun(cls, engine: Engine, journal: Journal, head: RunHead, reader: Reader) -> _Reading | None:
        """The first record is read; None if not by this reader."""
        source = EngineSource(engine, _SECONDS, journal.contents.gone(head.run))
        follower = ChainFollower(head.federation, source, reader, well_signed=journal.well_signed)
        list(follower.follow(head.run))  # it completes no exchange, and brings the keys
        body = read_record(head.run, source).body
        assert isinstance(body, Run)  # a head was verified before it was kept
        private = read_private(body, RunPrivate, follower.chain.keys)
        if private is None:
            return None
        return cls(engine, follower, None if private.best_by is None else BestSoFar(private.best_by))

    def up_to(self, head: CID) -> Best:
        """What is marked by now.

        Raises:
            LeftBehind: if ``head`` does not follow from what was read.
            EngineError, BlockError: if a record cannot be read.
        """
        for exchange in self.follower.follow(head) if self.best is not None else ():
            self._take(exchange)
        return Best(None if self.best is None else self.best.exchange, self.is_whole)

    def _take(self, exchange: Exchange) -> None:
        assert self.best is not None
        self.best.take(exchange.number, exchange.mean_metrics().get(self.best.by.metric))
        for answer in exchange.answers:
            if answer.code is None and answer.content is not None and not answer.metrics:
                self.is_whole = self.is_whole and self.engine.has(answer.content)
