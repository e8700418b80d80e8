"""Giving the keys of a run to a member that came later."""

from __future__ import annotations

import time
from collections.abc import Sequence

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.audit.report import require_verified
from peer.audit.run_lookup import SECONDS_A_BLOCK
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.home.journal import RunHead
from peer.home.reader_choice import granted_epochs, reader_in
from peer.membership.changes import find_member
from protocol.blocks.cid import CID, Block
from protocol.federation.epochs import grant as grant_of
from protocol.federation.epochs import reads_models
from protocol.federation.run_keys import RunKeys
from protocol.federation.shreddings import Shredding, shredding_of
from protocol.records.signed_records import sign_record


def grants_of(
    head: RunHead,
    stored: StoredFederation,
    person: Identity,
    name: str,
    engine: Engine,
    beside: Sequence[Block],
    home: Home,
) -> list[Block]:
    """The grants of one run to the member called ``name``, signed by ``person``. There are none if the run is not
    encrypted, or if they are among the records ``beside`` it already, and none of epochs that were shredded.

    Raises:
        PeerError: if the run is not verified, or this home does not have all its keys.
    """
    shredding = shredding_of(stored.manifest.shredded, head.run)
    if shredding is not None and shredding.epoch == 1:
        return []
    reader = find_member(stored.manifest, name)
    if not reads_models(reader):
        raise PeerError(
            f"{stored.manifest.called(reader.id)} is a keeper, which reads nothing: no key is given to it",
            fix="to let somebody read, add a member of another role: peer federation add KEY --role auditor",
        )
    keys = _keys_of(head.head, person, engine, home, shredding)
    key = person.signing_keys[0]
    known = granted_epochs(reader.id, beside)
    given = (
        grant_of(head.run, epoch, stored.manifest, reader, by=person.id, time=time.time())
        for epoch in keys.epochs
        if epoch.number not in known and not (shredding and shredding.concerns(epoch.number))
    )
    return [sign_record(body, [key]) for body in given]


def _keys_of(head: CID, person: Identity, engine: Engine, home: Home, shredding: Shredding | None) -> RunKeys:
    """The keys of a run, after its chain is verified."""
    with Scratch() as scratch:
        audit = Audit(
            head, EngineSource(engine, SECONDS_A_BLOCK), scratch, reader=reader_in(home, person), with_contents=False
        )
        require_verified(audit.run())
    keys = audit.keys
    lacking = [each.number for each in keys.epochs if each.model is None or each.update is None]
    if any(not (shredding and shredding.concerns(number)) for number in lacking):
        raise PeerError(
            f"this home does not have all keys of the run of {head}",
            fix="restore a backup of the identity that led it: peer keys restore FILE",
            code=ExitCode.UNFINISHED,
        )
    return keys
