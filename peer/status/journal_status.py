"""The status of a home in which no peer runs: what its journal says of its newest run."""

from __future__ import annotations

import time
from dataclasses import replace

from peer.engine import without_credentials
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.membership.waiting_changes import waiting_changes
from peer.status.peer_status import FederationStatus, Part, PeerStatus
from protocol.status.role_status import RoleStatus, RunStatus


def journal_status(home: Home) -> PeerStatus:
    """What the files of the home say.

    Raises:
        PeerError: if a file is damaged.
    """
    newest, engine = _newest(home)
    return PeerStatus(
        home=str(home.path),
        at=time.time(),
        running=False,
        pid=None,
        since=None,
        engine="" if engine is None else without_credentials(engine),
        parts=() if newest is None else (_part(home, newest),),
        health=None,
        waits=tuple(line for each in FederationStore(home).all() for line in waiting_changes(home, each, time.time())),
    )


def _newest(home: Home) -> tuple[RunHead | None, str | None]:
    if not home.journal.exists():
        return None, None
    with Journal(home.journal) as journal:
        return next(iter(journal.heads()), None), journal.engine()


def _part(home: Home, newest: RunHead) -> Part:
    known = next((each.manifest for each in FederationStore(home).all() if each.id == newest.federation), None)
    name, version = ("", 0) if known is None else (known.name, known.version)
    told = RunStatus(newest.run, newest.head, newest.height, newest.closed, app="", round=None, rounds=None)
    run = replace(told, term=newest.term)
    role = RoleStatus(newest.role, "stopped", run, members=(), waits=(), manifest_version=version)
    return Part("", FederationStatus(newest.federation, name, version), role, newest.updated)
