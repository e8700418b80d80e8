"""Giving the keys of a run to a member that came later."""

from __future__ import annotations

import time
from collections.abc import Sequence

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.audit.run_lookup import SECONDS_A_BLOCK
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from peer.home.federations import StoredFederation
from peer.home.journal import RunHead
from peer.home.reader_choice import granted_epochs, reader_of
from peer.membership.changes import find_member
from protocol.blocks.cid import CID, Block
from protocol.federation.epochs import grant as grant_of
from protocol.federation.run_keys import RunKeys
from protocol.records.signed_records import sign_record


def grants_of(
    head: RunHead, stored: StoredFederation, person: Identity, name: str, engine: Engine, beside: Sequence[Block]
) -> list[Block]:
    """The grants of one run to the member called ``name``, signed by ``person``; none if the run is not encrypted, or
    they are among the records ``beside`` it already.

    Raises:
        PeerError: if the run is not verified, or the home has not all its keys.
    """
    keys = _keys_of(head.head, person, engine)
    key = person.signing_keys[0]
    reader = find_member(stored.manifest, name)
    known = granted_epochs(reader.id, beside)
    given = (
        grant_of(head.run, epoch, stored.manifest, reader, by=person.id, time=time.time())
        for epoch in keys.epochs
        if epoch.number not in known
    )
    return [sign_record(body, [key]) for body in given]


def _keys_of(head: CID, person: Identity, engine: Engine) -> RunKeys:
    """The keys of a run, its chain verified."""
    with Scratch() as scratch:
        audit = Audit(
            head, EngineSource(engine, SECONDS_A_BLOCK), scratch, reader=reader_of(person), with_contents=False
        )
        report = audit.run()
    if report.verdict is not Verdict.VERIFIED:
        raise PeerError(
            f"the run of {head} is {report.verdict.value}, so no keys of it are given",
            fix=f"peer audit {head} tells what is wrong",
            code=report.exit_code,
        )
    keys = audit.keys
    if any(epoch.model is None or epoch.update is None for epoch in keys.epochs):
        raise PeerError(
            f"this home has not all the keys of the run of {head}",
            fix="restore a backup of the identity that led it: peer keys restore FILE",
            code=ExitCode.UNFINISHED,
        )
    return keys
