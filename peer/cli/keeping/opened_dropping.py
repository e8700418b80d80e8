"""What `peer du`, `peer keep` and `peer forget` open first: the home's journal, and its engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from peer.base.errors import PeerError
from peer.engine.chosen_engine import borrowed
from peer.history.named_runs import NONE_YET
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import ReaderChoice
from peer.keeping.best_models import BestModels
from peer.keeping.dropping import Dropping


@contextlib.contextmanager
def opened_dropping(home: Home, ipfs: str | None) -> Iterator[Dropping]:
    """What drops contents of a home, until the context ends.

    Raises:
        PeerError: if the home has no journal, so no run.
    """
    if not home.journal.exists():
        raise PeerError(f"the home {home.path} has no run yet", fix=NONE_YET)
    with Journal(home.journal) as journal, borrowed(home, ipfs) as engine:
        choice = ReaderChoice(None, Passphrases.of_process(None), needed=False)
        best = BestModels(engine, journal, lambda head: choice.open(home.path, journal.beside(head.run)))
        dropping = Dropping(engine, journal, FederationStore(home), best)
        if not home.is_locked:  # otherwise its running peer does
            dropping.finish()
        yield dropping
