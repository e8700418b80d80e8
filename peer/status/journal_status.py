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
    part, engine = _newest(home)
    return PeerStatus(
        home=str(home.path),
        at=time.time(),
        running=False,
        pid=None,
        since=None,
        engine="" if engine is None else without_credentials(engine),
        parts=() if part is None else (part,),
        health=None,
        waits=tuple(line for each in FederationStore(home).all() for line in waiting_changes(home, each, time.time())),
    )


def _newest(home: Home) -> tuple[Part | None, str | None]:
    if not home.journal.exists():
        return None, None
    with Journal(home.journal) as journal:
        newest = next(iter(journal.heads()), None)
        return None if newest is None else _part(home, newest, journal), journal.engine()


def _part(home: Home, newest: RunHead, journal: Journal) -> Part:
    known = next((each.manifest for each in FederationStore(home).all() if each.id == newest.federation), None)
    name, version = ("", 0) if known is None else (known.name, known.version)
    about, leader = journal.known_runs().get(newest.run), journal.leader_of(newest.run)
    app, round = ("", None) if about is None else (about.app, about.round)
    told = RunStatus(newest.run, newest.head, newest.height, newest.closed, app=app, round=round, rounds=None)
    led_by = "" if leader is None or known is None else known.name_of(leader)
    run = replace(told, term=newest.term, leader=led_by)
    role = RoleStatus(newest.role, "stopped", run, members=(), waits=(), manifest_version=version)
    return Part("", FederationStatus(newest.federation, name, version), role, newest.updated)
