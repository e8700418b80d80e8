"""What a peer of either role needs, whichever of its runs it is for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from crypto.identity import Identity
from peer.base.interrupts import Interrupts
from peer.confinement.confined import Confiner
from peer.engine.interface import Engine
from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.key_watch import KeyWatch
from protocol.records.environment import Numerics
from protocol.roles.acting import Acting
from protocol.roles.effects import Report
from protocol.wire.announcements import first_counter


@dataclass(frozen=True, slots=True)
class Computing:
    """How the app process computes."""

    threads: int
    """Threads for each numerical library."""
    python: tuple[str, ...]
    """The command that starts its Python."""
    numerics: Numerics
    """For the ServerApp of a new run. An open run keeps its own, and a ClientApp is always native."""


@dataclass(frozen=True, slots=True)
class ActingAuthor:
    """As whom this process acts in a federation."""

    session: bytes
    """16 random bytes."""
    first_counter: int
    acting: Acting

    @classmethod
    def of(cls, journal: Journal) -> ActingAuthor:
        """For a process that begins. Its number, in the journal, is higher than that of any before."""
        first = first_counter(journal.next_start(time.time()))
        return cls(os.urandom(16), first, Acting(first))


@dataclass(frozen=True, slots=True)
class Session:
    """What a peer of either role needs."""

    home: Home
    identity: Identity
    keys: KeyWatch
    stored: StoredFederation
    engine: Engine
    engine_name: str
    journal: Journal
    computing: Computing
    on_report: Callable[[Report], None]
    interrupts: Interrupts
    """Has the interrupts from before there was an event loop."""
    acting: ActingAuthor
    """Shared by all runs of this process in the federation."""
    confiner: Confiner | None = None
    """Confines the app; None lets it do whatever the peer may do."""
