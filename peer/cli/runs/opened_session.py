"""What `peer start`, `peer serve` and commands about a run open first: the home for this process alone, its journal,
its engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from peer.apps.app_python import OUR_PYTHON
from peer.base.interrupts import Interrupts
from peer.engine.chosen_engine import chosen, opened
from peer.engine.kubo.reach import AskedReach
from peer.home.journal import Journal
from peer.home.key_watch import KeyWatch
from peer.home.keystore import KeyStore
from peer.keeping.chosen import remember_budget
from protocol.records.environment import Numerics

if TYPE_CHECKING:  # the last imports flwr
    from crypto.identity import Identity
    from peer.confinement.confined import Confiner
    from peer.home.federations import StoredFederation
    from peer.home.home import Home
    from peer.home.passphrase import Passphrases
    from peer.run.session import Session
    from protocol.keeping.budget import Budget
    from protocol.roles.effects import Report


@contextlib.contextmanager
def opened_session(
    home: Home,
    identity: Identity,
    stored: StoredFederation,
    *,
    passphrases: Passphrases,
    ipfs: str | None,
    reach: AskedReach,
    threads: int,
    python: tuple[str, ...],
    numerics: Numerics,
    confiner: Confiner | None,
    on_report: Callable[[Report], None],
    starts: Callable[[str], None],
    budget: Budget | None = None,
) -> Iterator[Session]:
    """The session of this process in the federation ``stored``, until the context ends. ``starts`` is called with the
    engine's name before that is opened, which may take a while. ``budget`` is the home's from then on, if one is said.

    Raises:
        PeerError: if another peer runs with the home, or its engine cannot be used.
    """
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        stack.enter_context(home.lock())
        journal = stack.enter_context(Journal(home.journal))
        if budget is not None:
            remember_budget(journal, budget)
        name = chosen(home, ipfs)
        starts(name)
        engine = stack.enter_context(opened(home, name, stored, reach, collect=True))
        journal.remember_engine(name)
        from peer.run.session import ActingAuthor, Computing, Session

        yield Session(
            home=home,
            federation=stored.id,
            keys=KeyWatch(KeyStore(home.path), identity, passphrases),
            engine=engine,
            engine_name=name,
            journal=journal,
            computing=Computing(threads, python, numerics),
            on_report=on_report,
            interrupts=interrupts,
            acting=ActingAuthor.of(journal),
            confiner=confiner,
        )


def opened_without_app(
    home: Home,
    identity: Identity,
    stored: StoredFederation,
    passphrases: Passphrases,
    ipfs: str | None,
    on_report: Callable[[Report], None],
) -> AbstractContextManager[Session]:
    """As `opened_session`, for a command that says something of a run, and in which no app works."""
    return opened_session(
        home,
        identity,
        stored,
        passphrases=passphrases,
        ipfs=ipfs,
        reach=AskedReach(),
        threads=1,
        python=OUR_PYTHON,
        numerics=Numerics.PORTABLE,
        confiner=None,
        on_report=on_report,
        starts=lambda _: None,
    )
